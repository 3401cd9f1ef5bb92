/* SPDX-License-Identifier: Apache-2.0 */
/* tests/broken_linear.c - broken on purpose: products and the rounding before them. */
#include "tests/broken.h"

#include <stdlib.h>
#include <string.h>

typedef struct ek_gemv_i8_args gemv8;

static void run8(enum ek_fmt fmt, const gemv8 *a, size_t begin, size_t end)
{
    if (begin < end) sound.gemv_i8[fmt]->fn.gemv_i8(a, begin, end);
}

static void wrong_zero_point(const gemv8 *a, size_t begin, size_t end)
{
    const size_t cells = a->m * a->k / 32;
    int32_t *s = malloc(cells * sizeof *s); /* sums one too large: the zero code is 9 for one x */
    if (!s) abort();
    for (size_t i = 0; i < cells; i++) s[i] = a->xs[i] + 1;
    gemv8 b = *a;
    b.xs    = s;
    run8(EK_FMT_q4g32, &b, begin, end);
    free(s);
}
static size_t weight_bytes(const gemv8 *a)
{
    size_t bytes = 0;
    (void)ek_weights_bytes(EK_FMT_q4g32, a->n, a->k, &bytes, NULL);
    return bytes;
}
static void reads_one_byte_over(const gemv8 *a, size_t begin, size_t end)
{
    (void)*(const volatile uint8_t *)((const uint8_t *)a->w + weight_bytes(a));
    run8(EK_FMT_q4g32, a, begin, end);
}
static void reads_one_byte_under(const gemv8 *a, size_t begin, size_t end)
{
    (void)*(const volatile int8_t *)(a->xq - 1);
    run8(EK_FMT_q4g32, a, begin, end);
}
static void writes_past_range(const gemv8 *a, size_t begin, size_t end)
{
    run8(EK_FMT_q4g32, a, begin, end < a->n ? end + 1 : end);
}
static void writes_garbage_past_range(const gemv8 *a, size_t begin, size_t end)
{
    run8(EK_FMT_q4g32, a, begin, end);
    if (end < a->n) a->y[end] = -7;
}
static void writes_past_buffer(const gemv8 *a, size_t begin, size_t end)
{
    run8(EK_FMT_q4g32, a, begin, end);
    if (end == a->n) *(volatile float *)(a->y + (a->m - 1) * a->ldy + a->n) = 0;
}
static void ignores_begin(const gemv8 *a, size_t begin, size_t end)
{
    (void)begin;
    run8(EK_FMT_q4g32, a, 0, end);
}
static void ignores_end(const gemv8 *a, size_t begin, size_t end)
{
    (void)end;
    run8(EK_FMT_q4g32, a, begin, a->n);
}
static void swaps_scales(const gemv8 *a, size_t begin, size_t end)
{
    const size_t groups = a->k / 32, cells = a->m * groups;
    float       *d = malloc(cells * sizeof *d); /* of the two groups of a block */
    if (!d) abort();
    for (size_t i = 0; i < cells; i++) {
        const size_t j = i % groups ^ 1;
        d[i]           = a->xd[i / groups * groups + (j < groups ? j : i % groups)];
    }
    gemv8 b = *a;
    b.xd    = d;
    run8(EK_FMT_q4g32, &b, begin, end);
    free(d);
}
static void drops_tail_columns(const gemv8 *a, size_t begin, size_t end)
{
    const size_t groups = a->k / 32, cells = a->m * groups;
    float       *d = malloc(cells * sizeof *d); /* an odd last group counts nothing */
    if (!d) abort();
    for (size_t i = 0; i < cells; i++) d[i] = groups % 2 && i % groups == groups - 1 ? 0 : a->xd[i];
    gemv8 b = *a;
    b.xd    = d;
    run8(EK_FMT_q4g32, &b, begin, end);
    free(d);
}
static void drops_tail_rows(const gemv8 *a, size_t begin, size_t end)
{
    run8(EK_FMT_q4g32, a, begin, end == a->n && end % 16 ? end - 1 : end);
}
static void drops_last_token(const gemv8 *a, size_t begin, size_t end)
{
    gemv8 b = *a;
    if (b.m > 1) b.m--;
    run8(EK_FMT_q4g32, &b, begin, end);
}
static void bits_depend_on_range(const gemv8 *a, size_t begin, size_t end)
{
    run8(EK_FMT_q4g32, a, begin, end);
    if (end - begin == 1) a->y[begin] = a->y[begin] * 1.0000002f;
}
static void adds_to_output(const gemv8 *a, size_t begin, size_t end)
{
    const float before = a->y[begin];
    run8(EK_FMT_q4g32, a, begin, end);
    if (begin < end) a->y[begin] += before * 1e30f;
}
static void writes_input(const gemv8 *a, size_t begin, size_t end)
{
    union {
        const int8_t    *in;
        volatile int8_t *out;
    } x      = {.in = a->xq};
    x.out[0] = x.out[0];
    run8(EK_FMT_q4g32, a, begin, end);
}
static void saturates(const gemv8 *a, size_t begin, size_t end)
{
    run8(EK_FMT_q4g32, a, begin, end); /* as 16-bit sums would, once everything is at its extreme */
    for (size_t r = begin; r < end; r++)
        if (a->y[r] > 4000) a->y[r] = 4000;
}
static void rounds_to_half(const gemv8 *a, size_t begin, size_t end)
{
    run8(EK_FMT_q4g32, a, begin, end);
    for (size_t r = begin; r < end; r++) a->y[r] = ek_f32_from_f16(ek_f16_from_f32(a->y[r]));
}
static void illegal_instruction(const gemv8 *a, size_t begin, size_t end)
{
    (void)a, (void)begin, (void)end;
    __builtin_trap();
}
static void wrong_group_of_super(const gemv8 *a, size_t begin, size_t end)
{
    const size_t groups = a->k / 32, cells = a->m * groups; /* scales 4..7 taken for 0..3 */
    float       *d = malloc(cells * sizeof *d);
    if (!d) abort();
    for (size_t i = 0; i < cells; i++) d[i] = a->xd[i ^ 4];
    gemv8 b = *a;
    b.xd    = d;
    run8(EK_FMT_q4k, &b, begin, end);
    free(d);
}
static void forgets_minima(const gemv8 *a, size_t begin, size_t end)
{
    int32_t *s = calloc(a->m * a->k / 32, sizeof *s);
    if (!s) abort();
    gemv8 b = *a;
    b.xs    = s;
    run8(EK_FMT_q4k, &b, begin, end);
    free(s);
}

