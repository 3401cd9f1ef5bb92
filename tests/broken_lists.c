/* SPDX-License-Identifier: Apache-2.0 */
/* tests/broken_lists.c - broken on purpose: lists of neurons. */
#include "tests/broken.h"

#include <stdlib.h>
#include <string.h>

typedef struct ek_sparse_mlp_i8_args mlp8;

static void sparse8(const mlp8 *a, size_t begin, size_t end)
{
    sound.sparse_mlp_i8[EK_FMT_q4g32]->fn.sparse_mlp_i8(a, begin, end);
}
static void sparse_drops_last_of_eight(const mlp8 *a, size_t begin, size_t end)
{
    mlp8 b = *a; /* a list that does not end with eight neurons loses its last one */
    if (b.count % 8 > 1) b.count--;
    sparse8(&b, begin, end);
}
static void sparse_counts_the_last_twice(const mlp8 *a, size_t begin, size_t end)
{
    uint32_t *list = malloc((a->count + 1) * sizeof *list); /* what fills up the eight counts */
    if (!list) abort();
    memcpy(list, a->list, a->count * sizeof *list);
    list[a->count] = list[a->count - 1];
    mlp8 b         = *a;
    b.list         = list;
    if (!a->gate && a->count % EK_SPARSE_SIDE) b.count++;
    sparse8(&b, begin, end);
    free(list);
}
static void sparse_ignores_the_list(const mlp8 *a, size_t begin, size_t end)
{
    uint32_t *list = malloc(a->count * sizeof *list);
    if (!list) abort();
    for (size_t i = 0; i < a->count; i++) list[i] = (uint32_t)i;
    mlp8 b = *a;
    b.list = list;
    sparse8(&b, begin, end);
    free(list);
}
static void sparse_activates_up(const mlp8 *a, size_t begin, size_t end)
{
    mlp8 b = *a;
    b.gate = NULL;
    sparse8(&b, begin, end);
}
static void sparse_adds_to_parts(const mlp8 *a, size_t begin, size_t end)
{
    const size_t n    = a->m * a->width;
    float       *part = malloc((end - begin) * n * sizeof *part);
    if (!part) abort();
    for (size_t i = begin; i < end; i++)
        memcpy(part + (i - begin) * n, a->part + i * a->part_stride, n * sizeof *part);
    sparse8(a, begin, end);
    for (size_t i = begin; i < end; i++)
        for (size_t c = 0; c < n; c++) a->part[i * a->part_stride + c] += part[(i - begin) * n + c];
    free(part);
}
static void sparse_sums_over_stretches(const mlp8 *a, size_t begin, size_t end)
{
    sparse8(a, begin, end); /* bits depend on the split: a range's first part has all of it */
    for (size_t i = begin + 1; i < end; i++)
        for (size_t c = 0; c < a->m * a->width; c++) {
            a->part[begin * a->part_stride + c] += a->part[i * a->part_stride + c];
            a->part[i * a->part_stride + c] = 0;
        }
}
static void columns_skip_the_first(const struct ek_sparse_gemv_args *a, size_t begin, size_t end)
{
    float *x = malloc(a->m * a->count * sizeof *x);
    if (!x) abort();
    memcpy(x, a->x, a->m * a->count * sizeof *x);
    x[0]                         = 0;
    struct ek_sparse_gemv_args b = *a;
    b.x                          = x;
    sound.sparse_gemv[EK_FMT_bf16]->fn.sparse_gemv(&b, begin, end);
    free(x);
}
static void merge_forgets_lane_order(const struct ek_sparse_merge_args *a, size_t begin, size_t end)
{
    struct ek_sparse_merge_args b = *a;
    b.lanes                       = 0;
    sound.sparse_merge[EK_FMT_f32]->fn.sparse_merge(&b, begin, end);
}

static void copy_rows_to_whole_lines(const struct ek_copy_rows_args *a, size_t begin, size_t end)
{
    struct ek_copy_rows_args b = *a; /* a row that ends within a line loses its end */
    b.bytes                    = a->bytes / 64 * 64;
    sound.copy_rows[EK_FMT_f32]->fn.copy_rows(&b, begin, end);
}
static void copy_rows_in_order(const struct ek_copy_rows_args *a, size_t begin, size_t end)
{
    struct ek_copy_rows_args b = *a; /* each to the slot of the place it came from */
    b.to                       = a->from;
    for (size_t i = begin; i < end; i++)
        if (b.to[i] < a->to[i])
            sound.copy_rows[EK_FMT_f32]->fn.copy_rows(&b, i, i + 1);
        else
            sound.copy_rows[EK_FMT_f32]->fn.copy_rows(a, i, i + 1);
}

static const struct ek_kernel kernels[] = {
    BROKEN(sparse_mlp_i8, q4g32, sparse_drops_last_of_eight),
    BROKEN(sparse_mlp_i8, q4g32, sparse_counts_the_last_twice),
    BROKEN(sparse_mlp_i8, q4g32, sparse_ignores_the_list),
    BROKEN(sparse_mlp_i8, q4g32, sparse_activates_up),
    BROKEN(sparse_mlp_i8, q4g32, sparse_adds_to_parts),
    BROKEN(sparse_mlp_i8, q4g32, sparse_sums_over_stretches),
    BROKEN(sparse_gemv, bf16, columns_skip_the_first),
    BROKEN(copy_rows, f32, copy_rows_to_whole_lines),
    BROKEN(copy_rows, f32, copy_rows_in_order),
    BROKEN(sparse_merge, f32, merge_forgets_lane_order),
};
const struct broken_kernels broken_lists = {kernels, sizeof kernels / sizeof *kernels};
