/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/sparse.c - drivers of sparse_mlp, sparse_mlp_i8, sparse_gemv and sparse_merge. */
#include "ek/sparse.h"
#include "kernels/neuron.h"
#include "tests/driver.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* active: per cent of the neurons; m 0: 1; rows 0: 3, or 1 for sparse_gemv. */
enum { DIM_D, DIM_I, DIM_ACTIVE, DIM_M, DIM_ROWS };
static const char *const dims[] = {"d", "i", "active", "m", "rows", NULL};

/* Around runs, lines and vectors; lists shorter and longer than the neurons side by side. */
static const struct ek_shape shapes[] = {
    {{1, 1, 100}},          {{31, 3, 100, 2, 2}},
    {{33, 9, 50, 1, 2}},    {{64, 30, 30, 3}},
    {{511, 24, 70, 1}},     {{512, 40, 100, 4}},
    {{513, 17, 100, 5, 2}}, {{896, 30, 60, 1}},
    {{1024, 33, 40, 8}},    {{1025, 20, 90, 1, 2}},
    {{1536, 36, 50, 7, 2}}, {{3072, 20, 80, 1}},
    {{160, 300, 30, 1}},    {{0}},
};
static const struct ek_shape shapes_gemv[] = {
    {{1, 1, 100}},       {{33, 9, 50}},   {{64, 30, 30, 3}},   {{512, 40, 100, 4}},
    {{513, 17, 100, 5}}, {{896, 30, 60}}, {{1024, 33, 40, 8}}, {{3072, 20, 80}},
    {{160, 300, 30}},    {{0}},
};

static const double EPS = (double)FLT_EPSILON;

static size_t tokens(const struct ek_shape *s)
{
    return s->d[DIM_M] ? s->d[DIM_M] : 1;
}
static size_t rows_of(const struct ek_shape *s)
{
    return s->d[DIM_ROWS] ? s->d[DIM_ROWS] : 3;
}
static size_t count_of(const struct ek_shape *s)
{
    const size_t n = s->d[DIM_I] * s->d[DIM_ACTIVE] / 100;
    return n ? n : 1;
}
/* Eight stretches, as the ops have for lists of some length. */
static size_t items(const struct ek_shape *s)
{
    const size_t sides = (count_of(s) + EK_SPARSE_SIDE - 1) / EK_SPARSE_SIDE;
    return sides < 8 ? sides : 8;
}
static int is_float(enum ek_fmt fmt)
{
    return ek_fmt_info(fmt)->kind == EK_FMT_FLOAT;
}

/* ---- the list ---- */

/* Checking: places in any order. Timing: the neurons dealt into disjoint lists, each rising; a list
 * used again would be in a cache. */
static uint32_t *lists(struct ek_case *c)
{
    const size_t n = c->s.d[DIM_I], count = count_of(&c->s), parts = c->stream ? n / count : 1;
    uint32_t    *list = case_buffer(c, parts * count * sizeof *list, ROLE_IN);
    uint32_t    *deal = ek_test_alloc(n, sizeof *deal);
    for (size_t i = 0; i < n; i++) deal[i] = (uint32_t)i;
    for (size_t i = n - 1; i > 0; i--) {
        const size_t   j = ek_rand(&c->rng) % (i + 1);
        const uint32_t x = deal[i];
        deal[i] = deal[j], deal[j] = x;
    }
    if (!c->stream) {
        memcpy(list, deal, count * sizeof *list);
    } else {
        uint32_t *owner = ek_test_alloc(n, sizeof *owner);
        size_t   *used  = ek_test_alloc(parts, sizeof *used);
        for (size_t i = 0; i < n; i++) owner[deal[i]] = (uint32_t)(i / count);
        for (size_t i = 0; i < n; i++)
            if (owner[i] < parts) list[owner[i] * count + used[owner[i]]++] = (uint32_t)i;
        free(owner), free(used);
    }
    free(deal);
    return list;
}
/* The next list; every copy of the weights meets each of them. */
static const uint32_t *next_list(struct ek_case *c, int first_copy)
{
    const size_t count = count_of(&c->s), parts = c->s.d[DIM_I] / count;
    c->rng += first_copy ? 2 : 1;
    return (const uint32_t *)c->buf[0].p + c->rng % parts * count;
}

