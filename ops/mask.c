/* SPDX-License-Identifier: Apache-2.0 */
/* ops/mask.c - masks from scores: the kernels checked and split, and the rules made of them. */
#include "ek/mask.h"

#include "kernels/order.h"
#include "ops/bits.h"
#include "ops/run.h"
#include "ops/work.h"

#include <math.h>

enum { WORD_GRAIN = 64 }; /* words of one task of mask: 16 KB of scores */

EK_DEFINE_RUN(mask)
EK_DEFINE_RUN(moments)
#undef EK_DEFINE_RUN

static ek_status check_rows(const struct ek_kernels *t, const ek_pool *pool, const float *x,
                            size_t rows, size_t cols, size_t ldx)
{
    if (!ek_table_sound(t, pool) || !x || !cols || cols > UINT32_MAX || ldx < cols) return EK_E_ARG;
    return ek_check_shape(rows, ldx);
}

ek_status ek_mask(const struct ek_kernels *t, const ek_pool *pool, const struct ek_mask_args *a,
                  size_t rows)
{
    if (!a || !a->t || !a->mask) return EK_E_ARG;
    const ek_status s = check_rows(t, pool, a->x, rows, a->cols, a->ldx);
    return s ? s : mask_run(t, pool, a, rows * ek_mask_words(a->cols), WORD_GRAIN);
}

ek_status ek_moments(const struct ek_kernels *t, const ek_pool *pool,
                     const struct ek_moments_args *a, size_t rows)
{
    if (!a || !a->moments) return EK_E_ARG;
    const ek_status s = check_rows(t, pool, a->x, rows, a->cols, a->ldx);
    return s ? s : moments_run(t, pool, a, rows, 1);
}

/* ---- select: every task needs scratch of its own ---- */

struct select_plan {
    size_t slots, slot_bytes;
};

static ek_status plan_select(size_t rows, size_t cols, const ek_pool *pool, struct select_plan *p)
{
    if (!rows || !cols || cols > UINT32_MAX || !ek_pool_sound(pool)) return EK_E_ARG;
    const size_t threads = pool ? pool->threads : 1;
    *p                   = (struct select_plan){rows < threads ? rows : threads,
                              ek_select_scratch_bytes(cols) + EK_TASK_GAP};
    return p->slots > SIZE_MAX / p->slot_bytes ? EK_E_OVERFLOW : EK_OK;
}

size_t ek_select_scratch_bytes(size_t cols)
{
    enum { COUNTS = 4 << EK_DIGIT_1, VECTOR = 16 };
    return (COUNTS + cols + VECTOR + 15) / 16 * 64;
}

ek_status ek_select_work_bytes(size_t rows, size_t cols, const ek_pool *pool, size_t *bytes)
{
    struct select_plan p;
    const ek_status    s = bytes ? plan_select(rows, cols, pool, &p) : EK_E_ARG;
    if (!s) *bytes = p.slots * p.slot_bytes;
    return s;
}

struct select_task {
    ek_select_fn         *fn;
    struct ek_select_args a;
    struct select_plan    p;
    size_t                rows;
    unsigned char        *work;
};

static void select_slots(void *task, size_t begin, size_t end)
{
    const struct select_task *s = task;
    for (size_t i = begin; i < end; i++) {
        struct ek_select_args a = s->a;
        a.scratch               = s->work + i * s->p.slot_bytes;
        s->fn(&a, s->rows * i / s->p.slots, s->rows * (i + 1) / s->p.slots);
    }
}

ek_status ek_select(const struct ek_kernels *t, const ek_pool *pool, const struct ek_select_args *a,
                    size_t rows, void *work, size_t work_bytes)
{
    struct select_task task = {.rows = rows, .work = work};
    if (!a || !a->value || !a->equal || !a->k || a->k > a->cols || !work || (uintptr_t)work % 64)
        return EK_E_ARG;
    ek_status s = check_rows(t, pool, a->x, rows, a->cols, a->ldx);
    if (!s) s = plan_select(rows, a->cols, pool, &task.p);
    if (s) return s;
    if (work_bytes < task.p.slots * task.p.slot_bytes) return EK_E_NOMEM;
    if (!t->select[EK_FMT_f32]) return EK_E_UNSUPPORTED;
    task.fn = t->select[EK_FMT_f32]->fn.select, task.a = *a;
    ek_parallel(pool, task.p.slots, 1, select_slots, &task);
    return EK_OK;
}

/* ---- rules ---- */

/* Offsets in the working memory. */
struct scores_plan {
    size_t t, moments, equal, select, select_bytes, total;
};

static int rule_sound(const struct ek_mask_rule *r, size_t n)
{
    if (!r || r->struct_size < sizeof *r || isnan(r->value)) return 0;
    switch (r->kind) {
    case EK_RULE_THRESHOLD:
    case EK_RULE_SIGMA: return 1;
    case EK_RULE_TOPK: return r->k && r->k <= n;
    case EK_RULE_GAUSS: return r->value > 0 && r->value < 1;
    }
    return 0;
}

static ek_status plan_scores(const struct ek_mask_rule *r, size_t m, size_t n, const ek_pool *pool,
                             struct scores_plan *p)
{
    int over = 0;
    if (!m || !n || n > UINT32_MAX || !rule_sound(r, n) || !ek_pool_sound(pool)) return EK_E_ARG;
    *p   = (struct scores_plan){.total = 0};
    p->t = ek_reserve(&p->total, m, sizeof(float), &over);
    if (r->kind == EK_RULE_GAUSS || r->kind == EK_RULE_SIGMA)
        p->moments = ek_reserve(&p->total, m, 2 * sizeof(float), &over);
    if (r->kind == EK_RULE_TOPK) {
        const ek_status s = ek_select_work_bytes(m, n, pool, &p->select_bytes);
        if (s) return s;
        p->equal  = ek_reserve(&p->total, m, sizeof(uint32_t), &over);
        p->select = ek_reserve(&p->total, p->select_bytes, 1, &over);
    }
    return over ? EK_E_OVERFLOW : EK_OK;
}

