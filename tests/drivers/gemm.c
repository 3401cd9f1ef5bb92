/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/gemm.c - drivers of gemm and gemm_i8. */
#include "tests/drivers/linear.h"

#include <stdlib.h>
#include <string.h>

/* Around panels, pairs of panels, K blocks (256, 512), tiles (6, 12); odd; more than one block. */
static const struct ek_shape shapes[] = {
    {{1, 1, 1}},     {{16, 32, 6}},   {{17, 40, 5}},   {{31, 64, 7}},
    {{33, 255, 11}}, {{32, 257, 12}}, {{48, 512, 13}}, {{65, 544, 18}},
    {{70, 770, 25}}, {{40, 1056, 9}}, {{0}},
};
/* Also around AMX's tiles (16), chunks of tokens (256) and passes (4096).
 * The fourth number: 1 for one activation scale per token. */
enum { DIM_PER_TOKEN = 3 };
static const char *const     dims_i8[]   = {"n", "k", "m", "per_token", NULL};
static const struct ek_shape shapes_i8[] = {
    {{1, 1, 1, 0}},
    {{16, 32, 6, 1}},
    {{17, 40, 5, 0}},
    {{31, 64, 7, 1}},
    {{33, 255, 11, 0}},
    {{32, 257, 12, 1}},
    {{48, 512, 13, 0}},
    {{65, 544, 18, 1}},
    {{70, 770, 25, 0}},
    {{40, 1056, 9, 1}},
    {{81, 96, 263, 0}},
    {{20, 4608, 17, 0}},
    {{0}},
};

/* Scratch for every slot, a page apart: one core's prefetcher must not run into another's. */
enum { SLOT_BYTES = EK_GEMM_SCRATCH + 4096 };
static void *scratch_slots(struct ek_case *c)
{
    return case_buffer(c, c->slots ? c->slots * SLOT_BYTES : EK_GEMM_SCRATCH, ROLE_SCRATCH);
}
static void *scratch_of(const struct ek_case *c, const struct ek_driver *d, void *scratch,
                        size_t begin)
{
    const size_t slot = c->slots ? begin / case_grain(c, d) : 0;
    return (char *)scratch + slot * SLOT_BYTES;
}

/* Activations are tiled for every kernel: which tiles it wants, its row says. */
static const size_t tile_of[2] = {EK_TILE, EK_TILE_AMX};

static double *widen(const float *x, size_t n)
{
    double *wide = calloc(n, sizeof *wide);
    if (!wide) exit(2);
    for (size_t i = 0; i < n; i++) wide[i] = (double)x[i];
    return wide;
}

static void setup_gemm(struct ek_case *c)
{
    const size_t n = c->s.d[DIM_N], k = linear_k(c->fmt, &c->s), m = c->s.d[DIM_M];
    double      *mag;
    const void  *w    = linear_weights(c, &mag);
    const float *x    = case_floats(c, m * c->s.d[DIM_K]);
    float       *tile = case_buffer(c, ek_tile_f32_bytes(k, m), ROLE_IN);
    ek_tile_f32(x, c->s.d[DIM_K], c->s.d[DIM_K], k, m, 0, m, tile);
    c->a.gemm = (struct ek_gemm_args){.w       = w,
                                      .x       = tile,
                                      .y       = case_buffer(c, m * n * sizeof(float), ROLE_OUT),
                                      .n       = n,
                                      .k       = k,
                                      .m       = m,
                                      .ldy     = n,
                                      .scratch = scratch_slots(c)};
    if (!mag) return;
    float *padded = calloc(m * k, sizeof *padded);
    if (!padded) exit(2);
    for (size_t t = 0; t < m; t++)
        memcpy(padded + t * k, x + t * c->s.d[DIM_K], c->s.d[DIM_K] * sizeof *x);
    double *wide = widen(padded, m * k);
    linear_bound(c, mag, wide);
    free(padded), free(wide), free(mag);
}

