/* SPDX-License-Identifier: Apache-2.0 */
/* model/block_stored.c - all neurons of a gated MLP whose up and down a file holds neuron by neuron, for
 * more tokens than a list serves: a list for eight tokens after eight, or, for many, piece by piece
 * matrices again: up keeps its format; down, whose packed groups lie across the sum, becomes floats. */
#include "model/plan.h"

/* Tokens at once, as many as ek_linear takes; neurons of a piece: its matrices stay in the cache; tokens
 * from which on making matrices costs less than it saves. */
enum { TOKENS = 512, PIECE = 512, MATRICES_FROM = 48 };

/* Where everything begins: gates [m][ffn], the list, of a piece up [PIECE][hidden] and down
 * [hidden][PIECE], h [m][PIECE] or [8][ffn], what a piece adds [m][hidden], then what ops ask for. */
struct layout {
    size_t gates, list, up, down, h, part, own, total;
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

/* Activations enter up as they do in lists. */
static struct ek_linear_options up_options(const struct session *s, const struct ek_neurons *w)
{
    struct ek_linear_options o = session_linear_options(s);
    o.activation               = sparse_options(s, w, NULL).activation;
    return o;
}
static const struct ek_linear_options down_options = {.struct_size = sizeof down_options,
                                                      .activation  = EK_ACTIVATION_F32};

static ek_status lay_out(const struct block *b, const struct session *s, size_t tokens,
                         struct layout *p)
{
    const struct ek_neurons       *w           = &b->gated.neurons;
    const struct ek_linear_options o           = up_options(s, w);
    const struct ek_sparse_options few_options = sparse_options(s, w, NULL);
    const size_t                   m = at_most(tokens, TOKENS), count = at_most(w->n, PIECE);
    const size_t                   few = EK_GEMV_MAX_M * w->n;
    const struct ek_weights        up = up_of(w, count, NULL), down = down_of(w, count, NULL);
    size_t                         up_bytes = 0, down_bytes = 0, own[3] = {0};
    ek_status                      err = ek_weights_bytes(up.fmt, up.n, up.k, &up_bytes, NULL);
    if (!err) err = ek_weights_bytes(down.fmt, down.n, down.k, &down_bytes, NULL);
    if (!err) err = ek_linear_work_bytes(&up, m, s->o.pool, &o, &own[0]);
    if (!err) err = ek_linear_work_bytes(&down, m, s->o.pool, &down_options, &own[1]);
    if (!err) err = ek_sparse_work_bytes(w, w->n, EK_GEMV_MAX_M, &few_options, &own[2]);
    p->gates = 0;
    p->list  = whole_lines(m * w->n * sizeof(float));
    p->up    = p->list + whole_lines(w->n * sizeof(uint32_t));
    p->down  = p->up + whole_lines(up_bytes);
    p->h     = p->down + whole_lines(down_bytes);
    p->part  = p->h + whole_lines((m * count > few ? m * count : few) * sizeof(float));
    p->own   = p->part + whole_lines(m * w->d * sizeof(float));
    p->total = p->own;
    for (size_t i = 0; i < 3; i++)
        if (p->own + own[i] > p->total) p->total = p->own + own[i];
    return err;
}

ek_status stored_work_bytes(const struct block *b, const struct session *s, size_t m, size_t *bytes)
{
    struct layout   at;
    const ek_status err = lay_out(b, s, m, &at);
    if (!err) *bytes = at.total;
    return err;
}

/* ---- a piece as matrices ---- */

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

/* A piece of the neurons, and what goes in and comes out. */
struct piece {
    const struct pass   *p;
    const struct layout *at;
    struct ek_neurons    w;    /* its neurons                        */
    const float         *x;    /* [m][hidden]                        */
    const float         *gate; /* [m][ffn], from the first of its on */
    float               *y;    /* [m][hidden]                        */
};

static void *memory(const struct piece *c, size_t at)
{
    return (char *)c->p->work + at;
}

static ek_status run_matrices(const struct piece *c)
{
    const struct session          *s  = c->p->s;
    const struct ek_kernels       *k  = &s->model->kernels;
    const struct ek_neurons       *w  = &c->w;
    const struct ek_linear_options o  = up_options(s, w);
    float                         *h  = memory(c, c->at->h);
    const struct ek_weights        up = up_of(w, w->n, memory(c, c->at->up)),
                            down      = down_of(w, w->n, memory(c, c->at->down));
    const size_t m = c->p->m, room = c->p->work_bytes - c->at->own;
    void        *own = memory(c, c->at->own);
    ek_status    err = turn(s, w, memory(c, c->at->up), memory(c, c->at->down));
    if (!err) err = ek_linear(k, s->o.pool, &up, c->x, w->d, m, h, w->n, &o, own, room);
    if (err) return err;
    gated_activate(c->p,
                   &(struct gated_rows){c->gate, h, h, m, w->n, s->model->config.ffn, w->n, w->n});
    return ek_linear(k, s->o.pool, &down, h, w->n, m, c->y, w->d, &down_options, own, room);
}

static ek_status run_list(const struct piece *c)
{
    const struct session *s = c->p->s;
    const size_t          d = c->w.d, ffn = s->model->config.ffn;
    uint32_t             *list = memory(c, c->at->list);
    float                *h    = memory(c, c->at->h);
    ek_status             err  = EK_OK;
    for (size_t i = 0; i < c->w.n; i++) list[i] = (uint32_t)i;
    for (size_t t = 0, m; t < c->p->m && !err; t += m) {
        m                                = at_most(c->p->m - t, EK_GEMV_MAX_M);
        const struct ek_sparse_options o = sparse_options(s, &c->w, h);
        const struct gated_rows rows     = {c->gate + t * ffn, NULL, h, m, c->w.n, ffn, 0, c->w.n};
        gated_activate(c->p, &rows);
        err = ek_sparse_mlp(&s->model->kernels, s->o.pool, &c->w, list, c->w.n, c->x + t * d, d, m,
                            c->y + t * d, d, &o, memory(c, c->at->own),
                            c->p->work_bytes - c->at->own);
    }
    return err;
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
    const int    listed = p->m < MATRICES_FROM;
    const size_t piece  = listed ? all->n : PIECE;
    for (size_t first = 0; first < all->n && !err; first += piece) {
        struct ek_neurons w = *all;
        w.n                 = at_most(all->n - first, piece);
        if (s->tier)
            err = tier_stream(s->tier, b->layer, first, w.n, &w);
        else
            w.data = (const char *)all->data + first * one;
        const struct piece c = {p, &at, w, x, gate + first, first ? part : y};
        if (!err) err = listed ? run_list(&c) : run_matrices(&c);
        if (!err && first)
            err = ek_add(&s->model->kernels, pass_pool(p, p->m * w.d), y, part, y, p->m * w.d);
    }
    return err;
}

ek_status stored_run(const struct block *b, struct pass *p, const float *x, float *y)
{
    return gated_pieces(b, p, x, y, TOKENS, run_tokens);
}
