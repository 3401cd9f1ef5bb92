/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/attention_ops.c - drivers of gqa_decode, gqa_merge and gqa_prefill. */
#include "tests/drivers/attention.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Groups of 1 to 11; dims off vectors and lines; lengths around panels, tiles and chunks. */
static const struct ek_shape shapes_decode[] = {
    {{1, 1, 16, 1}},    {{2, 1, 40, 15}},    {{3, 1, 64, 16}},
    {{4, 1, 128, 17}},  {{6, 2, 96, 63}},    {{6, 1, 80, 64}},
    {{7, 1, 64, 65}},   {{8, 1, 128, 129}},  {{8, 2, 128, 300}},
    {{5, 1, 256, 130}}, {{11, 1, 112, 100}}, {{4, 2, 64, 1030}},
    {{2, 1, 1, 40}},    {{4, 4, 48, 512}},   {{0}},
};
static const struct ek_shape shapes_merge[] = {
    {{1, 1, 16, 1}}, {{4, 2, 40, 600}}, {{7, 1, 128, 5000}}, {{6, 3, 250, 1025}}, {{0}},
};
/* The fifth number is that of queries; 0: as many as slots. */
static const struct ek_shape shapes_prefill[] = {
    {{1, 1, 16, 1, 1}},
    {{2, 1, 40, 15, 3}},
    {{3, 1, 64, 16, 16}},
    {{4, 1, 128, 17, 17}},
    {{6, 2, 96, 63, 40}},
    {{7, 1, 80, 65, 65}},
    {{8, 1, 112, 129, 7}},
    {{8, 2, 128, 200, 26}},
    {{5, 1, 256, 70, 20}},
    {{2, 2, 64, 200, 70}},
    {{1, 1, 1, 20, 9}},
    {{2, 1, 48, 1030, 5}},
    {{0}},
};

static const double EPS = (double)FLT_EPSILON;

/* Queries that make some scores stand out. */
static float *queries(struct ek_case *c, size_t n)
{
    float *q = case_floats(c, n);
    for (size_t i = 0; i < n && c->data == DATA_RANDOM; i++) q[i] *= 6;
    return q;
}
static float scale_of(const struct ek_shape *s)
{
    return (float)(1 / sqrt((double)s->d[DIM_D]));
}
/* ---- gqa_decode ---- */

static size_t items_decode(const struct ek_shape *s)
{
    return s->d[DIM_KV] * ek_gqa_chunks(s->d[DIM_LEN]);
}

static void round_queries(struct ek_case *c, const float *q, size_t dp,
                          struct ek_gqa_decode_args *a)
{
    const size_t      heads = c->s.d[DIM_H];
    struct ek_kernels scalar;
    int8_t           *q8 = case_buffer(c, heads * dp, ROLE_IN);
    float            *qd = case_buffer(c, heads * sizeof *qd, ROLE_IN);
    int32_t          *qs = case_buffer(c, heads * sizeof *qs, ROLE_IN);
    if (ek_kernels_select(0, &scalar)) exit(2);
    const struct ek_quantize_args round = {.x     = q,
                                           .q     = q8,
                                           .d     = qd,
                                           .s     = qs,
                                           .k     = c->s.d[DIM_D],
                                           .kp    = dp,
                                           .group = dp,
                                           .ldx   = c->s.d[DIM_D]};
    scalar.quantize[EK_FMT_f32]->fn.quantize(&round, 0, heads);
    a->q8 = q8, a->qd = qd, a->qs = qs;
}

static void bound_decode(struct ek_case *c, const struct scene *s, double *tol)
{
    const struct ek_gqa_decode_args *a   = &c->a.gqa_decode;
    const size_t                     dim = s->cache.dim, part = EK_GQA_HEAD + s->dp;
    const size_t                     chunks = ek_gqa_chunks(s->cache.used);
    double *q = ek_test_alloc(dim, sizeof(double)), *y = ek_test_alloc(dim, sizeof(double)),
           *t = ek_test_alloc(dim, sizeof(double));
    for (size_t i = 0; i < s->cache.heads * chunks * s->group; i++) {
        const size_t item = i / s->group, h = item / chunks * s->group + i % s->group;
        const size_t begin = item % chunks * EK_GQA_CHUNK;
        const size_t end =
            begin + EK_GQA_CHUNK < s->cache.used ? begin + EK_GQA_CHUNK : s->cache.used;
        double *to = tol + item * a->part_stride + i % s->group * part;
        for (size_t d = 0; d < dim; d++)
            q[d] =
                a->q8 ? (double)a->qd[h] * (double)a->q8[h * s->dp + d] : (double)a->q[h * dim + d];
        const struct exact e =
            exact_attention(s, c, item / chunks, q, a->q_pos, a->scale, begin, end, y, t);
        to[0] = e.max_tol, to[1] = e.sum_tol;
        for (size_t d = 0; d < dim; d++) to[EK_GQA_HEAD + d] = t[d];
        /* Columns past dim are of no meaning. */
        for (size_t d = dim; d < s->dp; d++) to[EK_GQA_HEAD + d] = (double)INFINITY;
    }
    free(q), free(y), free(t);
}

