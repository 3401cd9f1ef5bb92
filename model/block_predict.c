/* SPDX-License-Identifier: Apache-2.0 */
/* model/block_predict.c - a sparse MLP whose gates, too, are computed only where a predictor
 * expects them to open. */
#include "model/plan.h"

#include <stdlib.h>

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

ek_status predict_load(struct loader *l, struct block *b, struct error *e)
{
    const struct predictors *p = loader_predictors(l);
    struct gated_block      *g = &b->gated;
    if (!p->layers) return EK_OK;
    const struct predictor_layer *from = &p->layer[b->layer];
    const enum ek_fmt             fmt  = predict_format(g->gate_up.part[0].fmt, from->down.fmt);
    ek_status                     s    = pack(l, &from->down, fmt, &g->predict_down);
    if (!s) s = pack(l, &from->up, fmt, &g->predict_up);
    g->predict_rule = predictors_rule(p, b->layer, g->predict_up.n);
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
    const ek_status err = ek_predict_work_bytes(&p, m, s->o.pool, bytes);
    *bytes += mask_bytes(&b->gated);
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
