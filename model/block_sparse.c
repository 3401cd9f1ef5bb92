/* SPDX-License-Identifier: Apache-2.0 */
/* model/block_sparse.c - a gated MLP that reads up and down rows only of neurons whose gate is open
 * (CATS, arXiv 2404.08763): all gates are computed, |act(gate)| is held against a threshold. More
 * than EK_GEMV_MAX_M tokens take all neurons: as matrices, or, where the file holds neurons only, piece
 * by piece. */
#include "model/neurons.h"
#include "model/plan.h"

#include <math.h>
#include <string.h>

/* ---- loading ---- */

static ek_status read_weights(const void *weights, size_t row0, size_t row1, float *out)
{
    return ek_weights_dequantize(weights, row0, row1, out);
}

/* Neurons made of the matrices that a dense MLP has. */
static ek_status make_neurons(struct loader *l, struct gated_block *g)
{
    const struct config     *c     = loader_config(l);
    const int                fused = g->gate_up.parts == 1;
    const struct rows_reader up    = {read_weights, &g->gate_up.part[fused ? 0 : 1],
                                   fused ? c->ffn : 0};
    const struct rows_reader down  = {read_weights, &g->down.part[0], 0};
    struct ek_neurons w = {neuron_format(g->gate_up.part[0].fmt), c->ffn, c->hidden, 2, NULL};
    size_t            bytes;
    const ek_status   s    = ek_neurons_bytes(w.fmt, w.n, w.d, w.rows, &bytes, NULL);
    void             *data = s ? NULL : load_memory(l, bytes);
    if (!data) return s ? s : EK_E_NOMEM;
    w.data = data, g->neurons = w;
    return neurons_pack(&w, data, &up, &down, loader_pool(l));
}

/* Neurons where they lie in the file; of the matrices there is only the gate. */
static ek_status take_neurons(struct loader *l, struct block *b, const struct tensor *t,
                              struct error *e)
{
    static const char *const     gate_name[] = {"mlp.gate_proj"};
    const struct config         *c           = loader_config(l);
    struct gated_block          *g           = &b->gated;
    const struct projection_spec gate = {gate_name, &c->ffn, 1, c->hidden, NULL, 0, TAP_COUNT};
    if (c->mlp_bias)
        return fail(e, EK_E_UNSUPPORTED, "layer %zu: a sparse MLP has no biases", b->layer);
    ek_status s =
        load_vector(l, b->layer, "post_attention_layernorm.weight", c->hidden, &b->norm, e);
    g->stored  = t;
    g->neurons = (struct ek_neurons){t->fmt, t->n, t->k, 2, t->data};
    return s ? s : load_projection(l, b->layer, &gate, &g->gate_up, e);
}

static ek_status sparse_load(struct loader *l, struct block *b, struct error *e)
{
    struct gated_block  *g      = &b->gated;
    const struct tensor *stored = load_neurons(l, b->layer);
    ek_status            s      = load_threshold(l, b->layer, &g->threshold, e);
    if (!s) s = stored ? take_neurons(l, b, stored, e) : block_gated.load(l, b, e);
    if (s) return s;
    if (stored) return predict_load(l, b, e);
    if (g->gate_up.bias || g->down.bias)
        return fail(e, EK_E_UNSUPPORTED, "layer %zu: a sparse MLP has no biases", b->layer);
    s = make_neurons(l, g);
    return s ? fail(e, s, "layer %zu: neurons: %s", b->layer, ek_status_text(s))
             : predict_load(l, b, e);
}

/* ---- running ---- */

/* Where stored neurons take all tokens: these at once, as many neurons at a time. Their gates are the
 * largest buffer; a piece stays in the cache for the next eight tokens. */
enum { WHOLE_TOKENS = 256, WHOLE_NEURONS = 1024 };

struct whole {
    size_t gates, list, taken, part, own, total; /* where they begin */
};

static size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

static struct ek_sparse_options options_of(const struct session *s, const struct ek_neurons *w,
                                           const float *gate)
{
    const int floats = ek_fmt_info(w->fmt)->kind == EK_FMT_FLOAT;
    return (struct ek_sparse_options){.struct_size = sizeof(struct ek_sparse_options),
                                      .activation  = floats ? EK_ACTIVATION_AUTO : s->o.activation,
                                      .gate        = gate};
}

/* gates [m][ffn], the list, gates of the list [8][count], what a piece adds [8][hidden], then what
 * ek_sparse_mlp asks for. */
