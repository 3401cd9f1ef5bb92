/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/scalar/attention.c - reference for the attention kernels: formulas in double, one score
 * at a time. */
#include "kernels/contract.h"
#include "kernels/kv.h"

#include <math.h>

/* ---- the cache ---- */

static double number(enum ek_fmt fmt, const uint8_t *p)
{
    uint16_t h;
    float    f;
    memcpy(&h, p, sizeof h);
    if (fmt == EK_FMT_f16) return (double)ek_half_load(h);
    if (fmt == EK_FMT_bf16) return (double)ek_bfloat_load(h);
    memcpy(&f, p, sizeof f);
    return (double)f;
}
static double half_at(const uint8_t *p)
{
    return number(EK_FMT_f16, p);
}
static double key(enum ek_fmt fmt, const struct kv_shape *s, const uint8_t *head, size_t slot,
                  size_t col)
{
    const uint8_t *p = head + kv_key_at(fmt, s, slot, col);
    if (fmt != EK_FMT_i8) return number(fmt, p);
    return half_at(head + s->k_scales + slot * sizeof(uint16_t)) * ((double)*p - 128);
}
static double value(enum ek_fmt fmt, const struct kv_shape *s, const uint8_t *head, size_t slot,
                    size_t col)
{
    const uint8_t *p = head + kv_value_at(fmt, s, slot, col);
    if (fmt != EK_FMT_i8) return number(fmt, p);
    return half_at(head + s->v_scales + slot * sizeof(uint16_t)) * (double)(int8_t)*p;
}

/* ---- storing ---- */

static void store_number(enum ek_fmt fmt, uint8_t *p, float x)
{
    const uint16_t h = fmt == EK_FMT_f16 ? ek_half_round(x) : ek_bfloat_round(x);
    if (fmt == EK_FMT_f32)
        memcpy(p, &x, sizeof x);
    else
        memcpy(p, &h, sizeof h);
}
static uint16_t store_scale(uint8_t *p, const float *x, size_t dim)
{
    uint32_t most = 0;
    for (size_t d = 0; d < dim; d++) {
        const uint32_t bits = ek_bits_of(x[d]) & 0x7FFFFFFF;
        if (bits > most) most = bits;
    }
    const uint16_t h = kv_scale(most);
    memcpy(p, &h, sizeof h);
    return h;
}
static int code_of(float x, float d)
{
    return d > 0 ? (int)rintf(x / d) : 0;
}

static void store_range(enum ek_fmt fmt, const struct ek_kv_store_args *a, size_t begin, size_t end)
{
    const struct kv_shape s = kv_shape(fmt, a->dim, a->slots);
    for (size_t item = begin; item < end; item++) {
        const size_t head = item / a->m, t = item % a->m, slot = (size_t)a->slot[t];
        const float *k = a->k + t * a->ld + head * a->dim, *v = a->v + t * a->ld + head * a->dim;
        uint8_t     *p  = (uint8_t *)a->kv + head * s.head;
        float        kd = 0, vd = 0;
        if (fmt == EK_FMT_i8) {
            kd = ek_half_load(store_scale(p + s.k_scales + slot * sizeof(uint16_t), k, a->dim));
            vd = ek_half_load(store_scale(p + s.v_scales + slot * sizeof(uint16_t), v, a->dim));
        }
        for (size_t d = 0; d < a->dim; d++) {
            uint8_t *ka = p + kv_key_at(fmt, &s, slot, d), *va = p + kv_value_at(fmt, &s, slot, d);
            if (fmt == EK_FMT_i8) {
                *ka = (uint8_t)(code_of(k[d], kd) + 128);
                *va = (uint8_t)code_of(v[d], vd);
            } else {
                store_number(fmt, ka, k[d]);
                store_number(fmt, va, v[d]);
            }
        }
    }
}

/* ---- attention ---- */

static int sees(const struct ek_gqa_mask *m, int32_t from, int32_t pos)
{
    if (pos < 0 || pos > from) return 0;
    return !m->window || (size_t)(from - pos) < m->window || (size_t)pos < m->sinks;
}

/* One query head and its kv head, over slots [begin, end). */
struct gaze {
    enum ek_fmt                fmt;
    const struct ek_gqa_cache *c;
    struct kv_shape            s;
    const uint8_t             *head;
    const struct ek_gqa_mask  *mask;
    int32_t                    pos;
    const float               *q;
    const int8_t              *q8; /* instead of q, with scale qd */
    double                     qd, scale;
};

static double score(const struct gaze *g, size_t slot)
{
    double sum = 0;
    if (g->q8)
        for (size_t d = 0; d < g->c->dim; d++)
            sum += g->qd * (double)g->q8[d] * key(g->fmt, &g->s, g->head, slot, d);
    else
        for (size_t d = 0; d < g->c->dim; d++)
            sum += (double)g->q[d] * key(g->fmt, &g->s, g->head, slot, d);
    return sum * g->scale * 1.44269504088896340736;
}

static double largest(const struct gaze *g, size_t begin, size_t end)
{
    double max = -(double)INFINITY;
    for (size_t i = begin; i < end; i++)
        if (sees(g->mask, g->pos, g->c->pos[i])) max = fmax(max, score(g, i));
    return max;
}

/* y[0..dim) = sum 2^(s - max) v / (divide ? sum 2^(s - max) : 1), 0 where nothing is seen; returns
 * the sum of weights. */
