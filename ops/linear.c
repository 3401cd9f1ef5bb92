/* SPDX-License-Identifier: Apache-2.0 */
/* ops/linear.c - checks, plans the working memory, prepares activations, splits rows of W. */
#include "ek/linear.h"

#include "ops/product.h"
#include "ops/run.h"
#include "ops/work.h"

#include <stdint.h>
#include <string.h>

enum {
    ROW_GRAIN    = 64,  /* rows of W of one gemv task: a few panels                             */
    GEMM_TOKENS  = 512, /* tokens at once: a K block of them fits the second level of cache     */
    GEMM_GRAIN   = 32,  /* rows of W that gemm handles together                                 */
    GEMM_PER_THR = 4,   /* gemm tasks per thread: evens out threads of unequal speed            */
    FLOAT_GROUP  = 32,  /* group in which I8 rounds the activations of float weights            */
};

/* Where everything lies in the working memory; offsets in bytes. */
struct plan {
    const struct ek_fmt_info *f;
    int                       round, packed_i8, use_gemm, per_token, has_min, copy_x;
    size_t                    k, kp, group, groups, chunk; /* chunk: tokens at once */
    size_t                    xq, xd, xs, xf, sums;        /* row-major activations */
    size_t                    tx, td, ts;                  /* tiled activations     */
    size_t                    scratch, slot_bytes, slots, total;
};

