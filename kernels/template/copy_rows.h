/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/copy_rows.h - rows of bytes to their slots. The including file has its simd.h and
 * defines FN(op), symbol of the kernel. */
#include <string.h>

/* So many rows side by side, a line of each in turn, each line fetched AHEAD bytes before it is read,
 * as neurons are read (kernels/template/sparse.h). */
enum { SIDE = EK_SPARSE_SIDE, AHEAD = 1024 };

EK_INLINE const uint8_t *row_from(const struct ek_copy_rows_args *a, size_t i)
{
    return (const uint8_t *)a->src + a->from[i] * a->from_stride;
}

/* n rows from row j on; the next ones, of [begin, end), are fetched. */
EK_INLINE void copy_side(const struct ek_copy_rows_args *a, size_t j, size_t n, size_t end)
{
    const size_t   lines = a->bytes / 64 * 64;
    const uint8_t *now[SIDE], *next[SIDE];
    uint8_t       *to[SIDE];
    for (size_t i = 0; i < n; i++) {
        now[i]  = row_from(a, j + i);
        next[i] = row_from(a, j + n + i < end ? j + n + i : end - 1);
        to[i]   = (uint8_t *)a->dst + a->to[j + i] * a->to_stride;
    }
    for (size_t at = 0; at < lines; at += 64) {
        const int here = at + AHEAD < lines;
        EK_UNROLL
        for (size_t i = 0; i < n; i++) {
            prefetch(here ? now[i] + at + AHEAD : next[i] + (at + AHEAD - lines));
            EK_UNROLL
            for (size_t b = 0; b < 64; b += sizeof(vi))
                i_store_past(to[i] + at + b, i_load(now[i] + at + b));
        }
    }
    for (size_t i = 0; i < n; i++) memcpy(to[i] + lines, now[i] + lines, a->bytes - lines);
}

void FN(copy_rows)(const struct ek_copy_rows_args *a, size_t begin, size_t end)
{
    size_t j = begin;
    for (; j + SIDE <= end; j += SIDE) copy_side(a, j, SIDE, end);
    if (j < end) copy_side(a, j, end - j, end);
    stores_done();
}
