/* SPDX-License-Identifier: Apache-2.0 */
/* tests/check_rejects.c - kernels broken on purpose, each in one way that real kernels break: the
 * check must reject every one, and accept the sound kernel they are made from. */
#include "tests/check.h"

#include "ek/ek.h"

#include <stdlib.h>
#include <string.h>

static struct ek_kernels sound; /* the best ones of this machine, which the broken ones call */

typedef struct ek_gemv_i8_args gemv8;

static void run8(enum ek_fmt fmt, const gemv8 *a, size_t begin, size_t end)
{
    if (begin < end) sound.gemv_i8[fmt]->fn.gemv_i8(a, begin, end);
}

/* ---- gemv_i8 ---- */

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

/* ---- other ops ---- */

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
static void rmsnorm_forgets_eps(const struct ek_rmsnorm_args *a, size_t begin, size_t end)
{
    struct ek_rmsnorm_args b = *a;
    b.eps                    = 0;
    sound.rmsnorm[EK_FMT_f32]->fn.rmsnorm(&b, begin, end);
}
static void act_wrong_kind(const struct ek_act_args *a, size_t begin, size_t end)
{
    struct ek_act_args b = *a; /* the approximations differ by a thousandth */
    if (b.kind == EK_ACT_GELU_ERF) b.kind = EK_ACT_GELU_TANH;
    sound.act[EK_FMT_f32]->fn.act(&b, begin, end);
}
static void softmax_not_stable(const struct ek_softmax_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        float sum = 0;
        for (size_t c = 0; c < a->cols; c++)
            sum += __builtin_expf(a->scale * a->x[r * a->cols + c]);
        for (size_t c = 0; c < a->cols; c++)
            a->y[r * a->cols + c] = __builtin_expf(a->scale * a->x[r * a->cols + c]) / sum;
    }
}
static void rope_swaps_sign(const struct ek_rope_args *a, size_t begin, size_t end)
{
    struct ek_rope_args b = *a;
    b.cos = a->sin, b.sin = a->cos;
    sound.rope[EK_FMT_f32]->fn.rope(&b, begin, end);
}
static void argmax_takes_last(const struct ek_argmax_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        size_t best = 0;
        for (size_t c = 1; c < a->cols; c++)
            if (a->x[r * a->cols + c] >= a->x[r * a->cols + best]) best = c;
        a->index[r] = (uint32_t)best;
        if (a->value) a->value[r] = a->x[r * a->cols + best];
    }
}
static void quantize_uses_minus_128(const struct ek_quantize_args *a, size_t begin, size_t end)
{
    sound.quantize[EK_FMT_f32]->fn.quantize(a, begin, end);
    for (size_t i = begin * a->kp; i < end * a->kp; i++)
        if (a->q[i] == -127) a->q[i] = -128;
}

