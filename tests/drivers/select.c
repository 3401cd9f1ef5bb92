/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/select.c - drivers of argmax, topk and quantize: exact results. */
#include "tests/driver.h"

#include <math.h>

enum { DIM_ROWS, DIM_COLS, DIM_TOP, DIM_GROUP = 2, DIM_PER_TOKEN = 3 };
static const char *const     dims_argmax[]   = {"rows", "cols", NULL};
static const char *const     dims_topk[]     = {"rows", "cols", "top", NULL};
static const char *const     dims_quantize[] = {"rows", "cols", "group", "per_token", NULL};
static const struct ek_shape shapes_argmax[] = {
    {{1, 1}}, {{2, 3}}, {{3, 8}}, {{3, 16}}, {{4, 17}}, {{2, 33}}, {{3, 1000}}, {{1, 5003}}, {{0}}};
static const struct ek_shape shapes_topk[]     = {{{1, 1, 1}},    {{2, 3, 2}},   {{3, 16, 16}},
                                                  {{2, 17, 5}},   {{2, 33, 32}}, {{2, 1000, 40}},
                                                  {{1, 5003, 7}}, {{0}}};
static const struct ek_shape shapes_quantize[] = {{{1, 1, 32, 0}},    {{2, 31, 32, 0}},
                                                  {{3, 32, 32, 1}},   {{2, 33, 64, 0}},
                                                  {{2, 100, 64, 1}},  {{3, 128, 128, 0}},
                                                  {{2, 300, 128, 1}}, {{2, 1024, 32, 0}},
                                                  {{2, 900, 32, 1}},  {{0}}};

static size_t items(const struct ek_shape *s)
{
    return s->d[DIM_ROWS];
}

/* Values with many equals, and a NaN or infinities now and then. */
static float *scores(struct ek_case *c, int with_nan)
{
    const size_t n = c->s.d[DIM_ROWS] * c->s.d[DIM_COLS];
    float       *x = case_floats(c, n);
    for (size_t i = 0; i < n; i++) {
        const uint64_t r = ek_rand(&c->rng) % 40;
        if (c->data == DATA_RANDOM && r < 20) x[i] = floorf(x[i] * 8);
        if (c->data == DATA_EXTREME) x[i] = r < 30 ? -INFINITY : x[i];
        if (c->data == DATA_EXTREME && r == 30 && with_nan) x[i] = NAN;
    }
    return x;
}

static void setup_argmax(struct ek_case *c)
{
    const size_t rows  = c->s.d[DIM_ROWS];
    const float *x     = scores(c, 1);
    uint32_t    *index = case_buffer(c, rows * sizeof *index, ROLE_OUT_EXACT);
    float       *value = case_buffer(c, rows * sizeof *value, ROLE_OUT_EXACT);
    c->a.argmax        = (struct ek_argmax_args){
               .x = x, .index = index, .value = c->rng & 1 ? value : NULL, .cols = c->s.d[DIM_COLS]};
}

static void setup_topk(struct ek_case *c)
{
    const size_t rows = c->s.d[DIM_ROWS], k = c->s.d[DIM_TOP];
    const float *x     = scores(c, 0);
    uint32_t    *index = case_buffer(c, rows * k * sizeof *index, ROLE_OUT_EXACT);
    float       *value = case_buffer(c, rows * k * sizeof *value, ROLE_OUT_EXACT);
    c->a.topk          = (struct ek_topk_args){
                 .x = x, .index = index, .value = value, .cols = c->s.d[DIM_COLS], .k = k};
}

static void setup_quantize(struct ek_case *c)
{
    const size_t rows = c->s.d[DIM_ROWS], cols = c->s.d[DIM_COLS], group = c->s.d[DIM_GROUP];
    const size_t kp = (cols + group - 1) / group * group + (c->rng & 1 ? group : 0);
    float       *x  = case_floats(c, rows * cols);
    if (c->data == DATA_OUTLIER && c->rng % 4 == 0)
        x[ek_rand(&c->rng) % (rows * cols)] = c->rng & 16 ? NAN : -INFINITY;
    int8_t  *q    = case_buffer(c, rows * kp, ROLE_OUT_EXACT);
    float   *d    = case_buffer(c, rows * kp / group * sizeof *d, ROLE_OUT_EXACT);
    int32_t *s    = case_buffer(c, rows * kp / group * sizeof *s, ROLE_OUT_EXACT);
    c->a.quantize = (struct ek_quantize_args){.x         = x,
                                              .q         = q,
                                              .d         = d,
                                              .s         = s,
                                              .k         = cols,
                                              .kp        = kp,
                                              .group     = group,
                                              .ldx       = cols,
                                              .per_token = c->s.d[DIM_PER_TOKEN] != 0};
}

static void run_argmax(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.argmax(&c->a.argmax, b, e);
}
static void run_topk(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.topk(&c->a.topk, b, e);
}
static void run_quantize(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.quantize(&c->a.quantize, b, e);
}

static double bytes(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 4.0 * (double)s->d[DIM_ROWS] * (double)s->d[DIM_COLS];
}
static double ops(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return (double)s->d[DIM_ROWS] * (double)s->d[DIM_COLS];
}

#define DRIVER(op)                                                                                 \
    const struct ek_driver ek_driver_##op = {.dims   = dims_##op,                                  \
                                             .shapes = shapes_##op,                                \
                                             .items  = items,                                      \
                                             .grain  = 1,                                          \
                                             .setup  = setup_##op,                                 \
                                             .run    = run_##op,                                   \
                                             .bytes  = bytes,                                      \
                                             .ops    = ops}
DRIVER(argmax);
DRIVER(topk);
DRIVER(quantize);