/* ---- weights ---- */

static const void *neurons(struct ek_case *c, size_t rows)
{
    const size_t n = c->s.d[DIM_I], d = c->s.d[DIM_D];
    size_t       bytes;
    if (c->stream) return c->stream;
    if (ek_neurons_bytes(c->fmt, n, d, rows, &bytes, NULL)) exit(2);
    unsigned char *w    = case_buffer(c, bytes, ROLE_IN);
    float         *from = ek_test_alloc(n * d, sizeof *from);
    memset(w, 0xFF, bytes);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < n * d; i++)
            from[i] = case_value(c, i) * (c->data == DATA_EXTREME ? 1 : 0.1f);
        if (ek_neurons_quantize(c->fmt, from, d, 1, n, d, rows, r, w, bytes)) exit(2);
    }
    free(from);
    return w;
}

static size_t stream(enum ek_fmt fmt, const struct ek_shape *s)
{
    size_t bytes = 0;
    (void)ek_neurons_bytes(fmt, s->d[DIM_I], s->d[DIM_D], rows_of(s), &bytes, NULL);
    return bytes;
}
static size_t stream_gemv(enum ek_fmt fmt, const struct ek_shape *s)
{
    size_t bytes = 0;
    (void)ek_neurons_bytes(fmt, s->d[DIM_I], s->d[DIM_D], 1, &bytes, NULL);
    return bytes;
}

/* ---- activations ---- */

/* x as the kernel sees it, and in its own order. */
static float *activations(struct ek_case *c, size_t width, double *plain)
{
    const size_t d = c->s.d[DIM_D], m = tokens(&c->s);
    float       *x = case_buffer(c, m * width * sizeof *x, ROLE_IN);
    memset(x, 0, m * width * sizeof *x);
    for (size_t i = 0; i < m * d; i++) {
        const size_t t = i / d, at = i % d;
        const size_t run = at / 512, in = at % 512; /* lane order, as docs/formats.md has it */
        const float  v    = case_value(c, i);
        const size_t to   = is_float(c->fmt) ? at : 512 * run + 16 * (in % 32) + in / 32;
        x[t * width + to] = v;
        if (plain) plain[t * d + at] = (double)v;
    }
    return x;
}

static void activations8(struct ek_case *c, size_t width, double *plain,
                         struct ek_sparse_mlp_i8_args *a)
{
    const size_t d = c->s.d[DIM_D], m = tokens(&c->s), groups = width / 32;
    int8_t      *q = case_buffer(c, m * width, ROLE_IN);
    float       *e = case_buffer(c, m * groups * sizeof *e, ROLE_IN);
    int32_t     *s = case_buffer(c, m * groups * sizeof *s, ROLE_IN);
    memset(q, 0, m * width), memset(s, 0, m * groups * sizeof *s);
    for (size_t i = 0; i < m * groups; i++) e[i] = fabsf(case_value(c, i)) * 0.01f;
    for (size_t i = 0; i < m * d; i++) {
        const size_t t = i / d, at = i % d, run = at / 512, in = at % 512;
        const int    v = c->data == DATA_ZERO      ? 0
                         : c->data == DATA_EXTREME ? (ek_rand(&c->rng) & 1 ? 127 : -127)
                                                   : (int)(ek_rand(&c->rng) % 255) - 127;
        q[t * width + 512 * run + 64 * (in % 32 / 4) + 4 * (in / 32) + in % 4] = (int8_t)v;
        s[t * groups + at / 32] += v;
        if (plain) plain[t * d + at] = (double)e[t * groups + at / 32] * v;
    }
    a->xq = q, a->xd = e, a->xs = s;
}

/* ---- bounds ---- */