static size_t max(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Tokens of the tiles that m tokens take. */
static size_t whole_tiles(size_t tile, size_t m)
{
    return (m + tile - 1) / tile * tile;
}

static int options_sound(const struct ek_linear_options *o)
{
    return !o || (o->struct_size >= sizeof *o && (unsigned)o->activation <= EK_ACTIVATION_F32);
}

static void plan_buffers(struct plan *p, const struct ek_weights *w, const ek_pool *pool, int *over)
{
    const size_t m = p->chunk, cells = m * p->groups;
    if (p->round) {
        p->xq = ek_reserve(&p->total, m, p->kp, over);
        p->xd = ek_reserve(&p->total, cells, sizeof(float), over);
        p->xs = ek_reserve(&p->total, cells, sizeof(int32_t), over);
    }
    if (!p->packed_i8 && p->copy_x) p->xf = ek_reserve(&p->total, m * p->kp, sizeof(float), over);
    if (!p->packed_i8 && p->has_min && !p->use_gemm)
        p->sums = ek_reserve(&p->total, cells, sizeof(float), over);
    if (!p->use_gemm) return;

    if (p->packed_i8) { /* for any kernel's tiles */
        const size_t tokens = max(whole_tiles(EK_TILE, m), whole_tiles(EK_TILE_AMX, m));
        p->tx               = ek_reserve(&p->total, tokens, p->kp, over);
        p->td               = ek_reserve(&p->total, tokens * p->groups, sizeof(float), over);
        p->ts               = ek_reserve(&p->total, tokens * p->groups, sizeof(int32_t), over);
    } else {
        p->tx = ek_reserve(&p->total, ek_tile_f32_bytes(p->kp, m), 1, over);
    }
    p->slot_bytes = EK_GEMM_SCRATCH + EK_TASK_GAP;
    p->slots      = ek_min((w->n + GEMM_GRAIN - 1) / GEMM_GRAIN,
                      pool && pool->threads > 1 ? pool->threads * GEMM_PER_THR : 1);
    p->scratch    = ek_reserve(&p->total, p->slots, p->slot_bytes, over);
}

static ek_status make_plan(struct plan *p, const struct ek_weights *w, size_t m,
                           const ek_pool *pool, const struct ek_linear_options *o)
{
    const struct ek_fmt_info *f = w ? ek_fmt_info(w->fmt) : NULL;
    size_t                    bytes;
    if (!f || !m || !options_sound(o) || !ek_pool_sound(pool)) return EK_E_ARG;
    if (w->layout != f->layout) return EK_E_FORMAT;
    const ek_status s = ek_weights_bytes(w->fmt, w->n, w->k, &bytes, NULL);
    if (s) return s;
    if (ek_padded_k(w->fmt, w->k) > SIZE_MAX / 64 / GEMM_TOKENS) return EK_E_OVERFLOW;

    const int                is_float = f->kind == EK_FMT_FLOAT;
    const enum ek_activation act      = o ? o->activation : EK_ACTIVATION_AUTO;
    *p                                = (struct plan){.f        = f,
                                                      .k        = w->k,
                                                      .use_gemm = m > EK_GEMV_MAX_M,
                                                      .has_min  = f->kind == EK_FMT_MIN || f->kind == EK_FMT_SUPER,
                                                      .chunk    = ek_min(m, GEMM_TOKENS)};
    p->round     = act == EK_ACTIVATION_I8 || (act == EK_ACTIVATION_AUTO && !is_float);
    p->packed_i8 = p->round && !is_float;
    p->per_token = o && o->per_token;
    p->group     = is_float ? FLOAT_GROUP : f->group;
    p->kp =
        is_float ? (w->k + FLOAT_GROUP - 1) / FLOAT_GROUP * FLOAT_GROUP : ek_padded_k(w->fmt, w->k);
    p->groups = p->kp / p->group;
    p->copy_x = p->round || (!is_float && p->kp != w->k);
    int over  = 0;
    plan_buffers(p, w, pool, &over);
    return over ? EK_E_OVERFLOW : EK_OK;
}

ek_status ek_linear_work_bytes(const struct ek_weights *w, size_t m, const ek_pool *pool,
                               const struct ek_linear_options *opt, size_t *bytes)
{
    struct plan     p;
    const ek_status s = bytes ? make_plan(&p, w, m, pool, opt) : EK_E_ARG;
    if (!s) *bytes = p.total;
    return s;
}

/* One call: up to chunk tokens. */
struct call {
    const struct plan       *p;
    const struct ek_kernels *t;
    const struct ek_weights *w;
    const float             *x;
    size_t                   ldx, m, ldy, tile; /* tile: tokens of one, of the chosen gemm */
    float                   *y;
    unsigned char           *work;
};

static void *at(const struct call *c, size_t offset)
{
    return c->work + offset;
}

static void quantize_rows(const struct call *c, size_t t0, size_t t1)
{
    const struct plan            *p = c->p;
    const struct ek_quantize_args a = {.x         = c->x,
                                       .q         = at(c, p->xq),
                                       .d         = at(c, p->xd),
                                       .s         = at(c, p->xs),
                                       .k         = p->k,
                                       .kp        = p->kp,
                                       .group     = p->group,
                                       .ldx       = c->ldx,
                                       .per_token = p->per_token};
    c->t->quantize[EK_FMT_f32]->fn.quantize(&a, t0, t1);
}

/* Rows of x as the float kernels want them: padded, and rounded to 8 bit where asked. */
static void copy_rows(const struct call *c, size_t t0, size_t t1)
{
    const struct plan *p  = c->p;
    float             *xf = at(c, p->xf);
    for (size_t t = t0; t < t1; t++) {
        if (!p->round) {
            memcpy(xf + t * p->kp, c->x + t * c->ldx, p->k * sizeof *xf);
            memset(xf + t * p->kp + p->k, 0, (p->kp - p->k) * sizeof *xf);
            continue;
        }
        const int8_t *q = (const int8_t *)at(c, p->xq) + t * p->kp;
        const float  *d = (const float *)at(c, p->xd) + t * p->groups;
        for (size_t i = 0; i < p->kp; i++) xf[t * p->kp + i] = d[i / p->group] * (float)q[i];
    }
}

static void sum_rows(const struct call *c, const float *x, size_t ldx)
{
    const struct plan *p    = c->p;
    float             *sums = at(c, p->sums);
    for (size_t t = 0; t < c->m; t++)
        for (size_t g = 0; g < p->groups; g++) {
            float s = 0;
            for (size_t i = 0; i < p->group; i++) s += x[t * ldx + g * p->group + i];
            sums[t * p->groups + g] = s;
        }
}

/* Tokens of tiles [b, e): everything between x and the tiles gemm reads. */
static void prepare_tiles(void *task, size_t b, size_t e)
{
    const struct call *c  = task;
    const struct plan *p  = c->p;
    const size_t       t0 = b * c->tile, t1 = ek_min(e * c->tile, c->m);
    if (p->round) quantize_rows(c, t0, t1);
    if (p->packed_i8) {
        ek_tile_i8(c->tile, at(c, p->xq), at(c, p->xd), at(c, p->xs), p->kp, p->group, p->f->zero,
                   c->m, t0, t1, at(c, p->tx), at(c, p->td), at(c, p->ts));
        return;
    }
    if (p->copy_x) copy_rows(c, t0, t1);
    const float *x   = p->copy_x ? at(c, p->xf) : c->x;
    const size_t ldx = p->copy_x ? p->kp : c->ldx, kp = p->f->group ? p->kp : p->k;
    ek_tile_f32(x, ldx, p->k, kp, c->m, t0, t1, at(c, p->tx));
}

static void run_gemm(void *task, size_t b, size_t e)
{
    const struct call *c     = task;
    const struct plan *p     = c->p;
    const size_t       pairs = (c->w->n + GEMM_GRAIN - 1) / GEMM_GRAIN;
    for (size_t s = b; s < e; s++) {
        const size_t r0      = pairs * s / p->slots * GEMM_GRAIN;
        const size_t r1      = ek_min(pairs * (s + 1) / p->slots * GEMM_GRAIN, c->w->n);
        void        *scratch = at(c, p->scratch + s * p->slot_bytes);
        if (p->packed_i8) {
            const struct ek_gemm_i8_args a = {.w         = c->w->data,
                                              .x         = at(c, p->tx),
                                              .xd        = at(c, p->td),
                                              .xs        = at(c, p->ts),
                                              .y         = c->y,
                                              .n         = c->w->n,
                                              .k         = p->kp,
                                              .m         = c->m,
                                              .ldy       = c->ldy,
                                              .per_token = p->per_token,
                                              .scratch   = scratch};
            c->t->gemm_i8[c->w->fmt]->fn.gemm_i8(&a, r0, r1);
        } else {
            const struct ek_gemm_args a = {.w       = c->w->data,
                                           .x       = at(c, p->tx),
                                           .y       = c->y,
                                           .n       = c->w->n,
                                           .k       = p->f->group ? p->kp : p->k,
                                           .m       = c->m,
                                           .ldy     = c->ldy,
                                           .scratch = scratch};
            c->t->gemm[c->w->fmt]->fn.gemm(&a, r0, r1);
        }
    }
}

static void run_gemv(void *task, size_t b, size_t e)
{
    const struct ek_product *g = task;
    if (g->fn_i8)
        g->fn_i8(&g->i8, b, e);
    else if (g->fn)
        g->fn(&g->a, b, e);
}

/* Activations of m <= 8 tokens rounded, padded and summed as the format's kernel wants them. */
static void make_product(struct call *c, struct ek_product *g)
{
    const struct plan *p = c->p;
    *g                   = (struct ek_product){.group = p->group};
    if (p->round) quantize_rows(c, 0, c->m);
    if (p->packed_i8) {
        g->fn_i8 = c->t->gemv_i8[c->w->fmt]->fn.gemv_i8;
        g->i8    = (struct ek_gemv_i8_args){.w       = c->w->data,
                                            .xq      = at(c, p->xq),
                                            .xd      = at(c, p->xd),
                                            .xs      = at(c, p->xs),
                                            .y       = c->y,
                                            .n       = c->w->n,
                                            .k       = p->kp,
                                            .m       = c->m,
                                            .ldy     = c->ldy,
                                            .streams = c->t->streams};
        return;
    }
    if (p->copy_x) copy_rows(c, 0, c->m);
    const float *x   = p->copy_x ? at(c, p->xf) : c->x;
    const size_t ldx = p->copy_x ? p->kp : c->ldx;
    if (p->has_min) sum_rows(c, x, ldx);
    g->fn = c->t->gemv[c->w->fmt]->fn.gemv;
    g->a  = (struct ek_gemv_args){.w       = c->w->data,
                                  .x       = x,
                                  .xsum    = p->has_min ? at(c, p->sums) : NULL,
                                  .y       = c->y,
                                  .n       = c->w->n,
                                  .k       = p->f->group ? p->kp : p->k,
                                  .m       = c->m,
                                  .ldx     = ldx,
                                  .ldy     = c->ldy,
                                  .streams = c->t->streams};
}

static int has_kernels(const struct ek_kernels *t, const struct plan *p, enum ek_fmt fmt)
{
    const struct ek_kernel *const *slot =
        p->packed_i8 ? (p->use_gemm ? t->gemm_i8 : t->gemv_i8) : (p->use_gemm ? t->gemm : t->gemv);
    return slot[fmt] && (!p->round || t->quantize[EK_FMT_f32]);
}

/* What a product needs besides its plan; EK_OK or the reason why not. */
static ek_status check_inputs(const struct ek_kernels *t, const struct plan *p,
                              const struct ek_weights *w, const float *x, const void *work,
                              size_t work_bytes)
{
    const size_t align = w->layout == EK_LAYOUT_PANEL16 ? 64 : w->fmt == EK_FMT_f32 ? 4 : 2;
    if (!t || t->struct_size != sizeof *t || !w->data || (uintptr_t)w->data % align || !x)
        return EK_E_ARG;
    if (p->total && (!work || (uintptr_t)work % 64)) return EK_E_ARG;
    if (work_bytes < p->total) return EK_E_NOMEM;
    return has_kernels(t, p, w->fmt) ? EK_OK : EK_E_UNSUPPORTED;
}

ek_status ek_product_make(const struct ek_kernels *t, const struct ek_weights *w, const float *x,
                          const struct ek_linear_options *opt, void *work, size_t work_bytes,
                          struct ek_product *out)
{
    struct plan p;
    ek_status   s = make_plan(&p, w, 1, NULL, opt);
    if (!s) s = check_inputs(t, &p, w, x, work, work_bytes);
    if (s) return s;
    struct call c = {.p = &p, .t = t, .w = w, .x = x, .ldx = w->k, .m = 1, .ldy = w->n};
    c.work        = work;
    make_product(&c, out);
    size_t bytes;
    out->n    = w->n;
    out->step = w->layout == EK_LAYOUT_PANEL16 ? EK_PANEL_ROWS : 1;
    return ek_weights_bytes(w->fmt, w->n, w->k, &bytes, &out->step_bytes);
}

void ek_product_rows(const struct ek_product *g, size_t first, size_t count, float *y)
{
    const size_t offset = first / g->step * g->step_bytes;
    if (g->fn_i8) {
        struct ek_gemv_i8_args a = g->i8;
        a.w = (const char *)a.w + offset, a.y = y, a.n = a.ldy = count;
        g->fn_i8(&a, 0, count);
    } else {
        struct ek_gemv_args a = g->a;
        a.w = (const char *)a.w + offset, a.y = y, a.n = a.ldy = count;
        g->fn(&a, 0, count);
    }
}

/* NOLINTNEXTLINE(readability-function-size): sizes and strides one by one, as in BLAS */
ek_status ek_linear(const struct ek_kernels *t, const ek_pool *pool, const struct ek_weights *w,
                    const float *x, size_t ldx, size_t m, float *y, size_t ldy,
                    const struct ek_linear_options *opt, void *work, size_t work_bytes)
{
    struct plan p;
    ek_status   s = make_plan(&p, w, m, pool, opt);
    if (s) return s;
    if (!y || ldx < w->k || ldy < w->n) return EK_E_ARG;
    s = check_inputs(t, &p, w, x, work, work_bytes);
    if (s) return s;

    for (size_t done = 0; done < m; done += p.chunk) {
        struct call c = {.p    = &p,
                         .t    = t,
                         .w    = w,
                         .x    = x + done * ldx,
                         .ldx  = ldx,
                         .m    = ek_min(p.chunk, m - done),
                         .y    = y + done * ldy,
                         .ldy  = ldy,
                         .work = work};
        if (!p.use_gemm) {
            struct ek_product g;
            make_product(&c, &g);
            ek_parallel(pool, w->n, ROW_GRAIN, run_gemv, &g);
        } else {
            c.tile = (p.packed_i8 ? t->gemm_i8 : t->gemm)[w->fmt]->tile;
            ek_parallel(pool, whole_tiles(c.tile, c.m) / c.tile, 1, prepare_tiles, &c);
            ek_parallel(pool, p.slots, 1, run_gemm, &c);
        }
    }
    return EK_OK;
}