static void setup_gemm_i8(struct ek_case *c)
{
    const struct ek_fmt_info *f = ek_fmt_info(c->fmt);
    const size_t              n = c->s.d[DIM_N], k = linear_k(c->fmt, &c->s), m = c->s.d[DIM_M];
    const size_t              groups = k / f->group;
    double                   *mag;
    const void               *w         = linear_weights(c, &mag);
    const int                 per_token = c->s.d[DIM_PER_TOKEN] != 0;
    const struct linear_x8    x         = linear_activations8(c, ROLE_IN);
    for (size_t i = 0; per_token && i < m * groups; i++) x.d[i] = x.d[i / groups * groups];

    c->a.gemm_i8 = (struct ek_gemm_i8_args){.w   = w,
                                            .y   = case_buffer(c, m * n * sizeof(float), ROLE_OUT),
                                            .n   = n,
                                            .k   = k,
                                            .m   = m,
                                            .ldy = n,
                                            .per_token = per_token,
                                            .scratch   = scratch_slots(c)};
    for (size_t i = 0; i < 2; i++) {
        const size_t tile = tile_of[i], tokens = (m + tile - 1) / tile * tile;
        int8_t      *tx = case_buffer(c, ek_tile_i8_bytes(tile, k, m), ROLE_IN);
        float       *td = case_buffer(c, tokens * groups * sizeof *td, ROLE_IN);
        int32_t     *ts = case_buffer(c, tokens * groups * sizeof *ts, ROLE_IN);
        ek_tile_i8(tile, x.q, x.d, x.s, k, f->group, f->zero, m, 0, m, tx, td, ts);
        c->tiled[i] = (struct ek_tiled){tx, td, ts};
    }
    if (!mag) return;
    double *wide = calloc(m * k, sizeof *wide);
    if (!wide) exit(2);
    for (size_t i = 0; i < m * k; i++) wide[i] = (double)x.d[i / f->group] * (double)x.q[i];
    linear_bound(c, mag, wide);
    free(wide), free(mag);
}

static void run_gemm(const struct ek_kernel *k, struct ek_case *c, size_t begin, size_t end)
{
    struct ek_gemm_args a = c->a.gemm;
    a.scratch             = scratch_of(c, &ek_driver_gemm, a.scratch, begin);
    k->fn.gemm(&a, begin, end);
}
static void run_gemm_i8(const struct ek_kernel *k, struct ek_case *c, size_t begin, size_t end)
{
    const struct ek_tiled *t = &c->tiled[k->tile == tile_of[1]];
    struct ek_gemm_i8_args a = c->a.gemm_i8;
    a.x = t->x, a.xd = t->d, a.xs = t->s;
    a.scratch = scratch_of(c, &ek_driver_gemm_i8, a.scratch, begin);
    k->fn.gemm_i8(&a, begin, end);
}
static void bind_gemm(struct ek_case *c, const void *stream)
{
    c->a.gemm.w = stream;
}
static void bind_gemm_i8(struct ek_case *c, const void *stream)
{
    c->a.gemm_i8.w = stream;
}

const struct ek_driver ek_driver_gemm    = {.dims      = linear_dims,
                                            .shapes    = shapes,
                                            .items     = linear_items,
                                            .grain     = 32,
                                            .has_slots = 1,
                                            .setup     = setup_gemm,
                                            .run       = run_gemm,
                                            .bytes     = linear_bytes,
                                            .ops       = linear_ops,
                                            .stream    = linear_stream,
                                            .bind      = bind_gemm};
const struct ek_driver ek_driver_gemm_i8 = {.dims      = dims_i8,
                                            .shapes    = shapes_i8,
                                            .items     = linear_items,
                                            .grain     = 32,
                                            .has_slots = 1,
                                            .setup     = setup_gemm_i8,
                                            .run       = run_gemm_i8,
                                            .bytes     = linear_bytes,
                                            .ops       = linear_ops,
                                            .stream    = linear_stream,
                                            .bind      = bind_gemm_i8};
