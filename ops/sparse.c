/* SPDX-License-Identifier: Apache-2.0 */
/* ops/sparse.c - sparse_mlp and sparse_gemv: activations in lane order, the list in stretches that
 * do not depend on the threads, the sum of what they gave. */
#include "ek/sparse.h"

#include "kernels/neuron.h"
#include "ops/run.h"
#include "ops/work.h"

#include <stdint.h>
#include <string.h>

/* A stretch of the list is at least this many bytes of neurons: its part, which is written and read
 * again, is then a few per cent of them. A power of two, so that usual numbers of threads get equal
 * shares. */
enum { STRETCH_BYTES = 512 << 10, STRETCHES = 16 };

struct plan {
    size_t width, groups, m, count, items, part_stride;
    int    packed, round;
    size_t xq, xd, xs, xl, part, total; /* offsets; xl: x in lane order */
};

static size_t divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

static ek_status plan_stretches(struct plan *p, const struct ek_neurons *w)
{
    size_t          bytes, one;
    const ek_status s = ek_neurons_bytes(w->fmt, w->n, w->d, w->rows, &bytes, &one);
    if (s) return s;
    const size_t most = ek_min(p->count / EK_SPARSE_SIDE, p->count / (STRETCH_BYTES / one + 1));
    for (p->items = p->count > 0; p->items && p->items < STRETCHES && 2 * p->items <= most;)
        p->items *= 2;
    return EK_OK;
}

static ek_status make_plan(struct plan *p, const struct ek_neurons *w, size_t count, size_t m,
                           const struct ek_sparse_options *o)
{
    *p = (struct plan){.m = m, .count = count};
    if (!w || m < 1 || m > EK_GEMV_MAX_M || count > w->n) return EK_E_ARG;
    if (o && (o->struct_size < sizeof *o || (unsigned)o->activation > EK_ACTIVATION_F32 ||
              (unsigned)o->act >= EK_ACT_KINDS || (o->gate && w->rows != 2)))
        return EK_E_ARG;
    const ek_status s = plan_stretches(p, w);
    if (s) return s;
    p->width  = ek_neuron_width(w->fmt, w->d);
    p->packed = ek_fmt_info(w->fmt)->kind != EK_FMT_FLOAT;
    p->round  = p->packed && w->rows > 1 && !(o && o->activation == EK_ACTIVATION_F32);
    if (!p->packed && o && o->activation == EK_ACTIVATION_I8) return EK_E_ARG;
    p->groups      = p->width / EK_LANE_COLUMNS;
    p->part_stride = m * p->width + EK_TASK_GAP / sizeof(float);

    int over = 0;
    if (p->round) {
        p->xq = ek_reserve(&p->total, m * p->width, sizeof(int8_t), &over);
        p->xd = ek_reserve(&p->total, m * p->groups, sizeof(float), &over);
        p->xs = ek_reserve(&p->total, m * p->groups, sizeof(int32_t), &over);
    }
    p->xl   = ek_reserve(&p->total, m * (w->rows == 1 ? count : p->width),
                       p->round ? sizeof(int8_t) : sizeof(float), &over);
    p->part = ek_reserve(&p->total, p->items * p->part_stride, sizeof(float), &over);
    return over ? EK_E_OVERFLOW : EK_OK;
}

ek_status ek_sparse_work_bytes(const struct ek_neurons *w, size_t count, size_t m,
                               const struct ek_sparse_options *opt, size_t *bytes)
{
    struct plan     p;
    const ek_status s = bytes ? make_plan(&p, w, count, m, opt) : EK_E_ARG;
    if (!s) *bytes = p.total;
    return s;
}

/* ---- activations ---- */

static void *at(void *work, size_t offset)
{
    return (unsigned char *)work + offset;
}

/* Four columns of a group go together, so that they are one word. */
static void bytes_to_lanes(const int8_t *x, size_t width, int8_t *lanes)
{
    for (size_t c = 0; c < width; c += 4) memcpy(lanes + ek_lane_byte(c), x + c, 4);
}

