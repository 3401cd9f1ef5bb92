/* SPDX-License-Identifier: Apache-2.0 */
/* model/facts.c - what a loaded model is: bytes, parameters, names, checksum. */
#include "model/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t model_checksum(const struct model *m)
{
    enum { ENDS = 4096 };
    const uint64_t act = m->config.act;
    uint64_t       sum = checksum64(CHECKSUM_START, m->config.arch, sizeof m->config.arch);
    sum                = checksum64(sum, &act, sizeof act);
    for (size_t i = 0; i < m->source->count; i++) {
        const struct tensor *t       = &m->source->tensors[i];
        const uint64_t       facts[] = {t->type, t->fmt, t->n, t->k, t->bytes, t->checksum};
        sum                          = checksum64(sum, t->name, strlen(t->name));
        sum                          = checksum64(sum, facts, sizeof facts);
        if (t->checksum) continue; /* others: by their ends, as reading all would take seconds */
        const size_t end = t->bytes < ENDS ? t->bytes : ENDS;
        sum              = checksum64(sum, t->data, end);
        sum              = checksum64(sum, (const unsigned char *)t->data + t->bytes - end, end);
    }
    return sum;
}

static uint64_t weight_bytes(const struct ek_weights *w)
{
    size_t bytes = 0;
    (void)ek_weights_bytes(w->fmt, w->n, w->k, &bytes, NULL);
    return bytes;
}

struct tally {
    uint64_t bytes, mlp, neurons, replaced, predictor, gates, params, by_format[EK_FMT_COUNT];
};

static void count_projection(struct tally *t, const struct projection *p)
{
    for (size_t i = 0; i < p->parts; i++) {
        const uint64_t bytes = weight_bytes(&p->part[i]);
        t->bytes += bytes, t->by_format[p->part[i].fmt] += bytes;
        t->params += (uint64_t)p->part[i].n * p->part[i].k;
    }
    if (p->bias) t->bytes += p->n * sizeof(float), t->params += p->n;
    if (!p->columns.data) return;
    size_t bytes = 0;
    (void)ek_neurons_bytes(p->columns.fmt, p->columns.n, p->columns.d, p->columns.rows, &bytes,
                           NULL);
    t->neurons += bytes;
    for (size_t i = 0; i < p->parts; i++) t->replaced += weight_bytes(&p->part[i]);
}

static void count_neurons(struct tally *t, const struct gated_block *g)
{
    const struct projection *up    = &g->gate_up;
    size_t                   bytes = 0;
    (void)ek_neurons_bytes(g->neurons.fmt, g->neurons.n, g->neurons.d, g->neurons.rows, &bytes,
                           NULL);
    t->neurons += bytes;
    if (g->stored) {
        t->bytes += bytes, t->mlp += bytes, t->replaced += bytes,
            t->by_format[g->neurons.fmt] += bytes;
        t->params += 2 * (uint64_t)g->neurons.n * g->neurons.d;
        return;
    }
    t->replaced += weight_bytes(&g->down.part[0]);
    t->replaced += up->parts > 1 ? weight_bytes(&up->part[1]) : weight_bytes(&up->part[0]) / 2;
    if (!predicts(g)) return;
    const uint64_t predictor = weight_bytes(&g->predict_down) + weight_bytes(&g->predict_up);
    t->gates += up->parts > 1 ? weight_bytes(&up->part[0]) : weight_bytes(&up->part[0]) / 2;
    t->predictor += predictor, t->bytes += predictor;
}

static struct tally count_weights(const struct model *m)
{
    struct tally t = {0};
    for (size_t i = 0; i < m->block_count; i++) {
        const struct block      *b = &m->blocks[i];
        const struct projection *p;
        const uint64_t           before = t.bytes;
        for (size_t j = 0; (p = b->kind->projection(b, j)); j++) count_projection(&t, p);
        if (b->kind->cut == CUT_MLP) t.mlp += t.bytes - before;
        if (b->kind == &block_sparse) count_neurons(&t, &b->gated);
        t.bytes += m->config.hidden * sizeof(float), t.params += m->config.hidden;
    }
    count_projection(&t, &m->head);
    t.bytes += m->config.hidden * sizeof(float), t.params += m->config.hidden;
    return t;
}