static ek_status plan_whole(const struct block *b, const struct session *s, size_t m,
                            struct whole *p)
{
    const struct config           *c     = &s->model->config;
    const size_t                   count = at_most(c->ffn, WHOLE_NEURONS), few = EK_GEMV_MAX_M;
    const struct ek_sparse_options o = options_of(s, &b->gated.neurons, NULL);
    size_t                         own;
    const ek_status err = ek_sparse_work_bytes(&b->gated.neurons, count, few, &o, &own);
    p->gates            = 0;
    p->list             = whole_lines(at_most(m, WHOLE_TOKENS) * c->ffn * sizeof(float));
    p->taken            = p->list + whole_lines(count * sizeof(uint32_t));
    p->part             = p->taken + whole_lines(few * count * sizeof(float));
    p->own              = p->part + whole_lines(few * c->hidden * sizeof(float));
    p->total            = err ? 0 : p->own + own;
    return err;
}

/* gates [m][ffn], the list, then what ek_sparse_mlp asks for. */
static ek_status sparse_work_bytes(const struct block *b, const struct session *s, size_t m,
                                   size_t *bytes)
{
    const struct config           *c   = &s->model->config;
    const struct ek_sparse_options o   = options_of(s, &b->gated.neurons, NULL);
    const size_t                   few = at_most(m, EK_GEMV_MAX_M);
    struct whole                   whole;
    size_t                         own, predict, more = 0;
    ek_status err = ek_sparse_work_bytes(&b->gated.neurons, c->ffn, few, &o, &own);
    if (!err) err = predict_work_bytes(b, s, few, &predict);
    if (!err && predict > own) own = predict; /* one after the other */
    if (!err && b->gated.stored) {
        err  = plan_whole(b, s, m, &whole);
        more = whole.total;
    } else if (!err) {
        err = block_gated.work_bytes(b, s, m, &more);
    }
    own += whole_lines(few * c->ffn * sizeof(float)) + whole_lines(c->ffn * sizeof(uint32_t));
    if (!err) *bytes = own > more ? own : more;
    return err;
}

/* Of a list of neurons and their gates [m][count] those that are open for one token at least: they
 * stay, gates as [m][open]. Returns their number. */
static size_t open_neurons(float *gate, size_t m, size_t count, float threshold, uint32_t *list)
{
    size_t open = 0;
    for (size_t i = 0; i < count; i++) {
        int any = 0;
        for (size_t t = 0; t < m; t++) any |= fabsf(gate[t * count + i]) >= threshold;
        for (size_t t = 0; t < m; t++) gate[t * count + open] = gate[t * count + i];
        list[open] = list[i];
        open += (size_t)any;
    }
    for (size_t t = 1; t < m; t++) memmove(gate + t * open, gate + t * count, open * sizeof *gate);
    return open;
}

static struct projection gates_of(const struct block *b, const struct config *c)
{
    struct projection gates = {
        .part = {b->gated.gate_up.part[0]}, .parts = 1, .n = c->ffn, .k = c->hidden};
    gates.part[0].n = c->ffn; /* the first rows where gate and up are one tensor */
    return gates;
}

/* act(gate) of all neurons [m][ffn]. */
static ek_status run_gates(const struct block *b, struct pass *p, const float *x, float *gate)
{
    const struct session   *s     = p->s;
    const struct config    *c     = &s->model->config;
    const struct projection gates = gates_of(b, c);
    pass_tap(p, TAP_MLP_IN, b->layer, x, p->m, c->hidden, c->hidden);
    const ek_status err = projection_run(p, &gates, x, c->hidden, gate, c->ffn);
    if (err) return err;
    pass_tap(p, TAP_MLP_GATE, b->layer, gate, p->m, c->ffn, c->ffn);
    return ek_act(&s->model->kernels, pass_pool(p, p->m * c->ffn * 4), c->act, gate, NULL, gate,
                  p->m * c->ffn);
}

/* The same of a predictor's list: [m][count]. */
static ek_status run_predicted(const struct block *b, struct pass *p, const float *x,
                               const uint32_t *list, size_t count, float *gate)
{
    const struct session   *s     = p->s;
    const struct config    *c     = &s->model->config;
    const struct projection gates = gates_of(b, c);
    const ek_status         err   = predict_gates(p, &gates, x, list, count, gate);
    return err || !count ? err
                         : ek_act(&s->model->kernels, pass_pool(p, p->m * count * 4), c->act, gate,
                                  NULL, gate, p->m * count);
}

