/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/probe.c - drivers of the roofs: read, peak and peak_i8. */
#include "tests/driver.h"

enum { DIM_BLOCKS, DIM_ITEMS = 0, DIM_STEPS };
static const char *const     dims_read[]   = {"blocks", NULL};
static const char *const     dims_peak[]   = {"items", "steps", NULL};
static const struct ek_shape shapes_read[] = {{{1}}, {{2}}, {{3}}, {{4}}, {{7}}, {{33}}, {{0}}};
static const struct ek_shape shapes_peak[] = {{{1, 1}}, {{3, 7}}, {{9, 1000}}, {{0}}};

static size_t items(const struct ek_shape *s)
{
    return s->d[0];
}
static double no_ops(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt, (void)s;
    return 0;
}

static size_t stream_read(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return s->d[DIM_BLOCKS] * EK_READ_BLOCK;
}
static double bytes_read(enum ek_fmt fmt, const struct ek_shape *s)
{
    return (double)stream_read(fmt, s);
}
static void setup_read(struct ek_case *c)
{
    const size_t bytes = stream_read(c->fmt, &c->s);
    uint32_t    *sum   = case_buffer(c, c->s.d[DIM_BLOCKS] * sizeof *sum, ROLE_OUT_EXACT);
    const void  *p     = c->stream;
    if (!p) {
        uint32_t *in = case_buffer(c, bytes, ROLE_IN);
        for (size_t i = 0; i < bytes / sizeof *in; i++) in[i] = (uint32_t)ek_rand(&c->rng);
        p = in;
    }
    c->a.read = (struct ek_read_args){.p = p, .sum = sum};
}
static void run_read(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.read(&c->a.read, b, e);
}
static void bind_read(struct ek_case *c, const void *stream)
{
    c->a.read.p = stream;
}
const struct ek_driver ek_driver_read = {.dims   = dims_read,
                                         .shapes = shapes_read,
                                         .items  = items,
                                         .grain  = 64,
                                         .setup  = setup_read,
                                         .run    = run_read,
                                         .bytes  = bytes_read,
                                         .ops    = no_ops,
                                         .stream = stream_read,
                                         .bind   = bind_read};

static double no_bytes(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt, (void)s;
    return 0;
}
static double lane_ops(const struct ek_shape *s)
{
    return (double)s->d[DIM_ITEMS] * (double)s->d[DIM_STEPS] * EK_PEAK_LANE_OPS;
}
static double ops_f32(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 2 * lane_ops(s);
}
static double ops_i8(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 8 * lane_ops(s);
}
#define PEAK(op)                                                                                   \
    static void setup_##op(struct ek_case *c)                                                      \
    {                                                                                              \
        c->a.op = (struct ek_##op##_args){                                                         \
            .out   = case_buffer(c, c->s.d[DIM_ITEMS] * sizeof(float), ROLE_OUT_EXACT),            \
            .iters = c->s.d[DIM_STEPS]};                                                           \
    }                                                                                              \
    static void run_##op(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)         \
    {                                                                                              \
        k->fn.op(&c->a.op, b, e);                                                                  \
    }
PEAK(peak)
PEAK(peak_i8)
const struct ek_driver ek_driver_peak    = {.dims   = dims_peak,
                                            .shapes = shapes_peak,
                                            .items  = items,
                                            .grain  = 1,
                                            .setup  = setup_peak,
                                            .run    = run_peak,
                                            .bytes  = no_bytes,
                                            .ops    = ops_f32};
const struct ek_driver ek_driver_peak_i8 = {.dims   = dims_peak,
                                            .shapes = shapes_peak,
                                            .items  = items,
                                            .grain  = 1,
                                            .setup  = setup_peak_i8,
                                            .run    = run_peak_i8,
                                            .bytes  = no_bytes,
                                            .ops    = ops_i8};
