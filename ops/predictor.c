/* SPDX-License-Identifier: Apache-2.0 */
/* ops/predictor.c - two products and a rule, eight tokens at a time. */
#include "ek/predictor.h"

#include "ops/run.h"
#include "ops/work.h"

#include <string.h>

/* Offsets in the working memory. */
struct plan {
    size_t chunk; /* tokens at once */
    size_t hidden, scores, masks, linear, linear_bytes, rule, rule_bytes, total;
};

static ek_status plan_linear(const struct ek_predictor *p, size_t m, const ek_pool *pool,
                             size_t *bytes)
{
    size_t    down, up;
    ek_status s = ek_linear_work_bytes(p->down, m, pool, p->options, &down);
    if (!s) s = ek_linear_work_bytes(p->up, m, pool, p->options, &up);
    if (!s) *bytes = down > up ? down : up;
    return s;
}

static ek_status make_plan(struct plan *to, const struct ek_predictor *p, size_t m,
                           const ek_pool *pool)
{
    int over = 0;
    if (!p || p->struct_size < sizeof *p || !p->down || !p->up || !m) return EK_E_ARG;
    *to         = (struct plan){.chunk = m < EK_GEMV_MAX_M ? m : EK_GEMV_MAX_M};
    ek_status s = plan_linear(p, to->chunk, pool, &to->linear_bytes);
    if (s) return s;
    if (p->up->k != p->down->n) return EK_E_ARG;
    s = ek_mask_scores_work_bytes(&p->rule, to->chunk, p->up->n, pool, &to->rule_bytes);
    if (s) return s;
    const size_t words = ek_mask_words(p->up->n);
    to->hidden         = ek_reserve(&to->total, p->down->n, to->chunk * sizeof(float), &over);
    to->scores         = ek_reserve(&to->total, p->up->n, to->chunk * sizeof(float), &over);
    to->masks          = ek_reserve(&to->total, words, (to->chunk + 1) * sizeof(uint64_t), &over);
    to->linear         = ek_reserve(&to->total, to->linear_bytes, 1, &over);
    to->rule           = ek_reserve(&to->total, to->rule_bytes, 1, &over);
    return over ? EK_E_OVERFLOW : EK_OK;
}

ek_status ek_predict_work_bytes(const struct ek_predictor *p, size_t m, const ek_pool *pool,
                                size_t *bytes)
{
    struct plan     to;
    const ek_status s = bytes ? make_plan(&to, p, m, pool) : EK_E_ARG;
    if (!s) *bytes = to.total;
    return s;
}

/* One call. */
struct call {
    const struct ek_kernels   *t;
    const ek_pool             *pool;
    const struct ek_predictor *p;
    const struct plan         *to;
    unsigned char             *work;
};

/* The masks of m <= chunk tokens, one after another. */
static ek_status predict_chunk(const struct call *c, const float *x, size_t ldx, size_t m,
                               uint64_t *masks)
{
    const struct ek_predictor *p  = c->p;
    const struct plan         *to = c->to;
    const size_t               r = p->down->n, n = p->up->n;
    float                     *hidden = (float *)(void *)(c->work + to->hidden);
    float                     *scores = (float *)(void *)(c->work + to->scores);
    void                      *linear = c->work + to->linear;

    ek_status s = ek_linear(c->t, c->pool, p->down, x, ldx, m, hidden, r, p->options, linear,
                            to->linear_bytes);
    if (!s)
        s = ek_linear(c->t, c->pool, p->up, hidden, r, m, scores, n, p->options, linear,
                      to->linear_bytes);
    if (!s)
        s = ek_mask_scores(c->t, c->pool, &p->rule, scores, n, m, n, masks, c->work + to->rule,
                           to->rule_bytes);
    return s;
}

/* NOLINTNEXTLINE(readability-function-size): sizes and strides one by one, as in BLAS */
ek_status ek_predict(const struct ek_kernels *t, const ek_pool *pool, const struct ek_predictor *p,
                     const float *x, size_t ldx, size_t m, uint64_t *mask, void *work,
                     size_t work_bytes)
{
    struct plan     to;
    const ek_status s = make_plan(&to, p, m, pool);
    if (s) return s;
    if (!x || ldx < p->down->k || !mask || !work || (uintptr_t)work % 64) return EK_E_ARG;
    if (work_bytes < to.total) return EK_E_NOMEM;

    const struct call c = {t, pool, p, &to, work};
    const size_t      n = p->up->n, words = ek_mask_words(n);
    uint64_t         *any = (uint64_t *)(void *)(c.work + to.masks); /* the tokens' masks follow */
    memset(any, 0, words * sizeof *any);
    for (size_t done = 0; done < m; done += to.chunk) {
        const size_t tokens = m - done < to.chunk ? m - done : to.chunk;
        ek_status    e      = predict_chunk(&c, x + done * ldx, ldx, tokens, any + words);
        if (!e) e = ek_mask_union(any, 1 + tokens, n, any);
        if (e) return e;
    }
    memcpy(mask, any, words * sizeof *mask);
    return EK_OK;
}