ek_status ek_mask_scores_work_bytes(const struct ek_mask_rule *rule, size_t m, size_t n,
                                    const ek_pool *pool, size_t *bytes)
{
    struct scores_plan p;
    const ek_status    s = bytes ? plan_scores(rule, m, n, pool, &p) : EK_E_ARG;
    if (!s) *bytes = p.total;
    return s;
}

struct topk {
    struct ek_mask_args a; /* t: -infinity where the k-th is NaN */
    size_t              k;
};

/* Bits of the k-th score's equals become those of the lowest indices alone. */
static void trim_equals(uint64_t *mask, const float *x, size_t n, float value, size_t surplus)
{
    const uint32_t rank = ek_rank(value);
    for (size_t c = n; surplus; c--)
        if (ek_rank(x[c - 1]) == rank)
            mask[(c - 1) / 64] &= ~(UINT64_C(1) << (c - 1) % 64), surplus--;
}

/* The first `wanted` NaN get their bits. */
static void add_nan(uint64_t *mask, const float *x, size_t wanted)
{
    for (size_t c = 0; wanted; c++)
        if (ek_rank(x[c]) == EK_RANK_NAN) mask[c / 64] |= UINT64_C(1) << c % 64, wanted--;
}

/* A row has the bits of all that reach the k-th: makes them exactly k. */
static void make_exact(void *task, size_t begin, size_t end)
{
    const struct topk *t     = task;
    const size_t       words = ek_mask_words(t->a.cols);
    for (size_t r = begin; r < end; r++) {
        uint64_t    *mask = t->a.mask + r * words;
        const float *x    = t->a.x + r * t->a.ldx;
        const size_t have = ek_mask_count(mask, t->a.cols);
        if (have > t->k) trim_equals(mask, x, t->a.cols, t->a.t[r], have - t->k);
        if (have < t->k) add_nan(mask, x, t->k - have);
    }
}

static ek_status topk_mask(const struct ek_kernels *t, const ek_pool *pool,
                           const struct ek_mask_args *a, size_t m, size_t k,
                           const struct scores_plan *p, unsigned char *work)
{
    float                *value = (float *)(void *)(work + p->t);
    uint32_t             *equal = (uint32_t *)(void *)(work + p->equal);
    struct ek_select_args s     = {
            .x = a->x, .value = value, .equal = equal, .cols = a->cols, .ldx = a->ldx, .k = k};
    struct topk     task   = {.a = *a, .k = k};
    const ek_status status = ek_select(t, pool, &s, m, work + p->select, p->select_bytes);
    if (status) return status;
    for (size_t r = 0; r < m; r++)
        if (isnan(value[r])) value[r] = -INFINITY;
    (void)ek_mask(t, pool, a, m); /* its arguments are those of select */
    ek_parallel(pool, m, 1, make_exact, &task);
    return EK_OK;
}

/* Thresholds of THRESHOLD, GAUSS and SIGMA. */
static ek_status set_cutoffs(const struct ek_kernels *t, const ek_pool *pool,
                             const struct ek_mask_rule *rule, const struct ek_mask_args *a,
                             size_t m, float *cutoff, float *moments)
{
    const struct ek_moments_args mo = {
        .x = a->x, .moments = moments, .cols = a->cols, .ldx = a->ldx};
    const double z = rule->kind == EK_RULE_GAUSS ? ek_inverse_normal(rule->value) : rule->value;
    if (rule->kind != EK_RULE_THRESHOLD) {
        const ek_status s = ek_moments(t, pool, &mo, m);
        if (s) return s;
    }
    for (size_t r = 0; r < m; r++)
        cutoff[r] = (float)(rule->kind == EK_RULE_THRESHOLD
                                ? z
                                : (double)moments[2 * r] + (double)moments[2 * r + 1] * z);
    return EK_OK;
}

/* NOLINTNEXTLINE(readability-function-size): sizes and strides one by one, as in BLAS */
ek_status ek_mask_scores(const struct ek_kernels *t, const ek_pool *pool,
                         const struct ek_mask_rule *rule, const float *x, size_t ldx, size_t m,
                         size_t n, uint64_t *mask, void *work, size_t work_bytes)
{
    struct scores_plan p;
    ek_status          s = plan_scores(rule, m, n, pool, &p);
    if (!s) s = check_rows(t, pool, x, m, n, ldx);
    if (s) return s;
    if (!mask || !work || (uintptr_t)work % 64) return EK_E_ARG;
    if (work_bytes < p.total) return EK_E_NOMEM;
    if (!t->mask[EK_FMT_f32]) return EK_E_UNSUPPORTED;
    unsigned char            *at     = work;
    float                    *cutoff = (float *)(void *)(at + p.t);
    const struct ek_mask_args a      = {.x = x, .t = cutoff, .mask = mask, .cols = n, .ldx = ldx};
    if (rule->kind == EK_RULE_TOPK) return topk_mask(t, pool, &a, m, rule->k, &p, at);
    s = set_cutoffs(t, pool, rule, &a, m, cutoff, (float *)(void *)(at + p.moments));
    return s ? s : ek_mask(t, pool, &a, m);
}
