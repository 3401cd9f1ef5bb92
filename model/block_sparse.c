/* SPDX-License-Identifier: Apache-2.0 */
/* model/block_sparse.c - a gated MLP that reads up and down rows only of neurons whose gate is open
 * (CATS, arXiv 2404.08763): all gates are computed, |act(gate)| is held against a threshold. More
 * than EK_GEMV_MAX_M tokens take all neurons, as matrices. */
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

struct ek_sparse_options sparse_options(const struct session *s, const struct ek_neurons *w,
                                        const float *gate)
{
    const int floats = ek_fmt_info(w->fmt)->kind == EK_FMT_FLOAT;
    return (struct ek_sparse_options){.struct_size = sizeof(struct ek_sparse_options),
                                      .activation  = floats ? EK_ACTIVATION_AUTO : s->o.activation,
                                      .gate        = gate};
}

/* gates [m][ffn], the list, then what ek_sparse_mlp asks for. */
static ek_status sparse_work_bytes(const struct block *b, const struct session *s, size_t m,
                                   size_t *bytes)
{
    const struct config           *c   = &s->model->config;
    const struct ek_sparse_options o   = sparse_options(s, &b->gated.neurons, NULL);
    const size_t                   few = at_most(m, EK_GEMV_MAX_M);
    size_t                         own, predict, more = 0;
    ek_status err = ek_sparse_work_bytes(&b->gated.neurons, c->ffn, few, &o, &own);
    if (!err) err = predict_work_bytes(b, s, few, &predict);
    if (!err && predict > own) own = predict; /* one after the other */
    if (!err && m > EK_GEMV_MAX_M)
        err = b->gated.stored ? stored_work_bytes(b, s, m, &more)
                              : block_gated.work_bytes(b, s, m, &more);
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

ek_status gated_gates(const struct block *b, struct pass *p, const float *x, float *gate)
{
    const struct config    *c     = &p->s->model->config;
    const struct projection gates = gates_of(b, c);
    pass_tap(p, TAP_MLP_IN, b->layer, x, p->m, c->hidden, c->hidden);
    const ek_status err = projection_run(p, &gates, x, c->hidden, gate, c->ffn);
    if (!err) pass_tap(p, TAP_MLP_GATE, b->layer, gate, p->m, c->ffn, c->ffn);
    return err;
}

/* act(gate) of all neurons [m][ffn]. */
static ek_status run_gates(const struct block *b, struct pass *p, const float *x, float *gate)
{
    const struct session *s   = p->s;
    const struct config  *c   = &s->model->config;
    const ek_status       err = gated_gates(b, p, x, gate);
    if (err) return err;
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

static ek_status sparse_run(const struct block *b, struct pass *p, const float *x, float *y)
{
    struct session           *s = p->s;
    const struct config      *c = &s->model->config;
    const struct gated_block *g = &b->gated;
    const size_t              m = p->m, n = c->ffn, row = whole_lines(m * n * sizeof(float));
    if (m > EK_GEMV_MAX_M) return g->stored ? stored_run(b, p, x, y) : block_gated.run(b, p, x, y);
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
    const struct ek_sparse_options o = sparse_options(s, &w, gate);
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
