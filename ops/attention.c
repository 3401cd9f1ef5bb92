/* SPDX-License-Identifier: Apache-2.0 */
/* ops/attention.c - caches: sizes, storing, loading; attention: checks, the working memory, one
 * token split over slots, many over heads and tiles. */
#include "ek/attention.h"

#include "kernels/kv.h"
#include "ops/run.h"
#include "ops/work.h"

#include <stdint.h>
#include <string.h>

enum {
    PREFILL_PER_THR =
        4,           /* prefill tasks per thread: evens out threads of unequal speed           */
    STORE_GRAIN = 8, /* tokens of a head that are stored together                              */
    MERGE_GRAIN = 4, /* query heads                                                            */
};

size_t ek_gqa_chunks(size_t used)
{
    return gqa_chunks(used);
}
size_t ek_gqa_tiles(size_t group, size_t m)
{
    const size_t step = gqa_tile_tokens(group ? group : 1);
    return (m + step - 1) / step;
}
size_t ek_gqa_scratch_bytes(size_t group, size_t dim)
{
    return gqa_scratch_floats(group ? group : 1, dim) * sizeof(float);
}

/* ---- caches ---- */

static int is_cache_format(enum ek_fmt fmt)
{
    return fmt == EK_FMT_f32 || fmt == EK_FMT_f16 || fmt == EK_FMT_bf16 || fmt == EK_FMT_i8;
}

ek_status ek_kv_bytes(enum ek_fmt fmt, size_t heads, size_t dim, size_t slots, size_t *bytes)
{
    if (!is_cache_format(fmt) || !heads || !dim || !slots || !bytes) return EK_E_ARG;
    size_t cells, total;
    if (dim > SIZE_MAX / 256 || slots > SIZE_MAX / 256) return EK_E_OVERFLOW;
    /* 16 bytes an element of keys and values and their scales: more than any format takes */
    if (__builtin_mul_overflow(kv_round16(dim), kv_round16(slots), &cells) ||
        __builtin_mul_overflow(cells, heads, &cells) || cells > SIZE_MAX / 16)
        return EK_E_OVERFLOW;
    total  = kv_shape(fmt, dim, slots).head * heads;
    *bytes = total;
    return EK_OK;
}

static ek_status kv_check(const struct ek_kv *kv)
{
    size_t bytes;
    if (!kv || kv->struct_size < sizeof *kv || !kv->data || (uintptr_t)kv->data % 64)
        return EK_E_ARG;
    return ek_kv_bytes(kv->fmt, kv->heads, kv->dim, kv->slots, &bytes);
}

struct store {
    ek_kv_store_fn         *fn;
    struct ek_kv_store_args a;
};
static void run_store(void *task, size_t b, size_t e)
{
    const struct store *s = task;
    s->fn(&s->a, b, e);
}

/* NOLINTNEXTLINE(readability-function-size): a row of arrays and their sizes */
ek_status ek_kv_store(const struct ek_kernels *t, const ek_pool *pool, const struct ek_kv *kv,
                      const float *k, const float *v, size_t ld, size_t m, const int32_t *slot)
{
    const ek_status s = kv_check(kv);
    if (s) return s;
    if (!t || t->struct_size != sizeof *t || !ek_pool_sound(pool) || !k || !v || !slot || !m ||
        ld < kv->heads * kv->dim)
        return EK_E_ARG;
    for (size_t i = 0; i < m; i++)
        if (slot[i] < 0 || (size_t)slot[i] >= kv->slots) return EK_E_ARG;
    if (!t->kv_store[kv->fmt]) return EK_E_UNSUPPORTED;
    struct store c = {.fn = t->kv_store[kv->fmt]->fn.kv_store,
                      .a  = {.kv    = kv->data,
                             .k     = k,
                             .v     = v,
                             .slot  = slot,
                             .heads = kv->heads,
                             .dim   = kv->dim,
                             .slots = kv->slots,
                             .ld    = ld,
                             .m     = m}};
    /* Whole heads to a task: tokens of one panel of keys share lines. */
    ek_parallel(pool, kv->heads * m, m < STORE_GRAIN ? kv->heads * m : m, run_store, &c);
    return EK_OK;
}

static float load_number(enum ek_fmt fmt, const uint8_t *p)
{
    uint16_t h;
    float    x;
    if (fmt == EK_FMT_f32) {
        memcpy(&x, p, sizeof x);
        return x;
    }
    memcpy(&h, p, sizeof h);
    return fmt == EK_FMT_f16 ? ek_f32_from_f16(h) : ek_f32_from_bf16(h);
}

