/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/norm.c - drivers of rmsnorm, layernorm and softmax: rows of f32, maybe in place. */
#include "tests/driver.h"

#include <float.h>
#include <math.h>

enum { DIM_ROWS, DIM_COLS };
static const char *const     dims[]   = {"rows", "cols", NULL};
static const struct ek_shape shapes[] = {{{1, 1}},   {{2, 3}},    {{3, 7}},    {{4, 16}},
                                         {{3, 17}},  {{2, 31}},   {{2, 64}},   {{5, 65}},
                                         {{2, 127}}, {{3, 1000}}, {{2, 4096}}, {{0}}};

static const double EPS = (double)FLT_EPSILON;

static size_t items(const struct ek_shape *s)
{
    return s->d[DIM_ROWS];
}
static size_t elements(const struct ek_shape *s)
{
    return s->d[DIM_ROWS] * s->d[DIM_COLS];
}
/* Odd seeds run in place: the output starts as the input, and the kernel is given only it. */
static float *make_output(struct ek_case *c, const float *x, const float **in)
{
    const size_t n = elements(&c->s);
    float       *y = case_buffer(c, n * sizeof *y, ROLE_OUT);
    *in            = x;
    if (c->rng & 1) {
        c->buf[c->bufs - 1].start = x;
        *in                       = y;
    }
    return y;
}

static double mean_of(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i];
    return sum / (double)n;
}

static void setup_rmsnorm(struct ek_case *c)
{
    const size_t cols = c->s.d[DIM_COLS], n = elements(&c->s);
    const float *x = case_floats(c, n), *in;
    const float *g = c->rng % 3 ? case_floats(c, cols) : NULL;
    float       *y = make_output(c, x, &in);

    c->a.rmsnorm = (struct ek_rmsnorm_args){.x = in, .g = g, .y = y, .cols = cols, .eps = 1e-6f};
    double *tol  = case_tolerance(c, n);
    for (size_t i = 0; tol && i < n; i++) {
        const float *row = x + i / cols * cols;
        double       ss  = 0;
        for (size_t j = 0; j < cols; j++) ss += (double)row[j] * (double)row[j];
        const double k = 1 / sqrt(ss / (double)cols + 1e-6);
        tol[i] =
            EPS * ((double)cols / 8 + 8) * fabs((double)x[i] * k * (g ? (double)g[i % cols] : 1)) +
            (double)FLT_MIN;
    }
}

static void setup_layernorm(struct ek_case *c)
{
    const size_t cols = c->s.d[DIM_COLS], n = elements(&c->s);
    const float *x = case_floats(c, n), *in;
    const float *g = c->rng % 3 ? case_floats(c, cols) : NULL;
    const float *b = c->rng % 5 ? case_floats(c, cols) : NULL;
    float       *y = make_output(c, x, &in);

    c->a.layernorm =
        (struct ek_layernorm_args){.x = in, .g = g, .b = b, .y = y, .cols = cols, .eps = 1e-5f};
    double *tol = case_tolerance(c, n);
    for (size_t i = 0; tol && i < n; i++) {
        const float *row  = x + i / cols * cols;
        const double mean = mean_of(row, cols);
        double       var = 0, top = 0;
        for (size_t j = 0; j < cols; j++) {
            var += ((double)row[j] - mean) * ((double)row[j] - mean);
            if (fabs((double)row[j]) > top) top = fabs((double)row[j]);
        }
        /* The mean carries an error of about eps cols max|x|; var hardly feels it. */
        const double k = 1 / sqrt(var / (double)cols + 1e-5), gain = g ? (double)g[i % cols] : 1;
        tol[i] = EPS * ((double)cols / 8 + 8) *
                     (top * k * fabs(gain) * (1 + top * k) + (b ? fabs((double)b[i % cols]) : 0)) +
                 (double)FLT_MIN;
    }
}

static void setup_softmax(struct ek_case *c)
{
    const size_t cols = c->s.d[DIM_COLS], n = elements(&c->s);
    float       *x = case_floats(c, n);
    const float *in;
    for (size_t i = 0; c->data == DATA_EXTREME && i < n; i++) /* masked columns */
        if (i % cols && x[i] < 0) x[i] = -INFINITY;
    float *y     = make_output(c, x, &in);
    c->a.softmax = (struct ek_softmax_args){.x = in, .y = y, .cols = cols, .scale = 8.0f};
    double *tol  = case_tolerance(c, n);
    double  max = 0, sum = 0;
    for (size_t i = 0; tol && i < n; i++) { /* relative to the result: e^d with d off by eps |d| */
        if (i % cols == 0) {
            max = -(double)INFINITY, sum = 0;
            for (size_t j = i; j < i + cols; j++) max = (double)x[j] > max ? (double)x[j] : max;
            for (size_t j = i; j < i + cols; j++) sum += exp(8 * ((double)x[j] - max));
        }
        const double d = 8 * (max - (double)x[i]);
        tol[i] =
            EPS * (8 + (double)cols / 8 + (isinf(d) ? 0 : d)) * exp(-d) / sum + (double)FLT_MIN;
    }
}

static void run_rmsnorm(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.rmsnorm(&c->a.rmsnorm, b, e);
}
static void run_layernorm(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.layernorm(&c->a.layernorm, b, e);
}
static void run_softmax(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.softmax(&c->a.softmax, b, e);
}

static double bytes(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 8.0 * (double)elements(s);
}
static double ops(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 4.0 * (double)elements(s);
}

#define DRIVER(op)                                                                                 \
    const struct ek_driver ek_driver_##op = {.dims   = dims,                                       \
                                             .shapes = shapes,                                     \
                                             .items  = items,                                      \
                                             .grain  = 1,                                          \
                                             .setup  = setup_##op,                                 \
                                             .run    = run_##op,                                   \
                                             .bytes  = bytes,                                      \
                                             .ops    = ops}
DRIVER(rmsnorm);
DRIVER(layernorm);
DRIVER(softmax);
