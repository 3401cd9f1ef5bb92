/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/gemv.c - drivers of gemv and gemv_i8. */
#include "tests/drivers/linear.h"

#include <stdlib.h>

/* Around panels (16), pairs and quads of panels, vectors, lines and groups; odd; one real size. */
static const struct ek_shape shapes[] = {
    {{1, 1, 1}},     {{1, 32, 1}},   {{15, 31, 2}},   {{16, 33, 1}},   {{17, 64, 3}},
    {{31, 96, 4}},   {{33, 160, 1}}, {{63, 256, 5}},  {{65, 300, 6}},  {{70, 257, 8}},
    {{129, 129, 7}}, {{48, 896, 1}}, {{80, 1152, 4}}, {{67, 4096, 1}}, {{0}},
};

static void setup_gemv(struct ek_case *c)
{
    const struct ek_fmt_info *f = ek_fmt_info(c->fmt);
    const size_t              n = c->s.d[DIM_N], k = linear_k(c->fmt, &c->s), m = c->s.d[DIM_M];
    double                   *mag;
    const void               *w    = linear_weights(c, &mag);
    float                    *x    = case_floats(c, m * k);
    float                    *xsum = NULL;
    for (size_t i = 0; i < m * k; i++)
        if (i % k >= c->s.d[DIM_K]) x[i] = 0;
    if (f->kind == EK_FMT_MIN || f->kind == EK_FMT_SUPER) {
        xsum = case_buffer(c, m * k / f->group * sizeof *xsum, ROLE_IN);
        for (size_t g = 0; g < m * k / f->group; g++) {
            xsum[g] = 0;
            for (size_t i = 0; i < f->group; i++) xsum[g] += x[g * f->group + i];
        }
    }
    c->a.gemv = (struct ek_gemv_args){.w       = w,
                                      .x       = x,
                                      .xsum    = xsum,
                                      .y       = case_buffer(c, m * n * sizeof(float), ROLE_OUT),
                                      .n       = n,
                                      .k       = k,
                                      .m       = m,
                                      .ldx     = k,
                                      .ldy     = n,
                                      .streams = c->streams};
    if (!mag) return;
    double *wide = calloc(m * k, sizeof *wide);
    if (!wide) exit(2);
    for (size_t i = 0; i < m * k; i++) wide[i] = (double)x[i];
    linear_bound(c, mag, wide);
    free(wide), free(mag);
}

static void setup_gemv_i8(struct ek_case *c)
{
    const size_t           n = c->s.d[DIM_N], k = linear_k(c->fmt, &c->s), m = c->s.d[DIM_M];
    double                *mag;
    const void            *w = linear_weights(c, &mag);
    const struct linear_x8 x = linear_activations8(c, ROLE_IN);

    c->a.gemv_i8 = (struct ek_gemv_i8_args){.w   = w,
                                            .xq  = x.q,
                                            .xd  = x.d,
                                            .xs  = x.s,
                                            .y   = case_buffer(c, m * n * sizeof(float), ROLE_OUT),
                                            .n   = n,
                                            .k   = k,
                                            .m   = m,
                                            .ldy = n,
                                            .streams = c->streams};
    if (!mag) return;
    double *wide = calloc(m * k, sizeof *wide);
    if (!wide) exit(2);
    for (size_t i = 0; i < m * k; i++)
        wide[i] = (double)x.d[i / linear_group(c->fmt)] * (double)x.q[i];
    linear_bound(c, mag, wide);
    free(wide), free(mag);
}

static void run_gemv(const struct ek_kernel *k, struct ek_case *c, size_t begin, size_t end)
{
    k->fn.gemv(&c->a.gemv, begin, end);
}
static void run_gemv_i8(const struct ek_kernel *k, struct ek_case *c, size_t begin, size_t end)
{
    k->fn.gemv_i8(&c->a.gemv_i8, begin, end);
}
static void bind_gemv(struct ek_case *c, const void *stream)
{
    c->a.gemv.w = stream;
}
static void bind_gemv_i8(struct ek_case *c, const void *stream)
{
    c->a.gemv_i8.w = stream;
}

const struct ek_driver ek_driver_gemv    = {.dims   = linear_dims,
                                            .shapes = shapes,
                                            .items  = linear_items,
                                            .grain  = 64,
                                            .setup  = setup_gemv,
                                            .run    = run_gemv,
                                            .bytes  = linear_bytes,
                                            .ops    = linear_ops,
                                            .stream = linear_stream,
                                            .bind   = bind_gemv};
const struct ek_driver ek_driver_gemv_i8 = {.dims   = linear_dims,
                                            .shapes = shapes,
                                            .items  = linear_items,
                                            .grain  = 64,
                                            .setup  = setup_gemv_i8,
                                            .run    = run_gemv_i8,
                                            .bytes  = linear_bytes,
                                            .ops    = linear_ops,
                                            .stream = linear_stream,
                                            .bind   = bind_gemv_i8};