static void prepare_rounded(const struct plan *p, const struct ek_kernels *t, const float *x,
                            size_t ldx, size_t d, void *work)
{
    const struct ek_quantize_args a = {.x     = x,
                                       .q     = at(work, p->xq),
                                       .d     = at(work, p->xd),
                                       .s     = at(work, p->xs),
                                       .k     = d,
                                       .kp    = p->width,
                                       .group = EK_LANE_COLUMNS,
                                       .ldx   = ldx};
    t->quantize[EK_FMT_f32]->fn.quantize(&a, 0, p->m);
    for (size_t i = 0; i < p->m; i++)
        bytes_to_lanes(a.q + i * p->width, p->width, (int8_t *)at(work, p->xl) + i * p->width);
}

static void prepare_floats(const struct plan *p, const float *x, size_t ldx, size_t d, void *work)
{
    float *to = at(work, p->xl);
    memset(to, 0, p->m * p->width * sizeof *to);
    for (size_t i = 0; i < p->m; i++, to += p->width) {
        if (!p->packed) memcpy(to, x + i * ldx, d * sizeof *to);
        for (size_t c = 0; p->packed && c < d; c++) to[ek_lane_place(c)] = x[i * ldx + c];
    }
}

/* ---- stretches ---- */

struct task {
    const struct ek_kernel      *k, *merge;
    struct ek_sparse_mlp_args    mlp;
    struct ek_sparse_mlp_i8_args i8;
    struct ek_sparse_gemv_args   gemv;
    struct ek_sparse_merge_args  sum;
};

static void run_stretches(void *task, size_t b, size_t e)
{
    const struct task *s = task;
    switch (s->k->op) {
    case EK_OP_sparse_mlp: s->k->fn.sparse_mlp(&s->mlp, b, e); break;
    case EK_OP_sparse_mlp_i8: s->k->fn.sparse_mlp_i8(&s->i8, b, e); break;
    default: s->k->fn.sparse_gemv(&s->gemv, b, e); break;
    }
}
static void run_merge(void *task, size_t b, size_t e)
{
    const struct task *s = task;
    s->merge->fn.sparse_merge(&s->sum, b, e);
}

/* One task a thread, so that a thread fetches ahead over the ends of its stretches. */
static void run_all(const struct plan *p, const ek_pool *pool, struct task *s)
{
    const size_t threads = pool ? pool->threads : 1, runs = divide_up(s->sum.n, EK_SPARSE_RUN);
    ek_parallel(pool, p->items, divide_up(p->items, threads), run_stretches, s);
    ek_parallel(pool, runs, divide_up(runs, threads), run_merge, s);
}

static ek_status check(const struct plan *p, const struct ek_neurons *w, const uint32_t *list,
                       const float *x, const float *y, const void *work, size_t work_bytes)
{
    if (!x || !y || !w->data || (uintptr_t)w->data % 64 || (p->count && !list)) return EK_E_ARG;
    if (p->total && (!work || (uintptr_t)work % 64)) return EK_E_ARG;
    for (size_t i = 0; i < p->count; i++)
        if (list[i] >= w->n) return EK_E_ARG;
    return work_bytes < p->total ? EK_E_NOMEM : EK_OK;
}

static struct ek_sparse_merge_args merge_args(const struct plan *p, const struct ek_neurons *w,
                                              float *y, size_t ldy, void *work)
{
    return (struct ek_sparse_merge_args){.part        = at(work, p->part),
                                         .y           = y,
                                         .parts       = p->items,
                                         .part_stride = p->part_stride,
                                         .width       = p->width,
                                         .m           = p->m,
                                         .n           = w->d,
                                         .ldy         = ldy,
                                         .lanes       = p->packed};
}

static void clear_rows(const struct plan *p, size_t d, float *y, size_t ldy)
{
    for (size_t t = 0; t < p->m; t++) memset(y + t * ldy, 0, d * sizeof *y);
}