ek_status ek_kv_load(const struct ek_kv *kv, size_t slot, float *k, float *v)
{
    const ek_status e = kv_check(kv);
    if (e) return e;
    if (slot >= kv->slots || !k || !v) return EK_E_ARG;
    const struct kv_shape s = kv_shape(kv->fmt, kv->dim, kv->slots);
    for (size_t i = 0; i < kv->heads * kv->dim; i++) {
        const uint8_t *head = (const uint8_t *)kv->data + i / kv->dim * s.head;
        const uint8_t *ka   = head + kv_key_at(kv->fmt, &s, slot, i % kv->dim);
        const uint8_t *va   = head + kv_value_at(kv->fmt, &s, slot, i % kv->dim);
        if (kv->fmt != EK_FMT_i8) {
            k[i] = load_number(kv->fmt, ka), v[i] = load_number(kv->fmt, va);
            continue;
        }
        const size_t at = slot * sizeof(uint16_t);
        k[i]            = load_number(EK_FMT_f16, head + s.k_scales + at) * (float)((int)*ka - 128);
        v[i]            = load_number(EK_FMT_f16, head + s.v_scales + at) * (float)(int8_t)*va;
    }
    return EK_OK;
}

/* ---- the plan ---- */

/* Where everything lies in the working memory; offsets in bytes. */
struct plan {
    size_t group, dp;
    size_t chunks, part_stride, part;   /* one token: parts, in floats from one to the next  */
    size_t q8, qd, qs;                  /* and i8: the rounded query                         */
    size_t items, tasks, scratch_bytes; /* more tokens: items of prefill, tasks at once      */
    size_t total;
};

static void plan_one(struct plan *p, const struct ek_attention *a, int *over)
{
    const struct ek_kv *kv = a->kv;
    p->chunks              = gqa_chunks(a->used);
    p->part_stride =
        (p->group * (EK_GQA_HEAD + p->dp) * sizeof(float) + EK_TASK_GAP) / sizeof(float);
    p->part = ek_reserve(&p->total, kv->heads * p->chunks, p->part_stride * sizeof(float), over);
    if (kv->fmt != EK_FMT_i8) return;
    p->q8 = ek_reserve(&p->total, a->heads, p->dp, over);
    p->qd = ek_reserve(&p->total, a->heads, sizeof(float), over);
    p->qs = ek_reserve(&p->total, a->heads, sizeof(int32_t), over);
}

static void plan_many(struct plan *p, const struct ek_attention *a, const ek_pool *pool, int *over)
{
    const size_t threads = pool && pool->threads > 1 ? pool->threads * PREFILL_PER_THR : 1;
    p->items             = a->kv->heads * ek_gqa_tiles(p->group, a->m);
    p->tasks             = p->items < threads ? p->items : threads;
    p->scratch_bytes = (ek_gqa_scratch_bytes(p->group, a->kv->dim) + 63) / 64 * 64 + EK_TASK_GAP;
    (void)ek_reserve(&p->total, p->tasks, p->scratch_bytes, over);
}

static ek_status make_plan(struct plan *p, const struct ek_kernels *t, const struct ek_attention *a,
                           const ek_pool *pool)
{
    int over = 0;
    if (!t || t->struct_size != sizeof *t || !a || a->struct_size < sizeof *a ||
        !ek_pool_sound(pool))
        return EK_E_ARG;
    size_t          bytes;
    const ek_status s =
        a->kv && a->kv->struct_size >= sizeof *a->kv
            ? ek_kv_bytes(a->kv->fmt, a->kv->heads, a->kv->dim, a->kv->slots, &bytes)
            : EK_E_ARG;
    if (s) return s;
    if (!a->m || !a->heads || a->heads % a->kv->heads || a->used > a->kv->slots) return EK_E_ARG;
    /* heads and dim are of one matrix: far from these limits */
    if (a->heads > SIZE_MAX >> 24 || a->kv->dim > SIZE_MAX >> 24 || a->m > SIZE_MAX >> 24 ||
        a->heads * a->kv->dim > SIZE_MAX >> 24)
        return EK_E_OVERFLOW;
    *p = (struct plan){.group = a->heads / a->kv->heads, .dp = kv_round16(a->kv->dim)};
    if (a->m == 1)
        plan_one(p, a, &over);
    else
        plan_many(p, a, pool, &over);
    return over ? EK_E_OVERFLOW : EK_OK;
}

ek_status ek_attention_work_bytes(const struct ek_kernels *t, const struct ek_attention *a,
                                  const ek_pool *pool, size_t *bytes)
{
    struct plan         p;
    struct ek_attention one;
    if (!a || !bytes) return EK_E_ARG;
    ek_status s = make_plan(&p, t, a, pool);
    if (s) return s;
    const size_t many = p.total;
    one = *a, one.m = 1; /* for any m up to a's: the last token of a text may come alone */
    s = make_plan(&p, t, &one, pool);
    if (s) return s;
    *bytes = p.total > many ? p.total : many;
    return EK_OK;
}

/* ---- the calls ---- */

struct call {
    const struct plan         *p;
    const struct ek_kernels   *t;
    const struct ek_attention *a;
    struct ek_gqa_decode_args  decode;
    struct ek_gqa_merge_args   merge;
    unsigned char             *work;
    int                        by_head; /* a task of decode takes whole heads and merges them */
};

static struct ek_gqa_cache cache_of(const struct ek_attention *a)
{
    return (struct ek_gqa_cache){.kv    = a->kv->data,
                                 .pos   = a->kv_pos,
                                 .heads = a->kv->heads,
                                 .dim   = a->kv->dim,
                                 .slots = a->kv->slots,
                                 .used  = a->used};
}