void model_name_type(struct model *m)
{
    const struct tally t   = count_weights(m);
    size_t             top = 0;
    for (size_t i = 1; i < EK_FMT_COUNT; i++)
        if (t.by_format[i] > t.by_format[top]) top = i;
    const double p = (double)t.params;
    snprintf(m->type, sizeof m->type, p >= 1e9 ? "%s %.2fB %s" : "%s %.2fM %s", m->config.arch,
             p >= 1e9 ? p * 1e-9 : p * 1e-6, ek_fmt_info((enum ek_fmt)top)->name);
}

void model_facts(const struct model *m, struct model_facts *f)
{
    const struct tally t      = count_weights(m);
    const uint64_t     emb    = weight_bytes(&m->embedding);
    const int          shared = m->embedding.data == m->head.part[0].data;
    *f =
        (struct model_facts){.type            = m->type,
                             .path            = m->source->path,
                             .file_bytes      = m->source->bytes,
                             .weight_bytes    = t.bytes + (shared ? 0 : emb),
                             .bytes_per_token = t.bytes + emb / m->config.vocab,
                             .params = t.params + (shared ? 0 : m->config.vocab * m->config.hidden),
                             .packed_bytes    = m->packed_bytes,
                             .checksum        = model_checksum(m),
                             .mlp_bytes       = t.mlp,
                             .head_bytes      = weight_bytes(&m->head.part[0]),
                             .neuron_bytes    = t.neurons,
                             .replaced_bytes  = t.replaced,
                             .predictor_bytes = t.predictor,
                             .gate_bytes      = t.gates,
                             .blocks_cut      = m->blocks_cut,
                             .load_ms         = m->load_ms};
}

/* What reads the numbers of a tap, or NULL. */
static const struct projection *reader_of(const struct model *m, enum tap tap, size_t layer)
{
    const int attention = tap == TAP_ATTN_IN || tap == TAP_ATTN_OUT;
    for (size_t i = 0; i < m->block_count; i++) {
        const struct block *b = &m->blocks[i];
        if (b->layer != layer || b->kind->cut != (attention ? CUT_ATTENTION : CUT_MLP)) continue;
        const struct projection *p = tap == TAP_ATTN_IN      ? &b->attention.qkv
                                     : tap == TAP_ATTN_OUT   ? &b->attention.out
                                     : tap == TAP_MLP_IN     ? &b->gated.gate_up
                                     : tap == TAP_MLP_HIDDEN ? &b->gated.down
                                                             : NULL;
        return p && p->parts ? p : NULL;
    }
    return NULL;
}

uint64_t model_input_bytes(const struct model *m, enum tap tap, size_t layer)
{
    const struct projection *p     = reader_of(m, tap, layer);
    uint64_t                 bytes = 0;
    for (size_t i = 0; p && i < p->parts; i++) bytes += weight_bytes(&p->part[i]);
    return bytes;
}

/* Adds the squares of a matrix' columns. */
static ek_status add_squares(const struct ek_weights *w, double *sum)
{
    enum { ROWS = 16 };
    float    *rows = malloc(ROWS * w->k * sizeof *rows);
    ek_status s    = rows ? EK_OK : EK_E_NOMEM;
    for (size_t r = 0; r < w->n && !s; r += ROWS) {
        const size_t end = r + ROWS < w->n ? r + ROWS : w->n;
        s                = ek_weights_dequantize(w, r, end, rows);
        for (size_t i = 0; i < (end - r) * w->k && !s; i++)
            sum[i % w->k] += (double)rows[i] * (double)rows[i];
    }
    free(rows);
    return s;
}

ek_status model_input_norms(const struct model *m, enum tap tap, size_t layer, float *out)
{
    const struct projection *p = reader_of(m, tap, layer);
    if (!p) return EK_E_ARG;
    double   *sum = calloc(p->k, sizeof *sum);
    ek_status s   = sum ? EK_OK : EK_E_NOMEM;
    for (size_t i = 0; i < p->parts && !s; i++) s = add_squares(&p->part[i], sum);
    for (size_t c = 0; c < p->k && !s; c++) out[c] = (float)sqrt(sum[c]);
    free(sum);
    return s;
}
