/* SPDX-License-Identifier: Apache-2.0 */
/* model/block_predict.c - a sparse MLP whose gates, too, are computed only where a predictor
 * expects them to open. Rows of floats are picked one by one. Packed rows lie in panels of 16, of
 * which hardly one is without an expected neuron; so these are kept once more, gate, up and down of
 * a neuron together, and where few are expected they are read from there, whole. */
#include "model/plan.h"

#include <stdlib.h>
#include <string.h>

/* ---- loading ---- */

/* A float model takes the file's format, a packed one its own or the nearest of 8 bits. */
static enum ek_fmt predict_format(enum ek_fmt model, enum ek_fmt file)
{
    if (ek_fmt_info(model)->kind == EK_FMT_FLOAT) return file;
    return model == EK_FMT_q4g32 ? model : EK_FMT_q8g32;
}

static ek_status pack(struct loader *l, const struct ek_weights *from, enum ek_fmt fmt,
                      struct ek_weights *to)
{
    size_t    bytes;
    ek_status s = ek_weights_bytes(fmt, from->n, from->k, &bytes, NULL);
    if (s) return s;
    void  *data = load_memory(l, bytes);
    float *rows = malloc(from->n * from->k * sizeof *rows);
    if (!data || !rows) s = EK_E_NOMEM;
    if (!s) s = ek_weights_dequantize(from, 0, from->n, rows);
    if (!s) s = ek_weights_quantize(fmt, rows, from->n, from->k, data, bytes);
    free(rows);
    *to = (struct ek_weights){fmt, ek_fmt_info(fmt)->layout, from->n, from->k, data};
    return s;
}

struct bundle_task {
    const struct ek_weights *gate;
    struct ek_neurons        two, three;
    size_t                   two_bytes, three_bytes; /* of a neuron */
    unsigned char           *data;
    ek_status                bad;
};

/* Up and down as they are, behind the gate. */
static void bundle_neurons(void *task, size_t begin, size_t end)
{
    struct bundle_task *t = task;
    const size_t        d = t->three.d, n = end - begin;
    unsigned char      *to    = t->data + begin * t->three_bytes;
    float              *gates = malloc(n * d * sizeof *gates);
    ek_status           s     = gates ? EK_OK : EK_E_NOMEM;
    if (!s) s = ek_weights_dequantize(t->gate, begin, end, gates);
    if (!s) s = ek_neurons_quantize(t->three.fmt, gates, d, 1, n, d, 3, 0, to, n * t->three_bytes);
    for (size_t i = 0; i < n && !s; i++)
        memcpy(to + (i + 1) * t->three_bytes - t->two_bytes,
               (const unsigned char *)t->two.data + (begin + i) * t->two_bytes, t->two_bytes);
    if (s) t->bad = s; /* any of several will do */
    free(gates);
}

static ek_status bundle(struct loader *l, struct gated_block *g)
{
    const size_t       n = g->neurons.n, d = g->neurons.d;
    struct bundle_task task = {
        .gate = &g->gate_up.part[0], .two = g->neurons, .three = {g->neurons.fmt, n, d, 3, NULL}};
    size_t    bytes, gates;
    ek_status s = ek_neurons_bytes(task.two.fmt, n, d, 2, &bytes, &task.two_bytes);
    if (!s) s = ek_neurons_bytes(task.three.fmt, n, d, 3, &bytes, &task.three_bytes);
    if (!s) s = ek_weights_bytes(task.gate->fmt, n, d, &gates, NULL);
    if (s) return s;
    task.data = load_memory(l, bytes);
    if (!task.data) return EK_E_NOMEM;
    ek_parallel(loader_pool(l), n, 64, bundle_neurons, &task);
    g->bundles = task.three, g->bundles.data = task.data;
    g->bundles_most = gates / task.three_bytes; /* more would read more than all the gates */
    return task.bad;
}

ek_status predict_load(struct loader *l, struct block *b, struct error *e)
{
    const struct predictors *p = loader_predictors(l);
    struct gated_block      *g = &b->gated;
    if (!p->layers) return EK_OK;
    const struct predictor_layer *from = &p->layer[b->layer];
    const enum ek_fmt             gate = g->gate_up.part[0].fmt;
    const enum ek_fmt             fmt  = predict_format(gate, from->down.fmt);
    ek_status                     s    = pack(l, &from->down, fmt, &g->predict_down);
    if (!s) s = pack(l, &from->up, fmt, &g->predict_up);
    g->predict_rule = predictors_rule(p, b->layer, g->predict_up.n);
    /* Neurons of a file are there to be in memory once at most: no copy with gates. */
    if (!s && ek_fmt_info(gate)->kind != EK_FMT_FLOAT && !g->stored) s = bundle(l, g);
    return s ? fail(e, s, "layer %zu: predictor: %s", b->layer, ek_status_text(s)) : EK_OK;
}