static double weigh(const struct gaze *g, size_t begin, size_t end, double max, int divide,
                    float *y)
{
    enum { AT_ONCE = 256 }; /* columns whose sums fit the stack */
    double       sum[AT_ONCE], total = 0;
    const size_t dim = g->c->dim;
    for (size_t d0 = 0; d0 < dim; d0 += AT_ONCE) {
        const size_t n = dim - d0 < AT_ONCE ? dim - d0 : AT_ONCE;
        memset(sum, 0, sizeof sum);
        total = 0;
        for (size_t i = begin; i < end; i++) {
            if (!sees(g->mask, g->pos, g->c->pos[i])) continue;
            const double w = exp2(score(g, i) - max);
            total += w;
            for (size_t d = 0; d < n; d++) sum[d] += w * value(g->fmt, &g->s, g->head, i, d0 + d);
        }
        for (size_t d = 0; d < n; d++)
            y[d0 + d] = (float)(divide && total > 0 ? sum[d] / total : sum[d]);
    }
    return total;
}

static struct gaze gaze_at(enum ek_fmt fmt, const struct ek_gqa_cache *c,
                           const struct ek_gqa_mask *mask, size_t head, float scale)
{
    struct gaze g = {.fmt = fmt, .c = c, .mask = mask, .scale = (double)scale};
    g.s           = kv_shape(fmt, c->dim, c->slots);
    g.head        = (const uint8_t *)c->kv + head * g.s.head;
    return g;
}

static void decode_range(enum ek_fmt fmt, const struct ek_gqa_decode_args *a, size_t begin,
                         size_t end)
{
    const size_t chunks = gqa_chunks(a->cache.used), dp = kv_round16(a->cache.dim);
    for (size_t item = begin; item < end; item++) {
        const size_t head = item / chunks, s0 = item % chunks * EK_GQA_CHUNK;
        const size_t left = a->cache.used - s0, n = left < EK_GQA_CHUNK ? left : EK_GQA_CHUNK;
        struct gaze  g = gaze_at(fmt, &a->cache, &a->mask, head, a->scale);
        g.pos          = a->q_pos;
        for (size_t j = 0; j < a->group; j++) {
            const size_t h    = head * a->group + j;
            float       *part = a->part + item * a->part_stride + j * (EK_GQA_HEAD + dp);
            if (fmt == EK_FMT_i8)
                g.q8 = a->q8 + h * dp, g.qd = (double)a->qd[h];
            else
                g.q = a->q + h * a->cache.dim;
            const double max = largest(&g, s0, s0 + n);
            part[0]          = (float)max;
            part[1]          = (float)weigh(&g, s0, s0 + n, max, 0, part + EK_GQA_HEAD);
        }
    }
}

void EK_KERNEL_SYM(gqa_merge, f32, scalar, )(const struct ek_gqa_merge_args *a, size_t begin,
                                             size_t end)
{
    const size_t size = EK_GQA_HEAD + kv_round16(a->dim);
    for (size_t h = begin; h < end; h++) {
        const float *part =
            a->part + h / a->group * a->chunks * a->part_stride + h % a->group * size;
        double max = -(double)INFINITY;
        for (size_t c = 0; c < a->chunks; c++) {
            const double m = (double)part[c * a->part_stride];
            if (m > max) max = m;
        }
        for (size_t d = 0; d < a->dim; d++) {
            double sum = 0, total = 0;
            for (size_t c = 0; c < a->chunks; c++) {
                const float *p = part + c * a->part_stride;
                if (isinf(p[0]) && p[0] < 0) continue;
                const double w = exp2((double)p[0] - max);
                total += w * (double)p[1];
                sum += w * (double)p[EK_GQA_HEAD + d];
            }
            a->y[h * a->dim + d] = (float)(total == 0 ? 0 : sum / total);
        }
    }
}

static void prefill_range(enum ek_fmt fmt, const struct ek_gqa_prefill_args *a, size_t begin,
                          size_t end)
{
    const size_t step = gqa_tile_tokens(a->group), tiles = (a->m + step - 1) / step;
    for (size_t item = begin; item < end; item++) {
        const size_t head = item / tiles, t0 = item % tiles * step;
        for (size_t t = t0; t < t0 + step && t < a->m; t++)
            for (size_t j = 0; j < a->group; j++) {
                const size_t at = (head * a->group + j) * a->cache.dim;
                struct gaze  g  = gaze_at(fmt, &a->cache, &a->mask, head, a->scale);
                g.pos = a->q_pos[t], g.q = a->q + t * a->ldq + at;
                weigh(&g, 0, a->cache.used, largest(&g, 0, a->cache.used), 1,
                      a->y + t * a->ldy + at);
            }
    }
}

#define DEFINE(fmt)                                                                                \
    void EK_KERNEL_SYM(kv_store, fmt, scalar, )(const struct ek_kv_store_args *a, size_t begin,    \
                                                size_t end)                                        \
    {                                                                                              \
        store_range(EK_FMT_##fmt, a, begin, end);                                                  \
    }                                                                                              \
    void EK_KERNEL_SYM(gqa_decode, fmt, scalar, )(const struct ek_gqa_decode_args *a,              \
                                                  size_t begin, size_t end)                        \
    {                                                                                              \
        decode_range(EK_FMT_##fmt, a, begin, end);                                                 \
    }                                                                                              \
    void EK_KERNEL_SYM(gqa_prefill, fmt, scalar, )(const struct ek_gqa_prefill_args *a,            \
                                                   size_t begin, size_t end)                       \
    {                                                                                              \
        prefill_range(EK_FMT_##fmt, a, begin, end);                                                \
    }
DEFINE(f32)
DEFINE(f16)
DEFINE(bf16)
DEFINE(i8)
