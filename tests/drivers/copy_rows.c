/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/copy_rows.c - driver of copy_rows: exact, and slots that no row goes to stay. */
#include "tests/driver.h"

/* Rows of the source, bytes of a row; half of the rows go to as many slots and one more. */
enum { DIM_ROWS, DIM_BYTES };
static const char *const     dims[]   = {"rows", "bytes", NULL};
static const struct ek_shape shapes[] = {{{1, 1}},    {{3, 63}},     {{16, 64}},  {{17, 65}},
                                         {{30, 192}}, {{40, 1000}},  {{5, 1088}}, {{33, 5184}},
                                         {{64, 128}}, {{50, 18432}}, {{0}}};

static size_t items(const struct ek_shape *s)
{
    return (s->d[DIM_ROWS] + 1) / 2;
}
static size_t line_up(size_t n)
{
    return (n + 63) / 64 * 64;
}

/* Row i goes from every other row of the source, rising when timed. */
static uint32_t *places(struct ek_case *c, size_t room)
{
    const size_t n  = items(&c->s);
    uint32_t    *at = case_buffer(c, n * sizeof *at, ROLE_IN);
    for (size_t i = 0; i < n; i++) at[i] = (uint32_t)(i * room / n);
    for (size_t i = n; !c->stream && i-- > 1;) {
        const size_t   j = ek_rand(&c->rng) % (i + 1);
        const uint32_t t = at[i];
        at[i] = at[j], at[j] = t;
    }
    return at;
}

static void setup(struct ek_case *c)
{
    const size_t bytes = c->s.d[DIM_BYTES], rows = c->s.d[DIM_ROWS], slots = items(&c->s) + 1;
    const size_t gap = c->stream ? 0 : c->rng % 3;
    uint8_t     *src = NULL;
    if (!c->stream) {
        src = case_buffer(c, (rows - 1) * (bytes + gap) + bytes, ROLE_IN);
        for (size_t i = 0; i < (rows - 1) * (bytes + gap) + bytes; i++)
            src[i] = (uint8_t)ek_rand(&c->rng);
    }
    c->a.copy_rows = (struct ek_copy_rows_args){
        .src         = c->stream ? c->stream : src,
        .dst         = case_buffer(c, slots * line_up(bytes), ROLE_OUT_EXACT),
        .from        = places(c, rows),
        .to          = places(c, slots),
        .from_stride = bytes + gap,
        .to_stride   = line_up(bytes),
        .bytes       = bytes,
    };
}
static void bind(struct ek_case *c, const void *stream)
{
    c->a.copy_rows.src = stream;
}
static void run(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.copy_rows(&c->a.copy_rows, b, e);
}

static size_t stream(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return s->d[DIM_ROWS] * s->d[DIM_BYTES];
}
static double bytes(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 2 * (double)items(s) * (double)s->d[DIM_BYTES];
}
static double ops(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt, (void)s;
    return 0;
}

const struct ek_driver ek_driver_copy_rows = {.dims   = dims,
                                              .shapes = shapes,
                                              .items  = items,
                                              .grain  = 64,
                                              .setup  = setup,
                                              .run    = run,
                                              .bytes  = bytes,
                                              .ops    = ops,
                                              .stream = stream,
                                              .bind   = bind};