static void setup_decode(struct ek_case *c)
{
    const size_t heads = c->s.d[DIM_H], dim = c->s.d[DIM_D], items = items_decode(&c->s);
    struct scene s = scene_make(c);
    const float *q = queries(c, heads * dim);
    /* Timing: the outputs of two threads a page apart, as ek_attention has them. */
    const size_t stride = s.group * (EK_GQA_HEAD + s.dp) + (c->stream ? 1024 : 16);
    c->a.gqa_decode     = (struct ek_gqa_decode_args){
            .cache       = s.cache,
            .mask        = s.mask,
            .q_pos       = s.last - (c->stream || s.last < 2 ? 0 : (int32_t)(c->rng % 2)),
            .scale       = scale_of(&c->s),
            .group       = s.group,
            .q           = q,
            .part        = NULL,
            .part_stride = stride};
    if (c->fmt == EK_FMT_i8) round_queries(c, q, s.dp, &c->a.gqa_decode);
    c->a.gqa_decode.part = case_buffer(c, items * stride * sizeof(float), ROLE_OUT);
    double *tol          = case_tolerance(c, items * stride);
    if (tol) bound_decode(c, &s, tol);
    scene_drop(&s);
}
static void run_decode(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.gqa_decode(&c->a.gqa_decode, b, e);
}
static void bind_decode(struct ek_case *c, const void *stream)
{
    c->a.gqa_decode.cache.kv = stream;
}
/* The cache and its positions once, queries in, parts out. */
static double bytes_decode(enum ek_fmt fmt, const struct ek_shape *s)
{
    return (double)attention_stream(fmt, s) + 4.0 * (double)s->d[DIM_LEN] +
           8.0 * (double)(s->d[DIM_H] * s->d[DIM_D]);
}
static double ops_decode(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 4.0 * (double)(s->d[DIM_H] * s->d[DIM_D]) * (double)s->d[DIM_LEN];
}
const struct ek_driver ek_driver_gqa_decode = {.dims   = attention_dims,
                                               .shapes = shapes_decode,
                                               .items  = items_decode,
                                               .grain  = 1,
                                               .setup  = setup_decode,
                                               .run    = run_decode,
                                               .bytes  = bytes_decode,
                                               .ops    = ops_decode,
                                               .stream = attention_stream,
                                               .bind   = bind_decode};

/* ---- gqa_merge ---- */

static size_t items_merge(const struct ek_shape *s)
{
    return s->d[DIM_H];
}

static void setup_merge(struct ek_case *c)
{
    const size_t heads = c->s.d[DIM_H], kv = c->s.d[DIM_KV], dim = c->s.d[DIM_D];
    const size_t chunks = ek_gqa_chunks(c->s.d[DIM_LEN]), group = heads / kv;
    const size_t size = EK_GQA_HEAD + (dim + 15) / 16 * 16, stride = group * size + 32;
    float       *part = case_floats(c, kv * chunks * stride);
    for (size_t i = 0; i < kv * chunks * group; i++) {
        float *p = part + i / group * stride + i % group * size;
        p[0] *= 20, p[1] = 1 + fabsf(p[1]);
        /* some saw nothing; of the last head, none did */
        if (ek_rand(&c->rng) % 4 == 0 ||
            (i / group / chunks * group + i % group == heads - 1 && heads > 1))
            p[0] = -INFINITY, p[1] = 0, memset(p + EK_GQA_HEAD, 0, dim * sizeof *p);
    }
    c->a.gqa_merge =
        (struct ek_gqa_merge_args){.part   = part,
                                   .y      = case_buffer(c, heads * dim * sizeof(float), ROLE_OUT),
                                   .dim    = dim,
                                   .group  = group,
                                   .chunks = chunks,
                                   .part_stride = stride};
    double *tol = case_tolerance(c, heads * dim);
    for (size_t i = 0; tol && i < heads * dim; i++) {
        const size_t h   = i / dim;
        const float *p   = part + h / group * chunks * stride + h % group * size;
        double       max = -(double)INFINITY, total = 0, sum = 0;
        for (size_t j = 0; j < chunks; j++) max = fmax(max, (double)p[j * stride]);
        for (size_t j = 0; j < chunks; j++) {
            const double w = exp2((double)p[j * stride] - max);
            if (isinf(p[j * stride])) continue;
            total += w * (double)p[j * stride + 1];
            sum += w * fabs((double)p[j * stride + EK_GQA_HEAD + i % dim]);
        }
        /* the difference of two maxima is rounded at their size, times ln 2, both ways */
        double big = 0;
        for (size_t j = 0; j < chunks; j++)
            if (!isinf(p[j * stride])) big = fmax(big, fabs((double)p[j * stride]));
        tol[i] = (EPS * (2 * (double)chunks + 8) + 3 * EPS * big) * (total > 0 ? sum / total : 0) +
                 (double)FLT_MIN;
    }
}
static void run_merge(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.gqa_merge(&c->a.gqa_merge, b, e);
}
static double bytes_merge(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 4.0 * (double)(s->d[DIM_H] * s->d[DIM_D]) * (double)(ek_gqa_chunks(s->d[DIM_LEN]) + 1);
}
static double ops_merge(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 2.0 * (double)(s->d[DIM_H] * s->d[DIM_D]) * (double)ek_gqa_chunks(s->d[DIM_LEN]);
}
const struct ek_driver ek_driver_gqa_merge = {.dims   = attention_dims,
                                              .shapes = shapes_merge,
                                              .items  = items_merge,
                                              .grain  = 4,
                                              .setup  = setup_merge,
                                              .run    = run_merge,
                                              .bytes  = bytes_merge,
                                              .ops    = ops_merge};

