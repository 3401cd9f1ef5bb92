/* SPDX-License-Identifier: Apache-2.0 */
/* model/net_learn.c - gradients and AdamW; products on transposed copies where need be. */
#include "model/net_inner.h"

#include <math.h>

/* ---- transposed copies ---- */

struct turn {
    const float *from;
    float       *to;
    size_t       rows, cols;
};

/* Items: columns of from. Blocks, so that both sides stay in cache. */
static void turn_columns(void *task, size_t begin, size_t end)
{
    enum { BLOCK = 16 };
    const struct turn *t = task;
    for (size_t r0 = 0; r0 < t->rows; r0 += BLOCK) {
        const size_t r1 = r0 + BLOCK < t->rows ? r0 + BLOCK : t->rows;
        for (size_t c = begin; c < end; c++)
            for (size_t r = r0; r < r1; r++) t->to[c * t->rows + r] = t->from[r * t->cols + c];
    }
}
static void turn(const struct net *n, const float *from, size_t rows, size_t cols, float *to)
{
    struct turn t = {from, to, rows, cols};
    ek_parallel(n->o.pool, cols, 16, turn_columns, &t);
}

/* ---- backward ---- */

/* The gradient at the logits, whose sigmoids lie in out. */
static void blame_rows(void *task, size_t begin, size_t end)
{
    const struct rows *r     = task;
    const size_t       width = r->l->n;
    const float        share = 1 / (float)r->m;
    for (size_t i = begin * width; i < end * width; i++) {
        const float yes = r->n->answers[i];
        r->out[i] = share * (yes > 0.5F ? r->n->o.positive : r->n->o.negative) * (r->out[i] - yes);
    }
}

static float slope(enum ek_act_kind act, float z)
{
    const float s = 1 / (1 + expf(-z));
    switch (act) {
    case EK_ACT_RELU: return z > 0 ? 1 : 0;
    case EK_ACT_SILU: return s * (1 + z * (1 - s));
    case EK_ACT_GELU_TANH: {
        const float t = tanhf(0.7978845608F * (z + 0.044715F * z * z * z));
        return 0.5F * (1 + t) +
               0.5F * z * (1 - t * t) * 0.7978845608F * (1 + 3 * 0.044715F * z * z);
    }
    default: return 0.5F * (1 + erff(z * 0.7071067812F)) + z * 0.3989422804F * expf(-0.5F * z * z);
    }
}

/* dz of the layer below: what came back through its activation. */
static void bend_rows(void *task, size_t begin, size_t end)
{
    const struct rows *r = task;
    for (size_t i = begin * r->l->n; i < end * r->l->n; i++)
        r->out[i] = r->in[i] * (r->n->o.act == EK_ACT_KINDS ? 1 : slope(r->n->o.act, r->l->z[i]));
}

static void sum_bias(void *task, size_t begin, size_t end)
{
    const struct rows *r = task;
    for (size_t c = begin; c < end; c++) {
        float sum = 0;
        for (size_t i = 0; i < r->m; i++) sum += r->in[i * r->l->n + c];
        r->l->gb[c] = sum;
    }
}

static ek_status weigh(struct net *n, struct layer *l, size_t m)
{
    struct rows task = {.n = n, .l = l, .in = n->dz, .m = m};
    turn(n, n->dz, m, l->n, n->turned_dz);
    turn(n, l->x, m, l->k, n->turned);
    if (l->gb) ek_parallel(n->o.pool, l->n, 64, sum_bias, &task);
    return net_multiply(n, net_rows(n->turned, l->k, m), n->turned_dz, l->n, l->gw);
}

ek_status net_backward(struct net *n, size_t m)
{
    struct layer *last = &n->layer[n->o.layers - 1];
    struct rows   task = {.n = n, .l = last, .out = n->dz, .m = m};
    ek_status     s =
        ek_act(n->o.kernels, n->o.pool, EK_ACT_SIGMOID, last->z, NULL, n->dz, m * last->n);
    if (!s) ek_parallel(n->o.pool, m, 8, blame_rows, &task);
    for (size_t i = n->o.layers; i-- > 0 && !s;) {
        struct layer *l = &n->layer[i];
        s               = weigh(n, l, m);
        if (s || !i) continue;
        turn(n, l->w, l->n, l->k, n->turned);
        s                 = net_multiply(n, net_rows(n->turned, l->k, l->n), n->dz, m, n->dx);
        struct rows below = {.n = n, .l = &n->layer[i - 1], .in = n->dx, .out = n->dz, .m = m};
        if (!s) ek_parallel(n->o.pool, m, 8, bend_rows, &below);
    }
    return s;
}

/* ---- AdamW (Loshchilov and Hutter, 2019) ---- */

struct step {
    struct net *n;
    size_t      first; /* value of item 0 */
    float       rate, decay, mean_scale, square_scale;
};

static void step_values(void *task, size_t begin, size_t end)
{
    const struct step *s  = task;
    struct net        *n  = s->n;
    const float        b1 = 0.9F, b2 = 0.999F, eps = 1e-8F;
    for (size_t i = s->first + begin; i < s->first + end; i++) {
        const float g = n->gradient[i];
        n->mean[i]    = b1 * n->mean[i] + (1 - b1) * g;
        n->square[i]  = b2 * n->square[i] + (1 - b2) * g * g;
        const float move =
            n->mean[i] * s->mean_scale / (sqrtf(n->square[i] * s->square_scale) + eps);
        n->values[i] -= s->rate * (move + s->decay * n->values[i]);
    }
}

void net_step(struct net *n, double rate)
{
    const double t = (double)++n->steps;
    for (size_t i = 0; i < n->o.layers; i++) {
        const struct layer *l    = &n->layer[i];
        struct step         task = {.n            = n,
                                    .first        = (size_t)(l->w - n->values),
                                    .rate         = (float)rate,
                                    .decay        = (float)n->o.decay,
                                    .mean_scale   = (float)(1 / (1 - pow(0.9, t))),
                                    .square_scale = (float)(1 / (1 - pow(0.999, t)))};
        ek_parallel(n->o.pool, l->n * l->k, 4096, step_values, &task);
        task.first += l->n * l->k, task.decay = 0;
        if (l->b) ek_parallel(n->o.pool, l->n, 4096, step_values, &task);
    }
}
