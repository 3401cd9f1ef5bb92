/* SPDX-License-Identifier: Apache-2.0 */
/* model/forward.c - one step over the plan: embedding, blocks, head. */
#include "model/clock.h"
#include "model/plan.h"

#include <math.h>
#include <string.h>

struct ek_linear_options session_linear_options(const struct session *s)
{
    return (struct ek_linear_options){.struct_size = sizeof(struct ek_linear_options),
                                      .activation  = s->o.activation};
}

enum { POOL_ELEMENTS = 16384 }; /* below, one thread is faster than waking others: 4 us */

/* ---- for blocks ---- */

const ek_pool *pass_pool(const struct pass *p, size_t elements)
{
    return elements >= POOL_ELEMENTS ? p->s->o.pool : NULL;
}

void pass_tap(const struct pass *p, enum tap tap, size_t layer, const float *x, size_t m, size_t n,
              size_t ld)
{
    if (p->s->o.tap) p->s->o.tap(p->s->o.tap_self, tap, layer, x, m, n, ld);
}

const char *tap_name(enum tap tap)
{
    static const char *const names[] = {"attn.in",  "attn.out",   "mlp.in",
                                        "mlp.gate", "mlp.hidden", "head.in"};
    return tap < TAP_COUNT ? names[tap] : NULL;
}

struct bias_task {
    const struct ek_kernels *t;
    const float             *bias;
    float                   *y;
    size_t                   n, ld;
};

static void add_bias(void *task, size_t begin, size_t end)
{
    const struct bias_task *b = task;
    for (size_t i = begin; i < end; i++)
        b->t->add[EK_FMT_f32]->fn.add(
            &(struct ek_add_args){b->y + i * b->ld, b->bias, b->y + i * b->ld}, 0, b->n);
}

ek_status projection_run(const struct pass *p, const struct projection *w, const float *x,
                         size_t ldx, float *y, size_t ldy)
{
    const struct session          *s      = p->s;
    const struct ek_linear_options o      = session_linear_options(s);
    size_t                         at     = 0;
    const int                      sparse = w->columns.data && p->m <= EK_GEMV_MAX_M;
    if (sparse) {
        const ek_status err = columns_run(p, w, x, ldx, y, ldy);
        if (err) return err;
    }
    for (size_t i = 0; i < w->parts && !sparse; i++) {
        const ek_status err = ek_linear(&s->model->kernels, s->o.pool, &w->part[i], x, ldx, p->m,
                                        y + at, ldy, &o, s->work, s->linear_bytes);
        if (err) return err;
        at += w->part[i].n;
    }
    if (!w->bias) return EK_OK;
    struct bias_task b = {&s->model->kernels, w->bias, y, w->n, ldy};
    ek_parallel(pass_pool(p, p->m * w->n), p->m, 1, add_bias, &b);
    return EK_OK;
}

/* ---- embedding and blocks ---- */

static ek_status embed(const struct session *s, const int32_t *ids, size_t m)
{
    const struct model *model = s->model;
    for (size_t i = 0; i < m; i++) {
        const size_t    id = (size_t)ids[i];
        const ek_status err =
            ek_weights_dequantize(&model->embedding, id, id + 1, s->x + i * model->config.hidden);
        if (err) return err;
    }
    return EK_OK;
}

static ek_status run_blocks(struct pass *p)
{
    const struct session *s = p->s;
    const struct model   *m = s->model;
    const struct config  *c = &m->config;
    const size_t          n = p->m * c->hidden;
    for (size_t i = 0; i < m->block_count; i++) {
        const struct block *b    = &m->blocks[i];
        const ek_pool      *pool = pass_pool(p, n);
        if (s->o.skip && s->o.skip[b->layer] & b->kind->cut) continue;
        ek_status err =
            ek_rmsnorm(&m->kernels, pool, s->x, b->norm, s->h, p->m, c->hidden, c->rms_eps);
        if (!err) err = b->kind->run(b, p, s->h, s->y);
        if (!err) err = ek_add(&m->kernels, pool, s->x, s->y, s->x, n);
        if (err) return err;
    }
    return EK_OK;
}

/* ---- the head ---- */

/* Logits of the last rows of a step. */
static ek_status run_head(struct pass *p, size_t rows, float *logits)
{
    struct session      *s     = p->s;
    const struct config *c     = &s->model->config;
    const double         start = seconds_now();
    struct pass          q     = *p;
    q.m                        = rows;
    ek_status err              = ek_rmsnorm(&s->model->kernels, pass_pool(&q, rows * c->hidden),
                                            s->x + (p->m - rows) * c->hidden, s->model->norm, s->h, rows,
                                            c->hidden, c->rms_eps);
    if (err) return err;
    pass_tap(p, TAP_HEAD_IN, 0, s->h, rows, c->hidden, c->hidden);
    err = head_run(p, s->h, rows, logits);
    s->head_seconds += seconds_now() - start;
    return err;
}

ek_status forward(struct pass *p, const int32_t *ids, size_t rows, float *logits)
{
    ek_status err = embed(p->s, ids, p->m);
    if (!err) err = run_blocks(p);
    return !err && rows ? run_head(p, rows, logits) : err;
}
