/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/sparse_packed.h - down rows of packed neurons. Needs an ISA's simd.h and
 * decode.h. */
#ifndef EK_TEMPLATE_SPARSE_PACKED_H
#define EK_TEMPLATE_SPARSE_PACKED_H
#include "kernels/template/panel.h"
#include "kernels/template/sparse.h"

/* Offset of the codes, and of the head, of run r in a row. */
EK_INLINE size_t run_codes(const struct ek_geometry *f, size_t r)
{
    return ek_group_offset(f, r * EK_LANE_COLUMNS);
}
EK_INLINE size_t run_head(const struct ek_geometry *f, size_t r)
{
    return r / 2 * ek_block_bytes(f);
}
EK_INLINE size_t run_bytes(const struct ek_geometry *f)
{
    return ek_code_bytes(f, EK_LANE_COLUMNS);
}

/* y += the sum over neurons of column j of a unit, times scale[i]. */
#define ADD_COLUMN(decode, j)                                                                      \
    {                                                                                              \
        float *y   = to + (j)*EK_PANEL_ROWS;                                                       \
        vf     sum = v_load(y);                                                                    \
        EK_UNROLL                                                                                  \
        for (size_t i = 0; i < SIDE; i++) sum = v_fma(decode(f, q[i], j), scale[i], sum);          \
        v_store(y, sum);                                                                           \
    }

/* One vector of lanes of one unit, 8 (4) columns, for one token. */
EK_INLINE void add_unit(const struct ek_geometry *f, const vi q[SIDE], const vf scale[SIDE],
                        float *to)
{
    if (f->bits == 4) {
        ADD_COLUMN(DECODE4, 0);
        ADD_COLUMN(DECODE4, 1);
        ADD_COLUMN(DECODE4, 2);
        ADD_COLUMN(DECODE4, 3);
        ADD_COLUMN(DECODE4, 4);
        ADD_COLUMN(DECODE4, 5);
        ADD_COLUMN(DECODE4, 6);
        ADD_COLUMN(DECODE4, 7);
    } else {
        ADD_COLUMN(DECODE8, 0);
        ADD_COLUMN(DECODE8, 1);
        ADD_COLUMN(DECODE8, 2);
        ADD_COLUMN(DECODE8, 3);
    }
}

/* part[t] += h[t][i] * row of neuron i, `offset` bytes into it; part is in lane order. */
EK_INLINE void add_packed(const struct ek_geometry *f, const struct walk *w, size_t offset,
                          size_t width, const struct side *s, size_t m, float *part)
{
    const size_t unit = 32 / f->bits; /* columns */
    for (size_t r = 0; r < width / EK_SPARSE_RUN; r++) {
        if (r % 2 == 0) fetch_ahead(w, 0, SIDE, offset + run_head(f, r));
        EK_UNROLL
        for (size_t v = 0; v < NV; v++) {
            vf half[SIDE];
            EK_UNROLL
            for (size_t i = 0; i < SIDE; i++)
                half[i] = head_halves(w->now[i] + offset + run_head(f, r), r % 2, v);
            for (size_t t = 0; t < m; t++) {
                vf scale[SIDE];
                EK_UNROLL
                for (size_t i = 0; i < SIDE; i++) scale[i] = v_mul(half[i], v_set(s->h[t][i]));
                for (size_t u = 0; u < run_bytes(f) / 64; u++) {
                    const size_t at = offset + run_codes(f, r) + u * 64 + v * VECTOR_BYTES;
                    vi           q[SIDE];
                    if (v == 0 && t == 0) fetch_ahead(w, 0, SIDE, at);
                    EK_UNROLL
                    for (size_t i = 0; i < SIDE; i++)
                        q[i] = decode_ready(f, i_load(w->now[i] + at));
                    add_unit(f, q, scale,
                             part + t * width + r * EK_SPARSE_RUN + u * unit * EK_PANEL_ROWS +
                                 v * VL);
                }
            }
        }
    }
}
#endif