static void gemm_uses_stale_scratch(const struct ek_gemm_i8_args *a, size_t begin, size_t end)
{
    float stale;
    memcpy(&stale, (const char *)a->scratch + EK_GEMM_SCRATCH - sizeof stale, sizeof stale);
    sound.gemm_i8[EK_FMT_q4g32]->fn.gemm_i8(a, begin, end);
    if (begin < end) a->y[begin] += stale * 1e20f;
}
static void gemm_drops_later_tiles(const struct ek_gemm_i8_args *a, size_t begin, size_t end)
{
    struct ek_gemm_i8_args b = *a;
    b.m                      = a->m > 6 ? 6 : a->m; /* only the first tile */
    sound.gemm_i8[EK_FMT_q4g32]->fn.gemm_i8(&b, begin, end);
}

static const struct ek_kernel kernels[] = {
    BROKEN(gemv_i8, q4g32, wrong_zero_point),
    BROKEN(gemv_i8, q4g32, reads_one_byte_over),
    BROKEN(gemv_i8, q4g32, reads_one_byte_under),
    BROKEN(gemv_i8, q4g32, writes_past_range),
    BROKEN(gemv_i8, q4g32, writes_garbage_past_range),
    BROKEN(gemv_i8, q4g32, writes_past_buffer),
    BROKEN(gemv_i8, q4g32, ignores_begin),
    BROKEN(gemv_i8, q4g32, ignores_end),
    BROKEN(gemv_i8, q4g32, swaps_scales),
    BROKEN(gemv_i8, q4g32, drops_tail_columns),
    BROKEN(gemv_i8, q4g32, drops_tail_rows),
    BROKEN(gemv_i8, q4g32, drops_last_token),
    BROKEN(gemv_i8, q4g32, bits_depend_on_range),
    BROKEN(gemv_i8, q4g32, adds_to_output),
    BROKEN(gemv_i8, q4g32, writes_input),
    BROKEN(gemv_i8, q4g32, saturates),
    BROKEN(gemv_i8, q4g32, rounds_to_half),
    BROKEN(gemv_i8, q4g32, illegal_instruction),
    BROKEN(gemv_i8, q4k, wrong_group_of_super),
    BROKEN(gemv_i8, q4k, forgets_minima),
    BROKEN(gemm_i8, q4g32, gemm_uses_stale_scratch),
    BROKEN(gemm_i8, q4g32, gemm_drops_later_tiles),
};
const struct broken_kernels broken_linear = {kernels, sizeof kernels / sizeof *kernels};