/* ---- running ---- */

static struct ek_predictor predictor_of(const struct gated_block       *g,
                                        const struct ek_linear_options *o)
{
    return (struct ek_predictor){.struct_size = sizeof(struct ek_predictor),
                                 .down        = &g->predict_down,
                                 .up          = &g->predict_up,
                                 .options     = o,
                                 .rule        = g->predict_rule};
}

static size_t mask_bytes(const struct gated_block *g)
{
    return whole_lines(ek_mask_words(g->predict_up.n) * sizeof(uint64_t));
}

ek_status predict_work_bytes(const struct block *b, const struct session *s, size_t m,
                             size_t *bytes)
{
    const struct ek_linear_options o = session_linear_options(s);
    const struct ek_predictor      p = predictor_of(&b->gated, &o);
    *bytes                           = 0;
    if (!predicts(&b->gated)) return EK_OK;
    ek_status err = ek_predict_work_bytes(&p, m, s->o.pool, bytes);
    *bytes += mask_bytes(&b->gated);
    if (err || !b->gated.bundles.data) return err;
    const struct ek_sparse_options few = {.struct_size = sizeof few, .activation = s->o.activation};
    size_t                         bundles;
    err = ek_sparse_work_bytes(&b->gated.bundles, b->gated.bundles_most, m, &few, &bundles);
    if (!err && bundles > *bytes) *bytes = bundles; /* one after the other */
    return err;
}

/* Rows that are read for those of a list: whole panels of packed ones. */
static size_t rows_read(const struct ek_weights *w, const uint32_t *list, size_t count)
{
    size_t panels = 0;
    if (w->layout != EK_LAYOUT_PANEL16) return count;
    for (size_t i = 0; i < count; i++)
        panels += !i || list[i] / EK_PANEL_ROWS != list[i - 1] / EK_PANEL_ROWS;
    return panels * EK_PANEL_ROWS < w->n ? panels * EK_PANEL_ROWS : w->n;
}

ek_status predict_list(const struct block *b, struct pass *p, const float *x, uint32_t *list,
                       size_t *count, void *work, size_t work_bytes)
{
    struct session                *s   = p->s;
    const struct gated_block      *g   = &b->gated;
    const struct ek_linear_options o   = session_linear_options(s);
    const struct ek_predictor      how = predictor_of(g, &o);
    const size_t                   own = mask_bytes(g), d = s->model->config.hidden;
    uint64_t                      *mask = work;
    ek_status err = ek_predict(&s->model->kernels, s->o.pool, &how, x, d, p->m, mask,
                               (char *)work + own, work_bytes - own);
    if (!err) err = ek_mask_list(mask, g->predict_up.n, list, g->predict_up.n, count);
    s->gates += g->predict_up.n;
    return err;
}

ek_status predict_bundles(const struct block *b, struct pass *p, const float *x,
                          const uint32_t *list, size_t count, float *y, void *work,
                          size_t work_bytes)
{
    struct session                *s = p->s;
    const struct gated_block      *g = &b->gated;
    const size_t                   d = s->model->config.hidden;
    const struct ek_sparse_options o = {
        .struct_size = sizeof o, .activation = s->o.activation, .act = s->model->config.act};
    count_taken(s, &g->neurons, count);
    s->gates_read += count;
    return ek_sparse_mlp(&s->model->kernels, s->o.pool, &g->bundles, list, count, x, d, p->m, y, d,
                         &o, work, work_bytes);
}

/* The rows of the list, one after another: of one token with the bits that all rows would have. Of
 * more tokens all rows are computed, decoded once, and those kept that are in the list. */
ek_status predict_gates(struct pass *p, const struct projection *gates, const float *x,
                        const uint32_t *list, size_t count, float *y)
{
    struct session *s = p->s;
    if (p->m == 1) {
        const struct ek_linear_options o = session_linear_options(s);
        const struct ek_head head = {.struct_size = sizeof head, .w = gates->part[0], .opt = &o};
        s->gates_read += rows_read(&gates->part[0], list, count);
        return count ? ek_head_rows(&s->model->kernels, s->o.pool, &head, x, list, count, y,
                                    s->work, s->linear_bytes)
                     : EK_OK;
    }
    const size_t    n   = gates->n;
    const ek_status err = projection_run(p, gates, x, s->model->config.hidden, y, n);
    s->gates_read += n;
    for (size_t t = 0; t < p->m; t++)
        for (size_t i = 0; i < count; i++) y[t * count + i] = y[t * n + list[i]];
    return err;
}