static void run_merge(void *task, size_t b, size_t e)
{
    const struct call *c = task;
    c->t->gqa_merge[EK_FMT_f32]->fn.gqa_merge(&c->merge, b, e);
}

static void run_decode(void *task, size_t b, size_t e)
{
    const struct call *c = task;
    const struct plan *p = c->p;
    c->t->gqa_decode[c->a->kv->fmt]->fn.gqa_decode(&c->decode, b, e);
    if (c->by_head) run_merge(task, b / p->chunks * p->group, e / p->chunks * p->group);
}

static void call_one(struct call *c, const ek_pool *pool)
{
    const struct plan         *p     = c->p;
    const struct ek_attention *a     = c->a;
    const size_t               heads = a->kv->heads, threads = pool ? pool->threads : 1;
    c->decode = (struct ek_gqa_decode_args){.cache       = cache_of(a),
                                            .mask        = {a->window, a->sinks},
                                            .q_pos       = a->q_pos[0],
                                            .scale       = a->scale,
                                            .group       = p->group,
                                            .q           = a->q,
                                            .part        = (float *)(void *)(c->work + p->part),
                                            .part_stride = p->part_stride};
    c->merge  = (struct ek_gqa_merge_args){.part        = c->decode.part,
                                           .y           = a->y,
                                           .dim         = a->kv->dim,
                                           .group       = p->group,
                                           .chunks      = p->chunks,
                                           .part_stride = p->part_stride};
    if (a->kv->fmt == EK_FMT_i8) {
        int8_t                       *q8 = (int8_t *)(c->work + p->q8);
        float                        *qd = (float *)(void *)(c->work + p->qd);
        int32_t                      *qs = (int32_t *)(void *)(c->work + p->qs);
        const struct ek_quantize_args q  = {.x     = a->q,
                                            .q     = q8,
                                            .d     = qd,
                                            .s     = qs,
                                            .k     = a->kv->dim,
                                            .kp    = p->dp,
                                            .group = p->dp,
                                            .ldx   = a->kv->dim};
        c->t->quantize[EK_FMT_f32]->fn.quantize(&q, 0, a->heads);
        c->decode.q8 = q8, c->decode.qd = qd, c->decode.qs = qs;
    }
    /* Heads to go round, or chunks and then a second region that joins them. */
    c->by_head = p->chunks == 1 || heads % threads == 0 || heads >= 4 * threads;
    ek_parallel(pool, heads * p->chunks, c->by_head ? p->chunks : 1, run_decode, c);
    if (!c->by_head) ek_parallel(pool, a->heads, MERGE_GRAIN, run_merge, c);
}

/* Every tasks-th item: later tiles of a head see more. */
static void run_prefill(void *task, size_t b, size_t e)
{
    const struct call         *c = task;
    const struct ek_attention *a = c->a;
    for (size_t s = b; s < e; s++) {
        const struct ek_gqa_prefill_args args = {.cache   = cache_of(a),
                                                 .mask    = {a->window, a->sinks},
                                                 .scale   = a->scale,
                                                 .group   = c->p->group,
                                                 .m       = a->m,
                                                 .q       = a->q,
                                                 .q_pos   = a->q_pos,
                                                 .y       = a->y,
                                                 .ldq     = a->ldq,
                                                 .ldy     = a->ldy,
                                                 .scratch = c->work + s * c->p->scratch_bytes};
        for (size_t i = s; i < c->p->items; i += c->p->tasks)
            c->t->gqa_prefill[a->kv->fmt]->fn.gqa_prefill(&args, i, i + 1);
    }
}

static int arguments_sound(const struct ek_attention *a)
{
    const size_t row = a->heads * a->kv->dim;
    if (!a->kv->data || (uintptr_t)a->kv->data % 64 || (!a->kv_pos && a->used) || !a->q ||
        !a->q_pos || !a->y || a->ldq < row || a->ldy < row || !(a->scale > 0))
        return 0;
    for (size_t i = 0; i < a->m; i++)
        if (a->q_pos[i] < 0 || a->q_pos[i] == INT32_MAX || (i && a->q_pos[i] < a->q_pos[i - 1]))
            return 0;
    return 1;
}

ek_status ek_attention(const struct ek_kernels *t, const ek_pool *pool,
                       const struct ek_attention *a, void *work, size_t work_bytes)
{
    struct plan     p;
    const ek_status s = make_plan(&p, t, a, pool);
    if (s) return s;
    if (!arguments_sound(a) || !work || (uintptr_t)work % 64) return EK_E_ARG;
    if (work_bytes < p.total) return EK_E_NOMEM;
    const enum ek_fmt f = a->kv->fmt;
    if (a->m == 1 ? !t->gqa_decode[f] || !t->gqa_merge[EK_FMT_f32] || !t->quantize[EK_FMT_f32]
                  : !t->gqa_prefill[f])
        return EK_E_UNSUPPORTED;
    struct call c = {.p = &p, .t = t, .a = a, .work = work};
    if (a->m == 1)
        call_one(&c, pool);
    else
        ek_parallel(pool, p.tasks, 1, run_prefill, &c);
    return EK_OK;
}