/* All neurons for up to WHOLE_TOKENS tokens: a piece of the neurons, eight tokens after the other. */
static ek_status whole_tokens(const struct block *b, struct pass *p, const float *x, float *y)
{
    struct session      *s = p->s;
    const struct config *c = &s->model->config;
    struct whole         at;
    ek_status            err  = plan_whole(b, s, p->m, &at);
    char                *mem  = p->work;
    float               *gate = p->work, *taken = (float *)(void *)(mem + at.taken),
          *part    = (float *)(void *)(mem + at.part);
    uint32_t *list = (uint32_t *)(void *)(mem + at.list);
    if (!err) err = run_gates(b, p, x, gate);
    for (size_t first = 0, count; first < c->ffn && !err; first += count) {
        struct ek_neurons w = b->gated.neurons;
        count               = at_most(c->ffn - first, WHOLE_NEURONS);
        for (size_t i = 0; i < count; i++) list[i] = (uint32_t)(first + i);
        for (size_t t = 0, m; t < p->m && !err; t += m) {
            m = at_most(p->m - t, EK_GEMV_MAX_M);
            for (size_t j = 0; j < m; j++)
                memcpy(taken + j * count, gate + (t + j) * c->ffn + first, count * sizeof *taken);
            if (!t && s->tier) err = tier_stream(s->tier, b->layer, list, count, list, &w);
            const struct ek_sparse_options o  = options_of(s, &w, taken);
            float                         *to = first ? part : y + t * c->hidden;
            if (!err)
                err = ek_sparse_mlp(&s->model->kernels, s->o.pool, &w, list, count,
                                    x + t * c->hidden, c->hidden, m, to, c->hidden, &o,
                                    mem + at.own, p->work_bytes - at.own);
            if (!err && first)
                err = ek_add(&s->model->kernels, NULL, y + t * c->hidden, part, y + t * c->hidden,
                             m * c->hidden);
        }
    }
    return err;
}

static ek_status whole_run(const struct block *b, struct pass *p, const float *x, float *y)
{
    const size_t hidden = p->s->model->config.hidden;
    struct pass  part   = *p;
    ek_status    err    = EK_OK;
    for (size_t t = 0; !err && t < p->m; t += part.m) {
        part.m   = at_most(p->m - t, WHOLE_TOKENS);
        part.pos = p->pos + t;
        err      = whole_tokens(b, &part, x + t * hidden, y + t * hidden);
    }
    return err;
}

static ek_status sparse_run(const struct block *b, struct pass *p, const float *x, float *y)
{
    struct session           *s = p->s;
    const struct config      *c = &s->model->config;
    const struct gated_block *g = &b->gated;
    const size_t              m = p->m, n = c->ffn, row = whole_lines(m * n * sizeof(float));
    if (m > EK_GEMV_MAX_M) return g->stored ? whole_run(b, p, x, y) : block_gated.run(b, p, x, y);
    float            *gate   = p->work;
    uint32_t         *list   = (uint32_t *)(void *)((char *)p->work + row);
    const size_t      before = row + whole_lines(n * sizeof *list);
    void             *work   = (char *)p->work + before;
    const size_t      room   = p->work_bytes - before;
    struct ek_neurons w      = g->neurons;
    size_t            count  = n;
    ek_status         err    = EK_OK;
    if (predicts(g)) {
        err = predict_list(b, p, x, list, &count, work, room);
        if (!err && predicts_few(g, count))
            return predict_bundles(b, p, x, list, count, y, work, room);
        if (!err) err = run_predicted(b, p, x, list, count, gate);
    } else {
        for (size_t i = 0; i < n; i++) list[i] = (uint32_t)i;
        err = run_gates(b, p, x, gate);
    }
    if (err) return err;
    count = open_neurons(gate, m, count, g->threshold, list);
    count_taken(s, &g->neurons, count);
    if (s->tier) err = tier_fetch(s->tier, b->layer, list, count, list, &w);
    if (err) return err;
    const struct ek_sparse_options o = options_of(s, &w, gate);
    return ek_sparse_mlp(&s->model->kernels, s->o.pool, &w, list, count, x, c->hidden, m, y,
                         c->hidden, &o, work, room);
}

const struct block_kind block_sparse = {
    .name        = "sparse gated MLP",
    .cut         = CUT_MLP,
    .load        = sparse_load,
    .projection  = gated_projection,
    .state_bytes = gated_state_bytes,
    .work_bytes  = sparse_work_bytes,
    .run         = sparse_run,
};