static void mask_leaves_out_equals(const struct ek_mask_args *a, size_t begin, size_t end)
{
    const size_t words = (a->cols + 63) / 64;
    for (size_t i = begin; i < end; i++) {
        a->mask[i] = 0;
        for (size_t c = i % words * 64; c < a->cols && c < (i % words + 1) * 64; c++)
            if (a->x[i / words * a->ldx + c] > a->t[i / words]) a->mask[i] |= UINT64_C(1) << c % 64;
    }
}
static void mask_marks_columns_past_the_end(const struct ek_mask_args *a, size_t begin, size_t end)
{
    const size_t words = (a->cols + 63) / 64;
    sound.mask[EK_FMT_f32]->fn.mask(a, begin, end);
    for (size_t i = begin; i < end; i++) /* zeros that a padded load would give reach t */
        if (a->cols % 64 && i % words == words - 1 && a->t[i / words] <= 0)
            a->mask[i] |= UINT64_C(1) << a->cols % 64;
}
static void mask_takes_the_first_threshold(const struct ek_mask_args *a, size_t begin, size_t end)
{
    const size_t words = (a->cols + 63) / 64;
    for (size_t i = begin; i < end; i++) {
        struct ek_mask_args b = *a;
        b.x += i / words * a->ldx, b.mask += i / words * words;
        sound.mask[EK_FMT_f32]->fn.mask(&b, i % words, i % words + 1);
    }
}
static void moments_of_a_sample(const struct ek_moments_args *a, size_t begin, size_t end)
{
    sound.moments[EK_FMT_f32]->fn.moments(a, begin, end);
    for (size_t r = begin; r < end && a->cols > 1; r++)
        a->moments[2 * r + 1] *= __builtin_sqrtf((float)a->cols / (float)(a->cols - 1));
}
/* E[x^2] - E[x]^2 in f32: cancels. */
static void moments_in_one_pass(const struct ek_moments_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        float sum = 0, squares = 0, n = (float)a->cols;
        for (size_t c = 0; c < a->cols; c++) {
            const float x = a->x[r * a->ldx + c];
            sum += x, squares += x * x;
        }
        a->moments[2 * r]     = sum / n;
        a->moments[2 * r + 1] = __builtin_sqrtf(squares / n - sum / n * (sum / n));
    }
}
static void select_counts_all_equals(const struct ek_select_args *a, size_t begin, size_t end)
{
    sound.select[EK_FMT_f32]->fn.select(a, begin, end);
    for (size_t r = begin; r < end; r++) {
        uint32_t equals = 0;
        for (size_t c = 0; c < a->cols; c++) equals += a->x[r * a->ldx + c] == a->value[r];
        if (equals) a->equal[r] = equals;
    }
}
static void select_puts_nan_first(const struct ek_select_args *a, size_t begin, size_t end)
{
    sound.select[EK_FMT_f32]->fn.select(a, begin, end);
    for (size_t r = begin; r < end; r++)
        for (size_t c = 0; c < a->cols; c++)
            if (a->x[r * a->ldx + c] != a->x[r * a->ldx + c]) a->value[r] = a->x[r * a->ldx + c];
}
static void select_leaves_minus_zero(const struct ek_select_args *a, size_t begin, size_t end)
{
    sound.select[EK_FMT_f32]->fn.select(a, begin, end);
    for (size_t r = begin; r < end; r++)
        if (a->value[r] == 0.0f) a->value[r] = -0.0f;
}
static void select_is_one_off(const struct ek_select_args *a, size_t begin, size_t end)
{
    struct ek_select_args b = *a;
    if (b.k < b.cols) b.k++;
    sound.select[EK_FMT_f32]->fn.select(&b, begin, end);
}

/* ---- attention ---- */

