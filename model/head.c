/* SPDX-License-Identifier: Apache-2.0 */
/* model/head.c - logits of a state: of all tokens, of the common ones, or of those that can be the
 * largest. */
#include "model/plan.h"
#include "model/topk.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- loading ---- */

/* A copy of the head in 4 bit with bounds of its error. */
static ek_status screen_head(struct loader *l, struct error *e)
{
    struct model            *m = loader_model(l);
    const struct ek_weights *w = &m->head.part[0];
    size_t                   bytes, work_bytes;
    void                    *mem = NULL, *work = NULL;
    ek_status s = ek_head_screen_bytes(w, EK_FMT_q4g32, loader_pool(l), &bytes, &work_bytes);
    if (s == EK_E_UNSUPPORTED)
        return fail(e, s, "%s: a head in %s cannot be certified", m->source->path,
                    ek_fmt_info(w->fmt)->name);
    if (!s) {
        mem  = load_memory(l, bytes);
        work = aligned_alloc(64, (work_bytes + 63) / 64 * 64);
        s    = mem && work ? EK_OK : EK_E_NOMEM;
    }
    if (!s)
        s = ek_head_screen_build(loader_pool(l), w, EK_FMT_q4g32, mem, bytes, work, work_bytes,
                                 &m->short_head.screen);
    free(work);
    return s ? fail(e, s, "%s: head: %s", m->source->path, ek_status_text(s)) : EK_OK;
}

/* The common rows, one behind the other. */
static ek_status gather_slice(struct loader *l, struct error *e)
{
    struct model            *m = loader_model(l);
    const struct router     *r = &m->short_head.router;
    const struct ek_weights *w = &m->head.part[0];
    size_t                   bytes;
    ek_status                s   = ek_weights_bytes(w->fmt, r->common_count, w->k, &bytes, NULL);
    void                    *mem = s ? NULL : load_memory(l, bytes);
    if (!s && !mem) s = EK_E_NOMEM;
    if (!s) s = ek_weights_gather(w, r->common, r->common_count, mem, bytes);
    m->short_head.slice = (struct projection){
        .part  = {{w->fmt, w->layout, r->common_count, w->k, mem}},
        .parts = 1,
        .n     = r->common_count,
        .k     = w->k,
    };
    return s ? fail(e, s, "%s: head: %s", m->source->path, ek_status_text(s)) : EK_OK;
}

ek_status head_load(struct loader *l, const struct model_options *o, struct error *e)
{
    struct model      *m = loader_model(l);
    struct short_head *h = &m->short_head;
    h->mode              = o->head;
    if (o->head == HEAD_FULL) return EK_OK;
    if (o->head == HEAD_CERTIFIED) return screen_head(l, e);
    if (!o->router)
        return fail(e, EK_E_ARG, "%s: a head of common tokens needs --router", m->source->path);
    ek_status s = router_read(&h->router, o->router, m->config.vocab, m->config.hidden, e);
    if (!s && h->router.checksum && h->router.checksum != loader_checksum(l))
        s = fail(e, EK_E_ARG, "%s: made for the model %016llx, not %016llx", o->router,
                 (unsigned long long)h->router.checksum, (unsigned long long)loader_checksum(l));
    return s ? s : gather_slice(l, e);
}

/* ---- running ---- */

/* The largest logits of a state. Working memory holds them, then what ek_head asks for. */
struct found {
    uint32_t id[EK_HEAD_TOP_MAX];
    float    value[EK_HEAD_TOP_MAX];
};

/* What is asked of the rows that the mode has. */
struct question {
    struct ek_linear_options options;
    struct ek_head           head;
    struct ek_head_call      call;
};

static void ask(struct question *q, const struct session *s, size_t top)
{
    const struct model      *m     = s->model;
    const struct short_head *h     = &m->short_head;
    const int                slice = h->mode != HEAD_CERTIFIED;
    q->options                     = session_linear_options(s);
    q->head                        = (struct ek_head){.struct_size = sizeof q->head,
                                                      .w           = slice ? h->slice.part[0] : m->head.part[0],
                                                      .ids         = slice ? h->router.common : NULL,
                                                      .opt         = &q->options,
                                                      .screen      = slice ? NULL : &h->screen};
    q->call                        = (struct ek_head_call){.struct_size = sizeof q->call,
                                                           .head        = &q->head,
                                                           .mode        = slice ? EK_HEAD_FULL : EK_HEAD_CERTIFIED,
                                                           .top         = at_most(top, q->head.w.n)};
}

