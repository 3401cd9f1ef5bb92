/* SPDX-License-Identifier: Apache-2.0 */
/* model/block_sparse.c - a gated MLP that reads up and down rows only of neurons whose gate is open
 * (CATS, arXiv 2404.08763): all gates are computed, |act(gate)| is held against a threshold. More
 * than EK_GEMV_MAX_M tokens go the dense way. */
#include "model/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- loading ---- */

/* The format of neurons for weights of fmt: the same where neurons have it, else 8 bit. */
static enum ek_fmt neuron_format(enum ek_fmt fmt)
{
    return ek_neuron_width(fmt, 1) ? fmt : EK_FMT_q8g32;
}

/* Rows [begin, end) of up, and those columns of down. */
struct pack_task {
    const struct ek_weights *up, *down;
    size_t                   up_row; /* of neuron 0 in up */
    struct ek_neurons        to;
    unsigned char           *data;
    size_t                   one;
    const float             *columns; /* down as floats [hidden][ffn] */
    ek_status                bad;
};

static void pack_neurons(void *task, size_t begin, size_t end)
{
    struct pack_task *t = task;
    const size_t      d = t->to.d, n = end - begin;
    float            *rows = malloc(n * d * sizeof *rows);
    ek_status         s    = rows ? EK_OK : EK_E_NOMEM;
    if (!s) s = ek_weights_dequantize(t->up, t->up_row + begin, t->up_row + end, rows);
    if (!s)
        s = ek_neurons_quantize(t->to.fmt, rows, d, 1, n, d, 2, 0, t->data + begin * t->one,
                                n * t->one);
    if (!s)
        s = ek_neurons_quantize(t->to.fmt, t->columns + begin, 1, t->to.n, n, d, 2, 1,
                                t->data + begin * t->one, n * t->one);
    if (s) t->bad = s; /* any of several will do */
    free(rows);
}

struct rows_task {
    const struct ek_weights *w;
    float                   *to;
    ek_status                bad;
};
static void read_rows(void *task, size_t begin, size_t end)
{
    struct rows_task *t = task;
    const ek_status   s = ek_weights_dequantize(t->w, begin, end, t->to + begin * t->w->k);
    if (s) t->bad = s;
}
static void over(const ek_pool *pool, size_t items, size_t grain, ek_task_fn *fn, void *task)
{
    if (pool)
        pool->run(pool->self, items, grain, fn, task);
    else
        fn(task, 0, items);
}

static ek_status sparse_load(struct loader *l, struct block *b, struct error *e)
{
    const struct config *c = loader_config(l);
    struct gated_block  *g = &b->gated;
    size_t               bytes;
    ek_status            s = block_gated.load(l, b, e);
    if (!s) s = load_threshold(l, b->layer, &g->threshold, e);
    if (s) return s;
    if (g->gate_up.bias || g->down.bias)
        return fail(e, EK_E_UNSUPPORTED, "layer %zu: a sparse MLP has no biases", b->layer);
    const int        fused = g->gate_up.parts == 1;
    struct pack_task task  = {
         .up     = &g->gate_up.part[fused ? 0 : 1],
         .down   = &g->down.part[0],
         .up_row = fused ? c->ffn : 0,
         .to     = {neuron_format(g->gate_up.part[0].fmt), c->ffn, c->hidden, 2, NULL}};
    s              = ek_neurons_bytes(task.to.fmt, c->ffn, c->hidden, 2, &bytes, &task.one);
    float *columns = s ? NULL : malloc(c->hidden * c->ffn * sizeof *columns);
    task.data      = s ? NULL : load_memory(l, bytes);
    if (!columns || !task.data) {
        free(columns);
        return fail(e, s ? s : EK_E_NOMEM, "layer %zu: neurons: %s", b->layer,
                    ek_status_text(s ? s : EK_E_NOMEM));
    }
    struct rows_task rows = {task.down, columns, EK_OK};
    over(loader_pool(l), c->hidden, 64, read_rows, &rows);
    task.columns = columns;
    if (!rows.bad) over(loader_pool(l), c->ffn, 64, pack_neurons, &task);
    free(columns);
    s          = rows.bad ? rows.bad : task.bad;
    g->neurons = task.to, g->neurons.data = task.data;
    return s ? fail(e, s, "layer %zu: neurons: %s", b->layer, ek_status_text(s))
             : predict_load(l, b, e);
}