static void decode(enum ek_fmt fmt, const struct ek_gqa_decode_args *a, size_t begin, size_t end)
{
    sound.gqa_decode[fmt]->fn.gqa_decode(a, begin, end);
}
static void decode_mask_off_by_one(const struct ek_gqa_decode_args *a, size_t begin, size_t end)
{
    struct ek_gqa_decode_args b = *a;
    if (b.mask.window) b.mask.window++;
    decode(EK_FMT_f16, &b, begin, end);
}
static void decode_sees_the_future(const struct ek_gqa_decode_args *a, size_t begin, size_t end)
{
    struct ek_gqa_decode_args b = *a;
    b.q_pos++;
    decode(EK_FMT_f16, &b, begin, end);
}
static void decode_forgets_sinks(const struct ek_gqa_decode_args *a, size_t begin, size_t end)
{
    struct ek_gqa_decode_args b = *a;
    b.mask.sinks                = 0;
    decode(EK_FMT_i8, &b, begin, end);
}
static void decode_counts_empty_slots(const struct ek_gqa_decode_args *a, size_t begin, size_t end)
{
    struct ek_gqa_decode_args b   = *a;
    int32_t                  *pos = malloc(a->cache.used * sizeof *pos);
    if (!pos) abort();
    for (size_t i = 0; i < a->cache.used; i++) pos[i] = a->cache.pos[i] < 0 ? 0 : a->cache.pos[i];
    b.cache.pos = pos;
    decode(EK_FMT_f16, &b, begin, end);
    free(pos);
}
static void decode_drops_last_slot(const struct ek_gqa_decode_args *a, size_t begin, size_t end)
{
    struct ek_gqa_decode_args b = *a; /* a tail that is not a whole tile */
    if (b.cache.used % 16 > 1) b.cache.used--;
    decode(EK_FMT_i8, &b, begin, end);
}
/* Query head h must read kv head h / group: here h % heads. */
static void decode_wrong_head(const struct ek_gqa_decode_args *a, size_t begin, size_t end)
{
    struct ek_gqa_decode_args b = *a;
    const size_t              n = a->cache.heads * a->group, dim = a->cache.dim;
    float                    *q = malloc(n * dim * sizeof *q);
    if (!q) abort();
    for (size_t h = 0; h < n; h++)
        memcpy(q + h * dim, a->q + (h % a->group * a->cache.heads + h / a->group) * dim,
               dim * sizeof *q);
    b.q = q;
    decode(EK_FMT_f32, &b, begin, end);
    free(q);
}
/* The sums of an item's first half are not scaled down when the second half has a larger score. */
static void decode_forgets_to_rescale(const struct ek_gqa_decode_args *a, size_t begin, size_t end)
{
    decode(EK_FMT_bf16, a, begin, end);
    const size_t dp = (a->cache.dim + 15) / 16 * 16, chunks = ek_gqa_chunks(a->cache.used);
    for (size_t i = begin; i < end; i++) {
        struct ek_gqa_decode_args b     = *a; /* what the first 64 slots of the item give alone */
        float                    *part  = a->part + i * a->part_stride;
        const size_t              first = i % chunks * EK_GQA_CHUNK;
        float *half = calloc(a->cache.heads * chunks * a->part_stride, sizeof *half);
        if (!half) abort();
        b.cache.used = first + 64 < a->cache.used ? first + 64 : a->cache.used, b.part = half;
        const size_t at = i / chunks * ek_gqa_chunks(b.cache.used) + i % chunks;
        decode(EK_FMT_bf16, &b, at, at + 1);
        for (size_t h = 0; h < a->group; h++) {
            const float *old = half + at * a->part_stride + h * (EK_GQA_HEAD + dp);
            float       *sum = part + h * (EK_GQA_HEAD + dp);
            if (old[0] < sum[0]) sum[1] += old[1] - old[1] * __builtin_exp2f(old[0] - sum[0]);
        }
        free(half);
    }
}
static void merge_by_plain_sum(const struct ek_gqa_merge_args *a, size_t begin, size_t end)
{
    const size_t size = EK_GQA_HEAD + (a->dim + 15) / 16 * 16;
    for (size_t h = begin; h < end; h++)
        for (size_t d = 0; d < a->dim; d++) {
            float sum = 0, total = 0;
            for (size_t c = 0; c < a->chunks; c++) {
                const float *p =
                    a->part + (h / a->group * a->chunks + c) * a->part_stride + h % a->group * size;
                sum += p[EK_GQA_HEAD + d], total += p[1];
            }
            a->y[h * a->dim + d] = total > 0 ? sum / total : 0;
        }
}
static void prefill_mask_off_by_one(const struct ek_gqa_prefill_args *a, size_t begin, size_t end)
{
    struct ek_gqa_prefill_args b   = *a;
    int32_t                   *pos = malloc(a->m * sizeof *pos);
    if (!pos) abort();
    for (size_t i = 0; i < a->m; i++) pos[i] = a->q_pos[i] ? a->q_pos[i] - 1 : 0;
    b.q_pos = pos; /* the token itself is not seen */
    sound.gqa_prefill[EK_FMT_f16]->fn.gqa_prefill(&b, begin, end);
    free(pos);
}
static void prefill_stops_a_tile_early(const struct ek_gqa_prefill_args *a, size_t begin,
                                       size_t end)
{
    struct ek_gqa_prefill_args b = *a;
    if (b.cache.used > 64) b.cache.used = (b.cache.used - 1) / 64 * 64;
    sound.gqa_prefill[EK_FMT_i8]->fn.gqa_prefill(&b, begin, end);
}
static void store_writes_the_next_slot(const struct ek_kv_store_args *a, size_t begin, size_t end)
{
    struct ek_kv_store_args b    = *a;
    int32_t                *slot = malloc(a->m * sizeof *slot);
    if (!slot) abort();
    for (size_t i = 0; i < a->m; i++) slot[i] = (int32_t)(((size_t)a->slot[i] + 1) % a->slots);
    b.slot = slot;
    sound.kv_store[EK_FMT_i8]->fn.kv_store(&b, begin, end);
    free(slot);
}

/* ---- lists of neurons ---- */

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
    if (!a->gate && a->count % a->chunk) b.count++;
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

