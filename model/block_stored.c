/* SPDX-License-Identifier: Apache-2.0 */
/* model/block_stored.c - a gated MLP whose up and down a file holds neuron by neuron, for many tokens:
 * piece by piece neurons are made matrices again for the products of many tokens. Up keeps its format;
 * down, whose packed groups lie across the sum, becomes floats. */
#include "model/plan.h"

/* Tokens at once, as many as ek_linear takes; neurons of a piece: its matrices stay in the cache. */
enum { TOKENS = 512, PIECE = 512 };

/* Where everything begins: gates [m][ffn], up [PIECE][hidden], down [hidden][PIECE], what neurons hold
 * [m][PIECE], what a piece adds [m][hidden], then what ek_linear asks for. */
struct layout {
    size_t gates, up, down, h, part, linear, total;
};

static int is_float(const struct ek_neurons *w)
{
    return ek_fmt_info(w->fmt)->kind == EK_FMT_FLOAT;
}

static struct ek_weights matrix(enum ek_fmt fmt, size_t n, size_t k, const void *data)
{
    return (struct ek_weights){fmt, ek_fmt_info(fmt)->layout, n, k, data};
}

static struct ek_weights up_of(const struct ek_neurons *w, size_t count, const void *data)
{
    return matrix(w->fmt, count, w->d, data);
}
static struct ek_weights down_of(const struct ek_neurons *w, size_t count, const void *data)
{
    return matrix(is_float(w) ? w->fmt : EK_FMT_f32, w->d, count, data);
}

/* Float weights take floats here, as they do in steps of few tokens. */
static struct ek_linear_options up_options(const struct session *s, const struct ek_neurons *w)
{
    struct ek_linear_options o = session_linear_options(s);
    if (is_float(w)) o.activation = EK_ACTIVATION_F32;
    return o;
}
static const struct ek_linear_options down_options = {.struct_size = sizeof down_options,
                                                      .activation  = EK_ACTIVATION_F32};

static ek_status lay_out(const struct block *b, const struct session *s, size_t tokens,
                         struct layout *p)
{
    const struct ek_neurons       *w = &b->gated.neurons;
    const struct ek_linear_options o = up_options(s, w);
    const size_t                   m = at_most(tokens, TOKENS), count = at_most(w->n, PIECE);
    const struct ek_weights        up = up_of(w, count, NULL), down = down_of(w, count, NULL);
    size_t                         up_bytes = 0, down_bytes = 0, up_work = 0, down_work = 0;
    ek_status                      err = ek_weights_bytes(up.fmt, up.n, up.k, &up_bytes, NULL);
    if (!err) err = ek_weights_bytes(down.fmt, down.n, down.k, &down_bytes, NULL);
    if (!err) err = ek_linear_work_bytes(&up, m, s->o.pool, &o, &up_work);
    if (!err) err = ek_linear_work_bytes(&down, m, s->o.pool, &down_options, &down_work);
    p->gates  = 0;
    p->up     = whole_lines(m * w->n * sizeof(float));
    p->down   = p->up + whole_lines(up_bytes);
    p->h      = p->down + whole_lines(down_bytes);
    p->part   = p->h + whole_lines(m * count * sizeof(float));
    p->linear = p->part + whole_lines(m * w->d * sizeof(float));
    p->total  = p->linear + (up_work > down_work ? up_work : down_work);
    return err;
}

ek_status stored_work_bytes(const struct block *b, const struct session *s, size_t m, size_t *bytes)
{
    struct layout   at;
    const ek_status err = lay_out(b, s, m, &at);
    if (!err) *bytes = at.total;
    return err;
}

/* ---- a piece ---- */

/* Panels of neurons into both matrices. */
struct turn_task {
    struct ek_neurons w; /* those of the piece */
    unsigned char    *up, *down;
    size_t            panel, size; /* bytes: of a panel of up, of an element of down */
    ek_status         bad;
};

static void turn_panels(void *task, size_t begin, size_t end)
{
    struct turn_task *t  = task;
    const size_t      n0 = begin * EK_PANEL_ROWS, n1 = at_most(end * EK_PANEL_ROWS, t->w.n);
    ek_status         s =
        ek_neurons_matrix(&t->w, 0, n0, n1, t->up + begin * t->panel, (end - begin) * t->panel);
    if (!s) s = ek_neurons_transposed(&t->w, 1, n0, n1, t->down + n0 * t->size, t->w.n);
    if (s) t->bad = s; /* any of several will do */
}

