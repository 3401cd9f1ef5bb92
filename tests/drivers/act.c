/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/act.c - drivers of act and add: elementwise, maybe in place. The bounds that
 * docs/numerics.md states for exp, sigmoid, tanh, SiLU and GELU are the ones checked here. */
#include "tests/driver.h"

#include <float.h>
#include <math.h>

enum { DIM_LEN, DIM_KIND };
static const char *const     dims[]       = {"n", "kind", NULL};
static const char *const     dims_add[]   = {"n", NULL};
static const struct ek_shape shapes_add[] = {{{1}},  {{3}},  {{4}},  {{7}},   {{8}},    {{15}},
                                             {{16}}, {{17}}, {{63}}, {{100}}, {{4099}}, {{0}}};
#define KINDS(n)                                                                                   \
    {{n, EK_ACT_RELU}}, {{n, EK_ACT_SILU}}, {{n, EK_ACT_GELU_TANH}}, {{n, EK_ACT_GELU_ERF}},       \
        {{n, EK_ACT_SIGMOID}}, {{n, EK_ACT_TANH}},                                                 \
    {                                                                                              \
        {                                                                                          \
            n, EK_ACT_EXP                                                                          \
        }                                                                                          \
    }
static const struct ek_shape shapes[] = {KINDS(1),  KINDS(7),   KINDS(16),   KINDS(17),
                                         KINDS(33), KINDS(100), KINDS(9001), {{0}}};

static const double EPS = (double)FLT_EPSILON;

static size_t items(const struct ek_shape *s)
{
    return s->d[DIM_LEN];
}

/* GELU-tanh is x times the sigmoid of this; its rounding is felt by the exponential. */
static double gelu_tanh_argument(double x)
{
    return 2 * 0.79788456080286535588 * (x + 0.044715 * x * x * x);
}

/* |f(x) approximated - f(x)| may be this much, f the exact value. */
static double bound_of(enum ek_act_kind kind, double x, double f)
{
    const double ulp = EPS * fabs(f); /* at least one ulp, at most two */
    switch (kind) {
    case EK_ACT_RELU: return 0;
    case EK_ACT_EXP: return ulp;
    case EK_ACT_SIGMOID: return 2 * ulp;
    case EK_ACT_TANH: return 2 * ulp;
    case EK_ACT_SILU: return 3 * ulp;
    case EK_ACT_GELU_ERF: return 6 * ulp;
    case EK_ACT_GELU_TANH: return (6 + 2 * fabs(gelu_tanh_argument(x))) * ulp;
    case EK_ACT_KINDS: break;
    }
    return 0;
}

static double exact(enum ek_act_kind kind, double x)
{
    switch (kind) {
    case EK_ACT_RELU: return x > 0 ? x : 0;
    case EK_ACT_SILU: return x / (1 + exp(-x));
    case EK_ACT_GELU_TANH: return x / (1 + exp(-gelu_tanh_argument(x)));
    case EK_ACT_GELU_ERF: return 0.5 * x * erfc(-x / sqrt(2));
    case EK_ACT_SIGMOID: return 1 / (1 + exp(-x));
    case EK_ACT_TANH: return tanh(x);
    case EK_ACT_EXP: return exp(x);
    case EK_ACT_KINDS: break;
    }
    return 0;
}

/* Arguments cover the whole interesting range, not only [-1, 1]. */
static float argument(struct ek_case *c, size_t i)
{
    static const float special[] = {0.0f,   -0.0f,  88.7f,  -87.5f,  89.5f,    -104.5f,
                                    1e-30f, -1e-8f, 1e-4f,  3e38f,   -3e38f,   0.34657f,
                                    20.0f,  -20.0f, 14.49f, -14.51f, INFINITY, -INFINITY};
    if (c->data == DATA_EXTREME)
        return special[ek_rand(&c->rng) % (sizeof special / sizeof(float))];
    return case_value(c, i) * (float)(1 << (i % 8));
}

static void setup_act(struct ek_case *c)
{
    const size_t           n        = c->s.d[DIM_LEN];
    const enum ek_act_kind kind     = (enum ek_act_kind)c->s.d[DIM_KIND];
    const int              in_place = (int)(c->rng & 1), gated = (c->rng >> 1 & 1) && !c->stream;
    float                 *x = case_buffer(c, n * sizeof *x, ROLE_IN);
    for (size_t i = 0; i < n; i++) x[i] = argument(c, i);
    const float *u = gated ? case_floats(c, n) : NULL;
    float       *y = case_buffer(c, n * sizeof *y, ROLE_OUT);
    if (in_place) c->buf[c->bufs - 1].start = x;
    c->a.act = (struct ek_act_args){.x = in_place ? y : x, .u = u, .y = y, .kind = kind};

    double *tol = case_tolerance(c, n);
    for (size_t i = 0; tol && i < n; i++) {
        const double f = exact(kind, (double)x[i]), gate = u ? (double)u[i] : 1;
        const double b = fabs(gate) * bound_of(kind, (double)x[i], f);
        /* the last term: results, or factors of x, that are flushed to zero */
        tol[i] = b + (u ? EPS * fabs(f * gate) : 0) + (1 + fabs((double)x[i])) * (double)FLT_MIN;
        if (!isfinite(tol[i])) tol[i] = 0;
    }
}

static void setup_add(struct ek_case *c)
{
    const size_t n = c->s.d[DIM_LEN];
    const float *a = case_floats(c, n), *b = case_floats(c, n);
    float       *y = case_buffer(c, n * sizeof *y, ROLE_OUT);
    if (c->rng & 1) c->buf[c->bufs - 1].start = a;
    c->a.add = (struct ek_add_args){.a = c->rng & 1 ? y : a, .b = b, .y = y};
    case_tolerance(c, n); /* exact */
}

static void run_act(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.act(&c->a.act, b, e);
}
static void run_add(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.add(&c->a.add, b, e);
}

static double bytes_act(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 8.0 * (double)s->d[DIM_LEN];
}
static double bytes_add(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 12.0 * (double)s->d[DIM_LEN];
}
static double ops(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return (double)s->d[DIM_LEN];
}

const struct ek_driver ek_driver_act = {.dims   = dims,
                                        .shapes = shapes,
                                        .items  = items,
                                        .grain  = 4096,
                                        .setup  = setup_act,
                                        .run    = run_act,
                                        .bytes  = bytes_act,
                                        .ops    = ops};
const struct ek_driver ek_driver_add = {.dims   = dims_add,
                                        .shapes = shapes_add,
                                        .items  = items,
                                        .grain  = 4096,
                                        .setup  = setup_add,
                                        .run    = run_add,
                                        .bytes  = bytes_add,
                                        .ops    = ops};
