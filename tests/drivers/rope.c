/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/rope.c - driver of rope: both pairings, partial rotation, in place or not. */
#include "tests/driver.h"

#include <float.h>
#include <math.h>

enum { DIM_TOKENS, DIM_HEADS, DIM_HEAD, DIM_ROT, DIM_INTERLEAVED };
static const char *const     dims[]   = {"tokens", "heads", "dim", "rot", "interleaved", NULL};
static const struct ek_shape shapes[] = {
    {{1, 1, 2, 2, 0}},     {{1, 1, 2, 2, 1}},     {{2, 3, 10, 6, 0}},
    {{2, 3, 10, 6, 1}},    {{3, 2, 32, 32, 0}},   {{3, 2, 32, 32, 1}},
    {{2, 2, 67, 66, 0}},   {{2, 2, 67, 66, 1}},   {{4, 3, 128, 64, 0}},
    {{4, 3, 128, 64, 1}},  {{2, 4, 80, 80, 0}},   {{2, 4, 80, 80, 1}},
    {{1, 8, 128, 128, 0}}, {{1, 8, 128, 128, 1}}, {{0}}};

static size_t items(const struct ek_shape *s)
{
    return s->d[DIM_TOKENS] * s->d[DIM_HEADS];
}

static void setup(struct ek_case *c)
{
    enum { POSITIONS = 5 };
    const size_t tokens = c->s.d[DIM_TOKENS], heads = c->s.d[DIM_HEADS], dim = c->s.d[DIM_HEAD];
    const size_t rot = c->s.d[DIM_ROT], half = rot / 2, n = tokens * heads * dim;
    const int    in_place = (int)(c->rng & 1), pairs = c->s.d[DIM_INTERLEAVED] != 0;
    const float *x   = case_floats(c, n);
    float       *cs  = case_buffer(c, POSITIONS * half * sizeof *cs, ROLE_IN);
    float       *sn  = case_buffer(c, POSITIONS * half * sizeof *sn, ROLE_IN);
    int32_t     *pos = case_buffer(c, tokens * sizeof *pos, ROLE_IN);
    float       *y   = case_buffer(c, n * sizeof *y, ROLE_OUT);
    if (in_place) c->buf[c->bufs - 1].start = x;
    const struct ek_rope_config config = {.struct_size = sizeof config, .theta = 10000};
    if (ek_rope_table(&config, rot, 7, POSITIONS, cs, sn)) return;
    for (size_t t = 0; t < tokens; t++) pos[t] = (int32_t)(ek_rand(&c->rng) % POSITIONS);

    c->a.rope   = (struct ek_rope_args){.x           = in_place ? y : x,
                                        .y           = y,
                                        .cos         = cs,
                                        .sin         = sn,
                                        .pos         = pos,
                                        .heads       = heads,
                                        .dim         = dim,
                                        .rot         = rot,
                                        .interleaved = pairs};
    double *tol = case_tolerance(c, n);
    for (size_t i = 0; tol && i < n; i++) {
        const size_t d = i % dim, row = i - d;
        const size_t mate = pairs ? d ^ 1 : d < half ? d + half : d - half;
        tol[i]            = d >= rot
                                ? 0
                                : (double)FLT_EPSILON * (fabs((double)x[i]) + fabs((double)x[row + mate])) +
                           (double)FLT_MIN;
    }
}

static void run(const struct ek_kernel *k, struct ek_case *c, size_t b, size_t e)
{
    k->fn.rope(&c->a.rope, b, e);
}
static double bytes(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 8.0 * (double)items(s) * (double)s->d[DIM_HEAD];
}
static double ops(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 3.0 * (double)items(s) * (double)s->d[DIM_ROT];
}

const struct ek_driver ek_driver_rope = {.dims   = dims,
                                         .shapes = shapes,
                                         .items  = items,
                                         .grain  = 8,
                                         .setup  = setup,
                                         .run    = run,
                                         .bytes  = bytes,
                                         .ops    = ops};