static ek_status turn(const struct session *s, const struct ek_neurons *w, void *up, void *down)
{
    struct turn_task task = {.w = *w, .up = up, .down = down};
    task.size             = ek_fmt_info(down_of(w, w->n, NULL).fmt)->bits / 8;
    task.bad              = ek_weights_bytes(w->fmt, EK_PANEL_ROWS, w->d, &task.panel, NULL);
    const size_t panels   = (w->n + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS;
    if (!task.bad) ek_parallel(s->o.pool, panels, 4, turn_panels, &task);
    return task.bad;
}

/* h = act(gate) * up of some neurons, token by token. */
struct act_task {
    const struct session *s;
    const float          *gate; /* [m][ffn], from the first of them on */
    float                *h;    /* [m][count]: up                      */
    size_t                count;
};

static void act_tokens(void *task, size_t begin, size_t end)
{
    const struct act_task *t = task;
    const struct config   *c = &t->s->model->config;
    for (size_t i = begin; i < end; i++) {
        float *h = t->h + i * t->count;
        t->s->model->kernels.act[EK_FMT_f32]->fn.act(
            &(struct ek_act_args){t->gate + i * c->ffn, h, h, c->act}, 0, t->count);
    }
}

/* y [m][hidden] of these neurons, whose gates are there. */
static ek_status run_piece(const struct pass *p, const struct layout *at,
                           const struct ek_neurons *w, const float *x, const float *gate, float *y)
{
    const struct session          *s   = p->s;
    const struct ek_kernels       *k   = &s->model->kernels;
    const struct ek_linear_options o   = up_options(s, w);
    char                          *mem = p->work;
    float                         *h   = (float *)(void *)(mem + at->h);
    const struct ek_weights        up  = up_of(w, w->n, mem + at->up),
                            down       = down_of(w, w->n, mem + at->down);
    const size_t room                  = p->work_bytes - at->linear;
    ek_status    err                   = turn(s, w, mem + at->up, mem + at->down);
    if (!err)
        err = ek_linear(k, s->o.pool, &up, x, w->d, p->m, h, w->n, &o, mem + at->linear, room);
    if (err) return err;
    struct act_task task = {s, gate, h, w->n};
    ek_parallel(pass_pool(p, p->m * w->n * 4), p->m, 8, act_tokens, &task);
    return ek_linear(k, s->o.pool, &down, h, w->n, p->m, y, w->d, &down_options, mem + at->linear,
                     room);
}

static ek_status run_tokens(const struct block *b, struct pass *p, const float *x, float *y)
{
    const struct session    *s   = p->s;
    const struct ek_neurons *all = &b->gated.neurons;
    struct layout            at;
    size_t                   bytes, one;
    float                   *gate = p->work;
    ek_status                err  = lay_out(b, s, p->m, &at);
    float                   *part = (float *)(void *)((char *)p->work + at.part);
    if (!err) err = ek_neurons_bytes(all->fmt, all->n, all->d, all->rows, &bytes, &one);
    if (!err) err = gated_gates(b, p, x, gate);
    for (size_t first = 0; first < all->n && !err; first += PIECE) {
        struct ek_neurons w = *all;
        w.n                 = at_most(all->n - first, PIECE);
        if (s->tier)
            err = tier_stream(s->tier, b->layer, first, w.n, &w);
        else
            w.data = (const char *)all->data + first * one;
        if (!err) err = run_piece(p, &at, &w, x, gate + first, first ? part : y);
        if (!err && first)
            err = ek_add(&s->model->kernels, pass_pool(p, p->m * w.d), y, part, y, p->m * w.d);
    }
    return err;
}

ek_status stored_run(const struct block *b, struct pass *p, const float *x, float *y)
{
    const size_t hidden = p->s->model->config.hidden;
    struct pass  part   = *p;
    ek_status    err    = EK_OK;
    for (size_t t = 0; !err && t < p->m; t += part.m) {
        part.m   = at_most(p->m - t, TOKENS);
        part.pos = p->pos + t;
        err      = run_tokens(b, &part, x + t * hidden, y + t * hidden);
    }
    return err;
}
