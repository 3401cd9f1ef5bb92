/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/attention.c - caches for the attention drivers; the driver of kv_store. */
#include "tests/drivers/attention.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const   attention_dims[] = {"h", "kv", "d", "len", "m", NULL};
static const double EPS = (double)FLT_EPSILON, LOG2E = 1.44269504088896340736;

size_t attention_stream(enum ek_fmt fmt, const struct ek_shape *s)
{
    size_t bytes = 0;
    (void)ek_kv_bytes(fmt, s->d[DIM_KV], s->d[DIM_D], s->d[DIM_LEN], &bytes);
    return bytes;
}

/* ---- a cache ---- */

/* Stores every slot, the unseen ones too: what is masked must not count. Those past `used` keep the
 * filling of test memory. */
static void fill(struct ek_case *c, struct scene *s, void *kv)
{
    const size_t       width = s->cache.heads * s->cache.dim, n = s->cache.used;
    struct ek_kernels  scalar;
    const struct ek_kv store = {sizeof store, c->fmt,         s->cache.heads,
                                s->cache.dim, s->cache.slots, kv};
    float   *k = ek_test_alloc(n * width, sizeof *k), *v = ek_test_alloc(n * width, sizeof *v);
    int32_t *slot = ek_test_alloc(n, sizeof *slot);
    for (size_t i = 0; i < n * width; i++) k[i] = case_value(c, i), v[i] = case_value(c, i + 1);
    for (size_t i = 0; i < n; i++) slot[i] = (int32_t)i;
    if (ek_kernels_select(0, &scalar) || ek_kv_store(&scalar, NULL, &store, k, v, width, n, slot))
        exit(2);
    s->k = k, s->v = v;
    for (size_t i = 0; i < n; i++)
        if (ek_kv_load(&store, i, k + i * width, v + i * width)) exit(2);
    free(slot);
}

struct scene scene_make(struct ek_case *c)
{
    const size_t len = c->s.d[DIM_LEN], kind = c->stream ? 0 : c->rng % 4;
    const size_t slots = len + (c->stream ? 0 : c->rng % 7);
    struct scene s     = {.group = c->s.d[DIM_H] / c->s.d[DIM_KV], .last = (int32_t)len - 1};
    size_t       bytes = 0;
    int32_t     *pos   = case_buffer(c, len * sizeof *pos, ROLE_IN);
    const size_t turn  = kind ? len / 3 : 0; /* a ring that has wrapped */
    s.dp               = (c->s.d[DIM_D] + 15) / 16 * 16;
    if (kind >= 2) s.mask.window = len / 2 + 1;
    if (kind == 3) s.mask.sinks = 3;
    for (size_t i = 0; i < len; i++) {
        pos[i] = (int32_t)((i + turn) % len);
        if (kind == 1 && i % 5 == 3) pos[i] = -1;
        if (kind == 2 && i > len / 2 && i < len / 2 + 200) pos[i] = -1; /* whole tiles */
    }
    s.cache = (struct ek_gqa_cache){.kv    = c->stream,
                                    .pos   = pos,
                                    .heads = c->s.d[DIM_KV],
                                    .dim   = c->s.d[DIM_D],
                                    .slots = slots,
                                    .used  = len};
    if (c->stream) return s;
    if (ek_kv_bytes(c->fmt, s.cache.heads, s.cache.dim, slots, &bytes)) exit(2);
    void *kv = case_buffer(c, bytes, ROLE_IN);
    fill(c, &s, kv);
    s.cache.kv = kv;
    return s;
}

void scene_drop(struct scene *s)
{
    free(s->k), free(s->v);
}

int scene_sees(const struct scene *s, size_t slot, int32_t pos)
{
    const int32_t p = s->cache.pos[slot];
    if (p < 0 || p > pos) return 0;
    return !s->mask.window || (size_t)(pos - p) < s->mask.window || (size_t)p < s->mask.sinks;
}

/* ---- exact attention ---- */

/* Score of a slot in units of log2 and, in *mag, its largest possible magnitude. */
static double score_of(const struct scene *s, size_t slot, size_t head, const double *q,
                       double scale, double *mag)
{
    const float *k   = s->k + (slot * s->cache.heads + head) * s->cache.dim;
    double       sum = 0;
    *mag             = 0;
    for (size_t d = 0; d < s->cache.dim; d++)
        sum += q[d] * (double)k[d], *mag += fabs(q[d] * (double)k[d]);
    *mag *= scale * LOG2E;
    return sum * scale * LOG2E;
}

/* i8 values: weights are rounded to 14 bits of the largest, times the value's scale, of 64 slots.
 * The weight of each slot's code. */
static double rounding_unit(const struct scene *s, size_t slot, size_t head, size_t end,
                            const double *w)
{
    const size_t first = slot / 64 * 64;
    double       top = 0, code = 0;
    for (size_t i = first; i < first + 64 && i < end; i++) {
        const float *v    = s->v + (i * s->cache.heads + head) * s->cache.dim;
        double       most = 0;
        for (size_t d = 0; d < s->cache.dim; d++) most = fmax(most, fabs((double)v[d]));
        top = fmax(top, w[i]), code = w[i] > 0 ? fmax(code, most) : code;
    }
    return top * code / 16383 * 0.51; /* |code| <= 127 of a scale of most / 127, or so */
}