/* ---- running ---- */

/* gates [m][ffn], the list, then what ek_sparse_mlp asks for. */
static ek_status sparse_work_bytes(const struct block *b, const struct session *s, size_t m,
                                   size_t *bytes)
{
    const struct config           *c = &s->model->config;
    const struct ek_sparse_options o = {.struct_size = sizeof o, .activation = s->o.activation};
    size_t                         own, dense, predict;
    const size_t                   few = m < EK_GEMV_MAX_M ? m : EK_GEMV_MAX_M;
    ek_status                      err = block_gated.work_bytes(b, s, m, &dense);
    if (!err) err = ek_sparse_work_bytes(&b->gated.neurons, c->ffn, few, &o, &own);
    if (!err) err = predict_work_bytes(b, s, few, &predict);
    if (!err && predict > own) own = predict; /* one after the other */
    const size_t sparse =
        whole_lines(few * c->ffn * sizeof(float)) + whole_lines(c->ffn * sizeof(uint32_t));
    if (!err) *bytes = sparse + own > dense ? sparse + own : dense;
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

/* The gates before the activation, [m][count]: of all, or of a predictor's list. */
static ek_status find_gates(const struct block *b, struct pass *p, const float *x, float *gate,
                            uint32_t *list, size_t count)
{
    const struct config      *c    = &p->s->model->config;
    const struct gated_block *g    = &b->gated;
    struct projection         only = {
                .part = {g->gate_up.part[0]}, .parts = 1, .n = c->ffn, .k = c->hidden};
    only.part[0].n = c->ffn; /* the first rows where gate and up are one tensor */
    if (predicts(g)) return predict_gates(p, &only, x, list, count, gate);
    for (size_t i = 0; i < c->ffn; i++) list[i] = (uint32_t)i;
    return projection_run(p, &only, x, c->hidden, gate, c->ffn);
}

static ek_status sparse_run(const struct block *b, struct pass *p, const float *x, float *y)
{
    struct session           *s = p->s;
    const struct config      *c = &s->model->config;
    const struct gated_block *g = &b->gated;
    const size_t              m = p->m, n = c->ffn, row = whole_lines(m * n * sizeof(float));
    if (m > EK_GEMV_MAX_M) return block_gated.run(b, p, x, y);
    float       *gate   = p->work;
    uint32_t    *list   = (uint32_t *)(void *)((char *)p->work + row);
    const size_t before = row + whole_lines(n * sizeof *list);
    void        *work   = (char *)p->work + before;
    const size_t room   = p->work_bytes - before;
    size_t       count  = n;
    ek_status    err    = EK_OK;
    if (predicts(g)) err = predict_list(b, p, x, list, &count, work, room);
    if (!err && predict_bundles(b, p, x, list, count, y, work, room, &err)) return err;
    if (!err) err = find_gates(b, p, x, gate, list, count);
    if (!err && count)
        err = ek_act(&s->model->kernels, pass_pool(p, m * count * 4), c->act, gate, NULL, gate,
                     m * count);
    if (err) return err;
    count = open_neurons(gate, m, count, g->threshold, list);
    s->neurons += n, s->neurons_taken += count;
    const struct ek_sparse_options o = {
        .struct_size = sizeof o,
        .activation  = ek_fmt_info(g->neurons.fmt)->kind == EK_FMT_FLOAT ? EK_ACTIVATION_AUTO
                                                                         : s->o.activation,
        .gate        = gate};
    return ek_sparse_mlp(&s->model->kernels, s->o.pool, &g->neurons, list, count, x, c->hidden, m,
                         y, c->hidden, &o, work, room);
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
