/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/mask.c - drivers of mask and select, exact, and of moments: rows of scores. */
#include "tests/driver.h"

#include <float.h>
#include <math.h>

enum { DIM_ROWS, DIM_COLS, DIM_K };
static const char *const     dims_mask[]    = {"rows", "cols", NULL};
static const char *const     dims_moments[] = {"rows", "cols", NULL};
static const char *const     dims_select[]  = {"rows", "cols", "k", NULL};
static const struct ek_shape shapes_mask[]  = {
     {{1, 1}},   {{2, 3}},   {{3, 16}},  {{2, 17}},   {{2, 63}},   {{3, 64}},   {{2, 65}},
     {{5, 100}}, {{2, 127}}, {{2, 128}}, {{3, 1000}}, {{1, 8192}}, {{1, 5003}}, {{0}}};
static const struct ek_shape shapes_select[] = {{{1, 1, 1}},
                                                {{2, 3, 2}},
                                                {{3, 16, 16}},
                                                {{2, 17, 5}},
                                                {{2, 33, 32}},
                                                {{3, 64, 1}},
                                                {{2, 1000, 40}},
                                                {{2, 1000, 999}},
                                                {{5, 300, 100}},
                                                {{1, 5003, 700}},
                                                {{1, 8192, 1638}},
                                                {{1, 13824, 1382}},
                                                {{0}}};
#define shapes_moments shapes_mask

static size_t words(const struct ek_shape *s)
{
    return (s->d[DIM_COLS] + 63) / 64;
}
static size_t items_mask(const struct ek_shape *s)
{
    return s->d[DIM_ROWS] * words(s);
}
static size_t items_moments(const struct ek_shape *s)
{
    return s->d[DIM_ROWS];
}
#define items_select items_moments

/* Between rows lie columns that belong to none. */
static size_t row_stride(const struct ek_case *c)
{
    return c->s.d[DIM_COLS] + (c->stream ? 0 : c->rng % 3);
}

/* Rows of the case's data, the last without what lies behind it. */
static float *rows_of(struct ek_case *c, size_t ldx)
{
    return case_floats(c, (c->s.d[DIM_ROWS] - 1) * ldx + c->s.d[DIM_COLS]);
}

/* Many equals; zeros of both signs, infinities, NaN of both signs. */
static void make_hard(struct ek_case *c, float *x, size_t n)
{
    static const float odd[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, -NAN, 0x1p-149f, -0x1p-149f};
    enum { ODD = sizeof odd / sizeof *odd };
    for (size_t i = 0; !c->stream && i < n; i++) {
        const uint64_t r = ek_rand(&c->rng) % 40;
        if (c->data == DATA_RANDOM && r < 20) x[i] = floorf(x[i] * 8) / 4;
        if (c->data == DATA_EXTREME && r < 2 * ODD) x[i] = odd[r % ODD];
        if (c->data == DATA_ZERO && r & 1) x[i] = -x[i];
        if (c->data == DATA_TINY && r < 4) x[i] = odd[r % 2 ? 7 : 1];
    }
}

static void setup_mask(struct ek_case *c)
{
    const size_t rows = c->s.d[DIM_ROWS], cols = c->s.d[DIM_COLS], ldx = row_stride(c);
    float       *x = rows_of(c, ldx);
    make_hard(c, x, (rows - 1) * ldx + cols);
    float *t = case_buffer(c, rows * sizeof *t, ROLE_IN);
    for (size_t r = 0; r < rows; r++) /* an element, a number between, or zero */
        switch (ek_rand(&c->rng) % 4) {
        case 0: t[r] = 0.0f; break;
        case 1: t[r] = case_value(c, r); break;
        default: t[r] = x[r * ldx + ek_rand(&c->rng) % cols]; break;
        }
    uint64_t *mask = case_buffer(c, items_mask(&c->s) * sizeof *mask, ROLE_OUT_EXACT);
    c->a.mask      = (struct ek_mask_args){.x = x, .t = t, .mask = mask, .cols = cols, .ldx = ldx};
}

static void setup_moments(struct ek_case *c)
{
    const size_t rows = c->s.d[DIM_ROWS], cols = c->s.d[DIM_COLS], ldx = row_stride(c);
    float       *x = rows_of(c, ldx);
    if (c->data == DATA_EXTREME) /* nearly equal numbers far from 0: squares would cancel */
        for (size_t i = 0; i < (rows - 1) * ldx + cols; i++) x[i] = 1000 + x[i] / 64;
    float *y     = case_buffer(c, 2 * rows * sizeof *y, ROLE_OUT);
    c->a.moments = (struct ek_moments_args){.x = x, .moments = y, .cols = cols, .ldx = ldx};
    double *tol  = case_tolerance(c, 2 * rows);
    for (size_t r = 0; tol && r < rows; r++) {
        const double n = (double)cols, eps = (double)FLT_EPSILON * (n / 32 + 8);
        double       sum = 0, size = 0, squares = 0;
        for (size_t i = 0; i < cols; i++) sum += (double)x[r * ldx + i];
        for (size_t i = 0; i < cols; i++) {
            const double d = (double)x[r * ldx + i] - sum / n;
            size += fabs((double)x[r * ldx + i]), squares += d * d;
        }
        tol[2 * r]     = eps * size / n + (double)FLT_MIN;
        tol[2 * r + 1] = tol[2 * r] + eps * sqrt(squares / n) + 0x1p-62;
    }
}

static void setup_select(struct ek_case *c)
{
    const size_t rows = c->s.d[DIM_ROWS], cols = c->s.d[DIM_COLS], ldx = row_stride(c);
    float       *x = rows_of(c, ldx);
    make_hard(c, x, (rows - 1) * ldx + cols);
    float    *value = case_buffer(c, rows * sizeof *value, ROLE_OUT_EXACT);
    uint32_t *equal = case_buffer(c, rows * sizeof *equal, ROLE_OUT_EXACT);
    void     *work  = case_buffer(c, rows * ek_select_scratch_bytes(cols), ROLE_SCRATCH);
    c->a.select     = (struct ek_select_args){.x       = x,
                                              .value   = value,
                                              .equal   = equal,
                                              .cols    = cols,
                                              .ldx     = ldx,
                                              .k       = c->s.d[DIM_K],
                                              .scratch = work};
}

static void run_mask(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.mask(&c->a.mask, b, e);
}
static void run_moments(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.moments(&c->a.moments, b, e);
}
static void run_select(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    struct ek_select_args a = c->a.select; /* ranges that run at once: the scratch of their row */
    a.scratch               = (char *)a.scratch + b * ek_select_scratch_bytes(a.cols);
    k->fn.select(&a, b, e);
}

static double ops(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return (double)s->d[DIM_ROWS] * (double)s->d[DIM_COLS];
}
static double bytes(enum ek_fmt fmt, const struct ek_shape *s)
{
    return 4 * ops(fmt, s);
}

#define DRIVER(op, grain_)                                                                         \
    const struct ek_driver ek_driver_##op = {.dims   = dims_##op,                                  \
                                             .shapes = shapes_##op,                                \
                                             .items  = items_##op,                                 \
                                             .grain  = (grain_),                                   \
                                             .setup  = setup_##op,                                 \
                                             .run    = run_##op,                                   \
                                             .bytes  = bytes,                                      \
                                             .ops    = ops}
DRIVER(mask, 64);
DRIVER(moments, 1);
DRIVER(select, 1);
