/* SPDX-License-Identifier: Apache-2.0 */
/* model/train.c - epochs. */
#include "model/train.h"

#include "model/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct run {
    struct training *t;
    uint32_t        *order; /* [rows + held] */
    float           *best;  /* weights */
    uint64_t         state;
    size_t           step, steps;
};

static ek_status load(struct run *r, size_t at, size_t m)
{
    const float *logits;
    r->t->fill(r->t->self, r->order + at, m, net_inputs(r->t->net), net_answers(r->t->net));
    return net_forward(r->t->net, m, &logits);
}

static size_t batch_at(const struct run *r, size_t at, size_t end)
{
    return end - at < r->t->batch ? end - at : r->t->batch;
}

static ek_status held_loss(struct run *r, double *loss)
{
    const size_t begin = r->t->rows, end = begin + r->t->held;
    double       sum = 0;
    for (size_t at = begin; at < end;) {
        const size_t    m = batch_at(r, at, end);
        const ek_status s = load(r, at, m);
        if (s) return s;
        sum += net_loss(r->t->net, m);
        at += m;
    }
    *loss = sum / (double)r->t->held;
    return EK_OK;
}

/* Fisher and Yates. */
static void shuffle(struct run *r)
{
    for (size_t i = r->t->rows; i > 1; i--) {
        const size_t   j    = (size_t)(splitmix64(&r->state) % i);
        const uint32_t swap = r->order[i - 1];
        r->order[i - 1] = r->order[j], r->order[j] = swap;
    }
}

static double rate_of(const struct run *r)
{
    const double at = ((double)r->step + 0.5) / (double)r->steps, up = r->t->warmup;
    return r->t->rate * (at < up ? at / up : (1 - at) / (1 - up));
}

static ek_status run_epoch(struct run *r)
{
    shuffle(r);
    for (size_t at = 0; at < r->t->rows; r->step++) {
        const size_t m = batch_at(r, at, r->t->rows);
        ek_status    s = load(r, at, m);
        if (!s) s = net_backward(r->t->net, m);
        if (s) return s;
        net_step(r->t->net, rate_of(r));
        at += m;
    }
    return EK_OK;
}

static ek_status run_all(struct run *r)
{
    struct training *t = r->t;
    size_t           count;
    float           *values = net_values(t->net, &count);
    double           loss   = 0;
    ek_status        s      = held_loss(r, &t->loss);
    memcpy(r->best, values, count * sizeof *values);
    for (t->ran = t->best_epoch = 0; t->ran < t->epochs && !s;) {
        s = run_epoch(r);
        if (!s) s = held_loss(r, &loss);
        if (s) break;
        t->ran++;
        if (loss < t->loss) { /* never of NaN */
            t->loss = loss, t->best_epoch = t->ran;
            memcpy(r->best, values, count * sizeof *values);
        } else if (t->ran - t->best_epoch >= t->patience) {
            break;
        }
    }
    memcpy(values, r->best, count * sizeof *values);
    return s;
}

ek_status train(struct training *t, struct error *e)
{
    size_t     count;
    struct run r = {.t = t, .state = t->seed};
    if (!t->rows || !t->held || !t->batch || t->rows + t->held > UINT32_MAX)
        return fail(e, EK_E_ARG, "%zu rows to learn from and %zu held out", t->rows, t->held);
    (void)net_values(t->net, &count);
    r.steps     = t->epochs * ((t->rows + t->batch - 1) / t->batch);
    r.order     = malloc((t->rows + t->held) * sizeof *r.order);
    r.best      = malloc(count * sizeof *r.best);
    ek_status s = r.order && r.best ? EK_OK : EK_E_NOMEM;
    for (size_t i = 0; i < t->rows + t->held && !s; i++) r.order[i] = (uint32_t)i;
    if (!s) s = run_all(&r);
    free(r.order), free(r.best);
    return s ? fail(e, s, "training: %s", ek_status_text(s)) : EK_OK;
}