ek_status head_work_bytes(const struct session *s, size_t *bytes)
{
    const struct model *m = s->model;
    struct question     q;
    size_t              router = 0;
    *bytes                     = 0;
    if (m->short_head.mode == HEAD_FULL) return EK_OK;
    ask(&q, s, EK_HEAD_TOP_MAX);
    ek_status err = ek_head_work_bytes(&q.call, s->o.pool, bytes);
    if (!err && m->short_head.mode == HEAD_ROUTER)
        err = router_work_bytes(&m->short_head.router, 1, s->o.pool, &router);
    *bytes += whole_lines(sizeof(struct found));
    const size_t scatter = m->short_head.slice.n * sizeof(float);
    const size_t verify  = s->o.head_verify ? m->config.vocab * sizeof(float) : 0;
    const size_t most    = scatter > verify ? scatter : verify;
    *bytes               = *bytes > most ? *bytes : most;
    *bytes               = *bytes > router ? *bytes : router;
    return err;
}

static void clear(const struct model *m, float *logits)
{
    for (size_t i = 0; i < m->config.vocab; i++) logits[i] = -INFINITY;
}

/* Only the largest; the rest is -infinity. */
static ek_status run_largest(struct pass *p, const float *x, float *logits)
{
    struct session *s     = p->s;
    const size_t    own   = whole_lines(sizeof(struct found));
    struct found   *found = p->work;
    struct question q;
    ask(&q, s, s->head_top);
    q.call.x = x, q.call.id = found->id, q.call.value = found->value;
    const ek_status err = ek_head(&s->model->kernels, s->o.pool, &q.call, &s->head_counts,
                                  (char *)p->work + own, p->work_bytes - own);
    if (err) return err;
    clear(s->model, logits);
    for (size_t i = 0; i < q.call.top; i++) logits[found->id[i]] = found->value[i];
    return EK_OK;
}

static ek_status run_matrix(struct pass *p, const struct projection *w, const float *x,
                            float *logits)
{
    uint64_t  bytes = 0;
    ek_status err   = projection_run(p, w, x, w->k, logits, w->n);
    if (!err)
        err =
            ek_head_bytes(&(struct ek_head){.struct_size = sizeof(struct ek_head), .w = w->part[0]},
                          EK_HEAD_FULL, 0, &bytes);
    p->s->head_counts.bytes += bytes;
    return err;
}

/* All common rows. */
static ek_status run_slice(struct pass *p, const float *x, float *logits)
{
    const struct short_head *h   = &p->s->model->short_head;
    float                   *own = p->work;
    const ek_status          err = run_matrix(p, &h->slice, x, own);
    if (err) return err;
    clear(p->s->model, logits);
    for (size_t i = 0; i < h->slice.n; i++) logits[h->router.common[i]] = own[i];
    return EK_OK;
}

static int32_t best_of(const float *logits, size_t n)
{
    struct candidate best;
    topk(logits, n, 1, &best);
    return best.id;
}

/* Tells what was decided; p->work is free. */
static ek_status tell(struct pass *p, const float *x, const float *logits,
                      struct head_decision *made)
{
    const struct session *s     = p->s;
    const size_t          vocab = s->model->config.vocab;
    made->best = made->full_best = best_of(logits, vocab);
    made->verified               = s->o.head_verify;
    if (made->verified && !made->full) {
        float          *all = p->work;
        const ek_status err =
            projection_run(p, &s->model->head, x, s->model->config.hidden, all, vocab);
        if (err) return err;
        made->full_best = best_of(all, vocab);
    }
    s->o.decided(s->o.decided_self, made);
    return EK_OK;
}

static ek_status run_row(struct pass *p, const float *x, float *logits)
{
    struct session          *s    = p->s;
    const struct short_head *h    = &s->model->short_head;
    struct head_decision     made = {.position = p->pos[0], .p_rare = NAN};
    ek_status                err  = EK_OK;
    if (h->mode == HEAD_ROUTER) {
        err = router_run(&s->model->kernels, s->o.pool, &h->router, x, 1, &made.p_rare, p->work,
                         p->work_bytes);
        made.full = !(made.p_rare <= s->o.router_threshold);
        s->head_counts.bytes += router_bytes(&h->router);
    }
    if (h->mode == HEAD_CERTIFIED && !s->head_top) made.full = 1;
    if (!err)
        err = made.full     ? run_matrix(p, &s->model->head, x, logits)
              : s->head_top ? run_largest(p, x, logits)
                            : run_slice(p, x, logits);
    s->head_calls += !err, s->head_full += !err && made.full;
    return err || !s->o.decided ? err : tell(p, x, logits, &made);
}

ek_status head_run(struct pass *p, const float *x, size_t rows, float *logits)
{
    const struct model *m    = p->s->model;
    const size_t        step = p->m;
    struct pass         one  = *p;
    ek_status           err  = EK_OK;
    if (m->short_head.mode == HEAD_FULL ||
        (m->short_head.mode == HEAD_CERTIFIED && !p->s->head_top)) {
        one.m = rows;
        return projection_run(&one, &m->head, x, m->config.hidden, logits, m->config.vocab);
    }
    one.m = 1;
    for (size_t i = 0; i < rows && !err; i++) {
        one.pos = p->pos + step - rows + i;
        err     = run_row(&one, x + i * m->config.hidden, logits + i * m->config.vocab);
    }
    return err;
}
