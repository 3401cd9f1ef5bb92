/* SPDX-License-Identifier: Apache-2.0 */
/* tests/broken_attention.c - broken on purpose: attention and its cache. */
#include "tests/broken.h"

#include <stdlib.h>
#include <string.h>

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

static const struct ek_kernel kernels[] = {
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
};
const struct broken_kernels broken_attention = {kernels, sizeof kernels / sizeof *kernels};