/* ---- gqa_prefill ---- */

static size_t count_queries(const struct ek_shape *s)
{
    return s->d[DIM_M] ? s->d[DIM_M] : s->d[DIM_LEN];
}
static size_t items_prefill(const struct ek_shape *s)
{
    return s->d[DIM_KV] * ek_gqa_tiles(s->d[DIM_H] / s->d[DIM_KV], count_queries(s));
}
static size_t slot_bytes(const struct ek_shape *s)
{
    return (ek_gqa_scratch_bytes(s->d[DIM_H] / s->d[DIM_KV], s->d[DIM_D]) + 63) / 64 * 64 + 4096;
}

static void bound_prefill(struct ek_case *c, const struct scene *s, double *tol)
{
    const struct ek_gqa_prefill_args *a   = &c->a.gqa_prefill;
    const size_t                      dim = s->cache.dim, heads = c->s.d[DIM_H];
    double *q = ek_test_alloc(dim, sizeof(double)), *y = ek_test_alloc(dim, sizeof(double)),
           *t = ek_test_alloc(dim, sizeof(double));
    for (size_t i = 0; i < a->m * heads; i++) {
        const size_t row = i / heads, h = i % heads;
        for (size_t d = 0; d < dim; d++) q[d] = (double)a->q[row * a->ldq + h * dim + d];
        const struct exact e =
            exact_attention(s, c, h / s->group, q, a->q_pos[row], a->scale, 0, s->cache.used, y, t);
        for (size_t d = 0; d < dim && e.seen; d++)
            tol[row * a->ldy + h * dim + d] =
                (t[d] + fabs(y[d]) * e.sum_tol / e.sum) / e.sum + (double)FLT_MIN;
    }
    free(q), free(y), free(t);
}

static void setup_prefill(struct ek_case *c)
{
    const size_t m = count_queries(&c->s), row = c->s.d[DIM_H] * c->s.d[DIM_D];
    const size_t pad = c->stream ? 0 : 5;
    struct scene s   = scene_make(c);
    int32_t     *pos = case_buffer(c, m * sizeof *pos, ROLE_IN);
    for (size_t i = 0; i < m; i++) pos[i] = s.last + 1 - (int32_t)m + (int32_t)i;
    c->a.gqa_prefill = (struct ek_gqa_prefill_args){
        .cache   = s.cache,
        .mask    = s.mask,
        .scale   = scale_of(&c->s),
        .group   = s.group,
        .m       = m,
        .q       = queries(c, m * (row + pad)),
        .q_pos   = pos,
        .y       = case_buffer(c, m * (row + pad) * sizeof(float), ROLE_OUT),
        .ldq     = row + pad,
        .ldy     = row + pad,
        .scratch = case_buffer(c, (c->slots ? c->slots : 1) * slot_bytes(&c->s), ROLE_SCRATCH)};
    double *tol = case_tolerance(c, m * (row + pad));
    if (tol) bound_prefill(c, &s, tol);
    scene_drop(&s);
}
static void run_prefill(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    struct ek_gqa_prefill_args a    = c->a.gqa_prefill;
    const size_t               slot = c->slots ? b / case_grain(c, &ek_driver_gqa_prefill) : 0;
    a.scratch                       = (char *)a.scratch + slot * slot_bytes(&c->s);
    k->fn.gqa_prefill(&a, b, e);
}
static void bind_prefill(struct ek_case *c, const void *stream)
{
    c->a.gqa_prefill.cache.kv = stream;
}
static double bytes_prefill(enum ek_fmt fmt, const struct ek_shape *s)
{
    return (double)attention_stream(fmt, s) +
           8.0 * (double)(s->d[DIM_H] * s->d[DIM_D]) * (double)count_queries(s);
}
/* Of the scores that a causal mask shows. */
static double ops_prefill(enum ek_fmt fmt, const struct ek_shape *s)
{
    const double m = (double)count_queries(s), len = (double)s->d[DIM_LEN];
    (void)fmt;
    return 4.0 * (double)(s->d[DIM_H] * s->d[DIM_D]) * (m * (len - m) + m * (m + 1) / 2);
}
const struct ek_driver ek_driver_gqa_prefill = {.dims      = attention_dims,
                                                .shapes    = shapes_prefill,
                                                .items     = items_prefill,
                                                .grain     = 32,
                                                .has_slots = 1,
                                                .setup     = setup_prefill,
                                                .run       = run_prefill,
                                                .bytes     = bytes_prefill,
                                                .ops       = ops_prefill,
                                                .stream    = attention_stream,
                                                .bind      = bind_prefill};