struct exact exact_attention(const struct scene *s, const struct ek_case *c, size_t kv_head,
                             const double *q, int32_t pos, float scale, size_t begin, size_t end,
                             double *y, double *tol)
{
    const size_t dim = s->cache.dim;
    struct exact e   = {.max = -(double)INFINITY};
    double      *w = ek_test_alloc(end, sizeof *w), worst = 0, mag;
    memset(y, 0, dim * sizeof *y), memset(tol, 0, dim * sizeof *tol);
    for (size_t i = begin; i < end; i++) {
        if (!scene_sees(s, i, pos)) continue;
        w[i] = score_of(s, i, kv_head, q, (double)scale, &mag);
        if (mag > worst) worst = mag; /* no fmax: gcc 12 for aarch64 trips over it here */
        if (w[i] > e.max) e.max = w[i];
        e.seen++;
    }
    /* A score may be wrong by max_tol, so a weight by a factor of 2^(2 max_tol), and what rounding
     * sums of `seen` terms adds, in vectors of at least four. */
    e.max_tol        = EPS * ((double)dim + 8) * worst + (double)(dim + 4) * (double)FLT_MIN;
    const double rel = exp2(2 * e.max_tol) - 1 + EPS * ((double)e.seen / 4 + 64);
    for (size_t i = begin; i < end; i++) {
        if (!scene_sees(s, i, pos)) continue;
        w[i] = exp2(w[i] - e.max);
        e.sum += w[i];
        for (size_t d = 0; d < dim; d++) {
            const double v = w[i] * (double)s->v[(i * s->cache.heads + kv_head) * dim + d];
            y[d] += v, tol[d] += rel * fabs(v);
        }
    }
    double rounding = 0, unit = 0;
    for (size_t i = begin; c->fmt == EK_FMT_i8 && i < end; i++) {
        if (i == begin || i % 64 == 0) unit = rounding_unit(s, i, kv_head, end, w);
        rounding += scene_sees(s, i, pos) ? unit : 0;
    }
    for (size_t d = 0; d < dim; d++) tol[d] += rounding + (double)(e.seen + 4) * (double)FLT_MIN;
    e.sum_tol = rel * e.sum;
    free(w);
    return e;
}

/* ---- kv_store ---- */

/* h is the number of heads here, len that of slots, m of tokens. */
static const struct ek_shape shapes_store[] = {
    {{1, 1, 1, 1, 1}},    {{1, 2, 16, 17, 3}},   {{1, 3, 40, 16, 16}},  {{1, 2, 64, 33, 5}},
    {{1, 2, 96, 70, 37}}, {{1, 1, 128, 20, 20}}, {{1, 2, 250, 40, 18}}, {{0}},
};
static size_t items_store(const struct ek_shape *s)
{
    return s->d[DIM_KV] * s->d[DIM_M];
}

static void setup_store(struct ek_case *c)
{
    const size_t heads = c->s.d[DIM_KV], dim = c->s.d[DIM_D], slots = c->s.d[DIM_LEN];
    const size_t m = c->s.d[DIM_M], ld = heads * dim + c->rng % 3;
    float       *k = case_floats(c, m * ld), *v = case_floats(c, m * ld);
    int32_t     *slot  = case_buffer(c, m * sizeof *slot, ROLE_IN);
    const size_t first = ek_rand(&c->rng) % slots;
    for (size_t i = 0; i < m; i++) slot[i] = (int32_t)((first + i) % slots);
    if (c->data == DATA_OUTLIER) k[ek_rand(&c->rng) % (m * ld)] = NAN;
    if (c->data == DATA_EXTREME) v[ek_rand(&c->rng) % (m * ld)] = 1e9f;
    void *kv      = case_buffer(c, attention_stream(c->fmt, &c->s), ROLE_OUT_EXACT);
    c->a.kv_store = (struct ek_kv_store_args){.kv    = kv,
                                              .k     = k,
                                              .v     = v,
                                              .slot  = slot,
                                              .heads = heads,
                                              .dim   = dim,
                                              .slots = slots,
                                              .ld    = ld,
                                              .m     = m};
}
static void run_store(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.kv_store(&c->a.kv_store, b, e);
}
static double bytes_store(enum ek_fmt fmt, const struct ek_shape *s)
{
    return (8.0 + 2.0 * ek_fmt_info(fmt)->bits / 8) * (double)(s->d[DIM_KV] * s->d[DIM_D]) *
           (double)s->d[DIM_M];
}
static double ops_store(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 2.0 * (double)(s->d[DIM_KV] * s->d[DIM_D]) * (double)s->d[DIM_M];
}
const struct ek_driver ek_driver_kv_store = {.dims   = attention_dims,
                                             .shapes = shapes_store,
                                             .items  = items_store,
                                             .grain  = 1,
                                             .setup  = setup_store,
                                             .run    = run_store,
                                             .bytes  = bytes_store,
                                             .ops    = ops_store};