static enum ek_act_kind act_of(const struct ek_case *c)
{
    return (enum ek_act_kind)(c->s.d[DIM_D] % 4); /* ReLU, SiLU and both GELUs */
}
static double act_exact(enum ek_act_kind kind, double x)
{
    switch (kind) {
    case EK_ACT_RELU: return x < 0 ? 0 : x;
    case EK_ACT_SILU: return x / (1 + exp(-x));
    case EK_ACT_GELU_ERF: return 0.5 * x * erfc(-x * 0.70710678118654752440);
    default: return x / (1 + exp(-2 * 0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    }
}

/* A number and how far a kernel's may be from it. */
struct about {
    double value, off;
};

static struct about about_dot(const float *w, const double *x, size_t d)
{
    double sum = 0, mag = 0;
    for (size_t c = 0; c < d; c++) sum += (double)w[c] * x[c], mag += fabs((double)w[c] * x[c]);
    return (struct about){sum, EPS * (double)(d + 4) * mag + (double)(d + 4) * (double)FLT_MIN};
}
/* The activations' slopes are below 1.13. */
static struct about about_act(enum ek_act_kind kind, struct about x)
{
    return (struct about){act_exact(kind, x.value),
                          1.13 * x.off + 8 * EPS * fabs(x.value) + (double)FLT_MIN};
}
static struct about about_product(struct about a, struct about b)
{
    const double p = a.value * b.value;
    return (struct about){p, a.off * (fabs(b.value) + b.off) + fabs(a.value) * b.off +
                                 EPS * (fabs(p)) + (double)FLT_MIN};
}

/* What the sums of one op need: h of a place and token, from the rows before the last. */
struct bound {
    const struct ek_case *c;
    struct ek_neurons     w;
    const double         *x;    /* [m][d], or [m][count] of sparse_gemv */
    const float          *gate; /* [m][count] or NULL                   */
};

static struct about about_hidden(const struct bound *b, float *const rows[3], size_t place,
                                 size_t t)
{
    const enum ek_act_kind act = act_of(b->c);
    const size_t           d = b->w.d, count = count_of(&b->c->s);
    struct about           dot[2];
    if (b->w.rows == 1) return (struct about){b->x[t * count + place], 0};
    for (size_t r = 0; r + 1 < b->w.rows; r++) dot[r] = about_dot(rows[r], b->x + t * d, d);
    if (b->w.rows == 3) return about_product(about_act(act, dot[0]), dot[1]);
    if (!b->gate) return about_act(act, dot[0]);
    return about_product((struct about){(double)b->gate[t * count + place], 0}, dot[0]);
}

static void bound_parts(const struct bound *b, const uint32_t *list, size_t width, size_t stride,
                        double *tol)
{
    const size_t d = b->w.d, m = tokens(&b->c->s), count = count_of(&b->c->s);
    const size_t n = items(&b->c->s);
    float       *rows[3];
    for (size_t r = 0; r < 3; r++) rows[r] = ek_test_alloc(d, sizeof **rows);
    for (size_t i = 0; i < n * stride; i++) tol[i] = 512 * (double)(count + 8) * (double)FLT_MIN;
    for (size_t item = 0, j = 0; j < count; j++) {
        if (j >= ek_stretch_begin(item + 1, n, count)) item++;
        for (size_t r = 0; r < b->w.rows; r++)
            if (ek_neurons_dequantize(&b->w, r, list[j], list[j] + 1, rows[r])) exit(2);
        for (size_t t = 0; t < m; t++) {
            const struct about h    = about_hidden(b, rows, j, t);
            const double       each = h.off + EPS * (double)(count + 8) * (fabs(h.value) + h.off);
            double            *to   = tol + item * stride + t * width;
            for (size_t c = 0; c < d; c++) {
                const size_t at =
                    is_float(b->w.fmt) ? c : c / 512 * 512 + 16 * (c % 32) + c % 512 / 32;
                to[at] += each * fabs((double)rows[b->w.rows - 1][c]);
                if (fabs(h.value) + h.off > 1e37) to[at] = (double)INFINITY;
            }
        }
    }
    for (size_t r = 0; r < 3; r++) free(rows[r]);
}

/* ---- cases ---- */

struct made {
    const void     *w;
    const uint32_t *list;
    float          *gate, *part;
    double         *x, *tol;
    size_t          width, stride;
};

/* rows 2: with factors for an even d, without for an odd one. */
static struct made make(struct ek_case *c, size_t rows)
{
    const size_t m = tokens(&c->s), d = c->s.d[DIM_D], count = count_of(&c->s);
    struct made  k = {.list = lists(c), .width = ek_neuron_width(c->fmt, d)};
    k.w            = neurons(c, rows);
    k.stride       = m * k.width + (c->stream ? 1024 : 16);
    k.part         = case_buffer(c, items(&c->s) * k.stride * sizeof(float), ROLE_OUT);
    k.tol          = case_tolerance(c, items(&c->s) * k.stride);
    k.x            = c->stream ? NULL : ek_test_alloc(m * (d > count ? d : count), sizeof *k.x);
    k.gate         = rows == 2 && d % 2 == 0 ? case_floats(c, m * count) : NULL;
    return k;
}
static void finish(struct ek_case *c, struct made *k, size_t rows)
{
    const struct bound b = {.c    = c,
                            .w    = {c->fmt, c->s.d[DIM_I], c->s.d[DIM_D], rows, k->w},
                            .x    = k->x,
                            .gate = k->gate};
    if (k->tol) bound_parts(&b, k->list, k->width, k->stride, k->tol);
    free(k->x);
}

static void setup_mlp(struct ek_case *c)
{
    const size_t rows = rows_of(&c->s);
    struct made  k    = make(c, rows);
    c->a.sparse_mlp   = (struct ek_sparse_mlp_args){.w           = k.w,
                                                    .list        = k.list,
                                                    .x           = activations(c, k.width, k.x),
                                                    .gate        = k.gate,
                                                    .part        = k.part,
                                                    .count       = count_of(&c->s),
                                                    .items       = items(&c->s),
                                                    .rows        = rows,
                                                    .width       = k.width,
                                                    .m           = tokens(&c->s),
                                                    .part_stride = k.stride,
                                                    .act         = act_of(c)};
    finish(c, &k, rows);
}
static void setup_mlp_i8(struct ek_case *c)
{
    const size_t rows  = rows_of(&c->s);
    struct made  k     = make(c, rows);
    c->a.sparse_mlp_i8 = (struct ek_sparse_mlp_i8_args){.w           = k.w,
                                                        .list        = k.list,
                                                        .gate        = k.gate,
                                                        .part        = k.part,
                                                        .count       = count_of(&c->s),
                                                        .items       = items(&c->s),
                                                        .rows        = rows,
                                                        .width       = k.width,
                                                        .m           = tokens(&c->s),
                                                        .part_stride = k.stride,
                                                        .act         = act_of(c)};
    activations8(c, k.width, k.x, &c->a.sparse_mlp_i8);
    finish(c, &k, rows);
}
static void setup_gemv(struct ek_case *c)
{
    const size_t m = tokens(&c->s), count = count_of(&c->s);
    struct made  k = make(c, 1);
    const float *x = case_floats(c, m * count);
    for (size_t i = 0; k.x && i < m * count; i++) k.x[i] = (double)x[i];
    c->a.sparse_gemv = (struct ek_sparse_gemv_args){.w           = k.w,
                                                    .list        = k.list,
                                                    .x           = x,
                                                    .part        = k.part,
                                                    .count       = count,
                                                    .items       = items(&c->s),
                                                    .width       = k.width,
                                                    .m           = m,
                                                    .part_stride = k.stride};
    finish(c, &k, 1);
}

static void run_mlp(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.sparse_mlp(&c->a.sparse_mlp, b, e);
}
static void run_mlp_i8(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.sparse_mlp_i8(&c->a.sparse_mlp_i8, b, e);
}
static void run_gemv(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.sparse_gemv(&c->a.sparse_gemv, b, e);
}
static void bind_mlp(struct ek_case *c, const void *stream)
{
    c->a.sparse_mlp.list = next_list(c, stream <= c->a.sparse_mlp.w);
    c->a.sparse_mlp.w    = stream;
}
static void bind_mlp_i8(struct ek_case *c, const void *stream)
{
    c->a.sparse_mlp_i8.list = next_list(c, stream <= c->a.sparse_mlp_i8.w);
    c->a.sparse_mlp_i8.w    = stream;
}
static void bind_gemv(struct ek_case *c, const void *stream)
{
    c->a.sparse_gemv.list = next_list(c, stream <= c->a.sparse_gemv.w);
    c->a.sparse_gemv.w    = stream;
}

/* The listed neurons, activations in, a result out. */
static double bytes(enum ek_fmt fmt, const struct ek_shape *s)
{
    return (double)stream(fmt, s) / (double)s->d[DIM_I] * (double)count_of(s) +
           8.0 * (double)(tokens(s) * s->d[DIM_D]);
}
static double bytes_gemv(enum ek_fmt fmt, const struct ek_shape *s)
{
    return (double)stream_gemv(fmt, s) / (double)s->d[DIM_I] * (double)count_of(s) +
           4.0 * (double)(tokens(s) * (s->d[DIM_D] + count_of(s)));
}
static double ops(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 2.0 * (double)rows_of(s) * (double)(s->d[DIM_D] * count_of(s) * tokens(s));
}
static double ops_gemv(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 2.0 * (double)(s->d[DIM_D] * count_of(s) * tokens(s));
}

const struct ek_driver ek_driver_sparse_mlp    = {.dims   = dims,
                                                  .shapes = shapes,
                                                  .items  = items,
                                                  .grain  = 4,
                                                  .setup  = setup_mlp,
                                                  .run    = run_mlp,
                                                  .bytes  = bytes,
                                                  .ops    = ops,
                                                  .stream = stream,
                                                  .bind   = bind_mlp};
const struct ek_driver ek_driver_sparse_mlp_i8 = {.dims   = dims,
                                                  .shapes = shapes,
                                                  .items  = items,
                                                  .grain  = 4,
                                                  .setup  = setup_mlp_i8,
                                                  .run    = run_mlp_i8,
                                                  .bytes  = bytes,
                                                  .ops    = ops,
                                                  .stream = stream,
                                                  .bind   = bind_mlp_i8};
const struct ek_driver ek_driver_sparse_gemv   = {.dims   = dims,
                                                  .shapes = shapes_gemv,
                                                  .items  = items,
                                                  .grain  = 4,
                                                  .setup  = setup_gemv,
                                                  .run    = run_gemv,
                                                  .bytes  = bytes_gemv,
                                                  .ops    = ops_gemv,
                                                  .stream = stream_gemv,
                                                  .bind   = bind_gemv};

/* ---- sparse_merge ---- */

enum { DIM_N, DIM_PARTS, DIM_LANES, DIM_TOKENS };
static const char *const     dims_merge[]   = {"n", "parts", "lanes", "m", NULL};
static const struct ek_shape shapes_merge[] = {
    {{1, 1, 0}},  {{33, 3, 0, 2}},  {{513, 2, 0}},     {{896, 16, 0, 8}}, {{1, 1, 1}},
    {{40, 2, 1}}, {{512, 5, 1, 3}}, {{897, 16, 1, 2}}, {{3072, 4, 1}},    {{0}},
};

static size_t items_merge(const struct ek_shape *s)
{
    return (s->d[DIM_N] + EK_SPARSE_RUN - 1) / EK_SPARSE_RUN;
}
static void setup_merge(struct ek_case *c)
{
    const size_t n = c->s.d[DIM_N], m = c->s.d[DIM_TOKENS] ? c->s.d[DIM_TOKENS] : 1;
    const size_t whole  = c->s.d[DIM_LANES] ? EK_SPARSE_RUN : 32,
                 width  = (n + whole - 1) / whole * whole;
    const size_t stride = m * width + 16;
    c->a.sparse_merge =
        (struct ek_sparse_merge_args){.part = case_floats(c, c->s.d[DIM_PARTS] * stride),
                                      .y    = case_buffer(c, m * n * sizeof(float), ROLE_OUT_EXACT),
                                      .parts       = c->s.d[DIM_PARTS],
                                      .part_stride = stride,
                                      .width       = width,
                                      .m           = m,
                                      .n           = n,
                                      .ldy         = n,
                                      .lanes       = c->s.d[DIM_LANES] != 0};
}
static void run_merge(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.sparse_merge(&c->a.sparse_merge, b, e);
}
static double bytes_merge(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 4.0 * (double)(s->d[DIM_N] * (s->d[DIM_PARTS] + 1)) *
           (double)(s->d[DIM_TOKENS] ? s->d[DIM_TOKENS] : 1);
}
static double ops_merge(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return (double)(s->d[DIM_N] * s->d[DIM_PARTS]);
}
const struct ek_driver ek_driver_sparse_merge = {.dims   = dims_merge,
                                                 .shapes = shapes_merge,
                                                 .items  = items_merge,
                                                 .grain  = 4,
                                                 .setup  = setup_merge,
                                                 .run    = run_merge,
                                                 .bytes  = bytes_merge,
                                                 .ops    = ops_merge};