/* NOLINTNEXTLINE(readability-function-size): sizes and strides one by one, as in BLAS */
ek_status ek_sparse_mlp(const struct ek_kernels *t, const ek_pool *pool, const struct ek_neurons *w,
                        const uint32_t *list, size_t count, const float *x, size_t ldx, size_t m,
                        float *y, size_t ldy, const struct ek_sparse_options *opt, void *work,
                        size_t work_bytes)
{
    struct plan p;
    ek_status   s = make_plan(&p, w, count, m, opt);
    if (!s)
        s = w->rows > 1 && ldx >= w->d && ldy >= w->d && ek_table_sound(t, pool)
                ? check(&p, w, list, x, y, work, work_bytes)
                : EK_E_ARG;
    if (s) return s;
    struct task task = {.k     = (p.round ? t->sparse_mlp_i8 : t->sparse_mlp)[w->fmt],
                        .merge = t->sparse_merge[EK_FMT_f32],
                        .sum   = merge_args(&p, w, y, ldy, work)};
    if (!task.k || !task.merge || (p.round && !t->quantize[EK_FMT_f32])) return EK_E_UNSUPPORTED;
    if (!count) {
        clear_rows(&p, w->d, y, ldy);
        return EK_OK;
    }
    const enum ek_act_kind act  = opt ? opt->act : EK_ACT_RELU;
    const float           *gate = opt ? opt->gate : NULL;
#define SHARED                                                                                     \
    .w = w->data, .list = list, .gate = gate, .part = at(work, p.part), .count = count,            \
    .items = p.items, .rows = w->rows, .width = p.width, .m = m, .part_stride = p.part_stride,     \
    .act = act
    if (p.round) {
        prepare_rounded(&p, t, x, ldx, w->d, work);
        task.i8 = (struct ek_sparse_mlp_i8_args){
            .xq = at(work, p.xl), .xd = at(work, p.xd), .xs = at(work, p.xs), SHARED};
    } else {
        prepare_floats(&p, x, ldx, w->d, work);
        task.mlp = (struct ek_sparse_mlp_args){.x = at(work, p.xl), SHARED};
    }
#undef SHARED
    run_all(&p, pool, &task);
    return EK_OK;
}

/* NOLINTNEXTLINE(readability-function-size): as above */
ek_status ek_sparse_gemv(const struct ek_kernels *t, const ek_pool *pool,
                         const struct ek_neurons *w, const uint32_t *list, size_t count,
                         const float *x, size_t ldx, size_t m, float *y, size_t ldy, void *work,
                         size_t work_bytes)
{
    struct plan p;
    ek_status   s = make_plan(&p, w, count, m, NULL);
    if (!s)
        s = w->rows == 1 && ldx >= count && ldy >= w->d && ek_table_sound(t, pool)
                ? check(&p, w, list, x, y, work, work_bytes)
                : EK_E_ARG;
    if (s) return s;
    struct task task = {.k     = t->sparse_gemv[w->fmt],
                        .merge = t->sparse_merge[EK_FMT_f32],
                        .sum   = merge_args(&p, w, y, ldy, work)};
    if (!task.k || !task.merge) return EK_E_UNSUPPORTED;
    if (!count) {
        clear_rows(&p, w->d, y, ldy);
        return EK_OK;
    }
    float *packed = at(work, p.xl); /* the inputs of the places, one token after the other */
    for (size_t i = 0; i < m; i++) memcpy(packed + i * count, x + i * ldx, count * sizeof *packed);
    task.gemv = (struct ek_sparse_gemv_args){.w           = w->data,
                                             .list        = list,
                                             .x           = packed,
                                             .part        = at(work, p.part),
                                             .count       = count,
                                             .items       = p.items,
                                             .width       = p.width,
                                             .m           = m,
                                             .part_stride = p.part_stride};
    run_all(&p, pool, &task);
    return EK_OK;
}