#define BROKEN(op_, fmt_, fn_)                                                                     \
    {                                                                                              \
        .name = #fn_, .isa = "broken", .variant = "", .op = EK_OP_##op_, .fmt = EK_FMT_##fmt_,     \
        .fn.op_ = fn_                                                                              \
    }
static const struct ek_kernel broken[] = {
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
    BROKEN(rmsnorm, f32, rmsnorm_forgets_eps),
    BROKEN(act, f32, act_wrong_kind),
    BROKEN(softmax, f32, softmax_not_stable),
    BROKEN(rope, f32, rope_swaps_sign),
    BROKEN(argmax, f32, argmax_takes_last),
    BROKEN(quantize, f32, quantize_uses_minus_128),
    BROKEN(mask, f32, mask_leaves_out_equals),
    BROKEN(mask, f32, mask_marks_columns_past_the_end),
    BROKEN(mask, f32, mask_takes_the_first_threshold),
    BROKEN(moments, f32, moments_of_a_sample),
    BROKEN(moments, f32, moments_in_one_pass),
    BROKEN(select, f32, select_counts_all_equals),
    BROKEN(select, f32, select_puts_nan_first),
    BROKEN(select, f32, select_leaves_minus_zero),
    BROKEN(select, f32, select_is_one_off),
    BROKEN(gqa_decode, f16, decode_mask_off_by_one),
    BROKEN(gqa_decode, f16, decode_sees_the_future),
    BROKEN(gqa_decode, i8, decode_forgets_sinks),
    BROKEN(gqa_decode, f16, decode_counts_empty_slots),
    BROKEN(gqa_decode, i8, decode_drops_last_slot),
    BROKEN(gqa_decode, f32, decode_wrong_head),
    BROKEN(gqa_decode, bf16, decode_forgets_to_rescale),
    BROKEN(gqa_merge, f32, merge_by_plain_sum),
    BROKEN(gqa_prefill, f16, prefill_mask_off_by_one),
    BROKEN(gqa_prefill, i8, prefill_stops_a_tile_early),
    BROKEN(kv_store, i8, store_writes_the_next_slot),
    BROKEN(sparse_mlp_i8, q4g32, sparse_drops_last_of_eight),
    BROKEN(sparse_mlp_i8, q4g32, sparse_counts_the_last_twice),
    BROKEN(sparse_mlp_i8, q4g32, sparse_ignores_the_list),
    BROKEN(sparse_mlp_i8, q4g32, sparse_activates_up),
    BROKEN(sparse_mlp_i8, q4g32, sparse_adds_to_parts),
    BROKEN(sparse_mlp_i8, q4g32, sparse_sums_over_stretches),
    BROKEN(sparse_gemv, bf16, columns_skip_the_first),
    BROKEN(sparse_merge, f32, merge_forgets_lane_order),
};
enum { BROKEN_KERNELS = sizeof broken / sizeof *broken };

static const struct ek_kernel *reference_of(enum ek_op op, enum ek_fmt fmt)
{
    for (size_t i = 0; i < ek_kernel_count(); i++) {
        const struct ek_kernel *k = ek_kernel_at(i);
        if (k->op == op && k->fmt == fmt && !k->needs) return k;
    }
    return NULL;
}

int main(void)
{
    int accepted = 0;
    if (ek_kernels_default(&sound) || ek_kernels_select(sound.cpu & ~(uint64_t)EK_CPU_amx, &sound))
        return 2; /* the broken rows take the common tiles */
    check_init();
    for (size_t i = 0; i < BROKEN_KERNELS; i++) {
        const struct ek_kernel *k        = &broken[i];
        const int               rejected = check_kernel(reference_of(k->op, k->fmt), k, 0, stdout);
        printf("%s %s\n", rejected ? "rejected" : "ACCEPTED", k->name);
        accepted += !rejected;
    }
    const struct ek_kernel *best = sound.gemv_i8[EK_FMT_q4g32];
    const int sane = !check_kernel(reference_of(best->op, best->fmt), best, 0, stdout);
    printf("%d broken kernels rejected, %d accepted; the sound one is %s\n",
           BROKEN_KERNELS - accepted, accepted, sane ? "accepted" : "REJECTED");
    return accepted || !sane;
}
