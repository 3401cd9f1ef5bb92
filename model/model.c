/* SPDX-License-Identifier: Apache-2.0 */
/* model/model.c - from a source's tensors to a plan of blocks with weights ready for kernels. */
#include "model/model.h"

#include "model/clock.h"
#include "model/file.h"
#include "model/gguf.h"
#include "model/plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_MAX_BYTES = 192 };

struct loader {
    struct model               *m;
    const struct model_options *o;
    uint64_t                    done; /* bytes of tensors that are ready */
};

const ek_pool *loader_pool(const struct loader *l)
{
    return l->o ? l->o->pool : NULL;
}

const struct predictors *loader_predictors(const struct loader *l)
{
    return &l->m->predictors;
}

ek_status load_threshold(struct loader *l, size_t layer, float *out, struct error *e)
{
    const float *values = l->m->thresholds.value[TAP_MLP_GATE];
    *out                = 0;
    if (!values && load_neurons(l, layer)) return EK_OK;
    if (!values)
        return fail(e, EK_E_ARG, "%s: no threshold for layer %zu", l->m->source->path, layer);
    *out = values[layer];
    return EK_OK;
}

const struct config *loader_config(const struct loader *l)
{
    return &l->m->config;
}

uint64_t loader_checksum(const struct loader *l)
{
    return l->o && l->o->made_for ? l->o->made_for : model_checksum(l->m);
}

struct model *loader_model(const struct loader *l)
{
    return l->m;
}

/* ---- memory ---- */

/* 64-byte aligned, freed with the model; large pieces on huge pages where the system has them. */
static void *own(struct model *m, size_t bytes)
{
    if (m->owned_count == m->owned_room) {
        const size_t room = m->owned_room ? 2 * m->owned_room : 64;
        void       **list = realloc(m->owned, room * sizeof *list);
        if (!list) return NULL;
        m->owned = list, m->owned_room = room;
    }
    const size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : 64;
    if (bytes > SIZE_MAX - align) return NULL;
    void *p = aligned_alloc(align, (bytes + align - 1) / align * align);
    if (!p) return NULL;
    want_huge_pages(p, bytes);
    return m->owned[m->owned_count++] = p;
}

void *load_memory(struct loader *l, size_t bytes)
{
    l->m->packed_bytes += bytes;
    return own(l->m, bytes);
}

/* ---- tensors ---- */

static const struct tensor *find(const struct loader *l, size_t layer, const char *rest)
{
    char name[NAME_MAX_BYTES + 40];
    snprintf(name, sizeof name, "model.layers.%zu.%s", layer, rest);
    return source_find(l->m->source, name);
}

const struct tensor *load_neurons(const struct loader *l, size_t layer)
{
    const struct tensor *t = find(l, layer, "mlp.neurons.weight");
    return t && t->type == TENSOR_NEURONS ? t : NULL;
}

static ek_status missing(const struct loader *l, size_t layer, const char *rest, struct error *e)
{
    return fail(e, EK_E_FORMAT, "%s: tensor model.layers.%zu.%s is missing", l->m->source->path,
                layer, rest);
}

static ek_status wrong_shape(const struct tensor *t, size_t n, size_t k, struct error *e)
{
    return fail(e, EK_E_FORMAT, "%s: tensor %s is %zu x %zu, not %zu x %zu", t->file, t->name, t->n,
                t->k, n, k);
}

static void report(struct loader *l, const struct tensor *t)
{
    l->done += t->bytes;
    if (l->o && l->o->progress)
        l->o->progress(l->o->progress_self, "load", l->done, l->m->source->bytes);
}

/* A matrix of the expected shape, where it lies if its layout allows. */
static ek_status take_matrix(struct loader *l, const struct tensor *t, size_t n, size_t k,
                             struct ek_weights *w, struct error *e)
{
    if (t->n != n || t->k != k) return wrong_shape(t, n, k, e);
    const enum ek_fmt fmt = tensor_format(t, NULL);
    size_t            bytes;
    const ek_status   s = ek_weights_bytes(fmt, n, k, &bytes, NULL);
    if (s) return fail(e, s, "%s: tensor %s: %s", t->file, t->name, ek_status_text(s));
    if (!tensor_packs(t, fmt)) {
        report(l, t);
        return tensor_weights(t, fmt, NULL, NULL, w, e);
    }
    void *mem = own(l->m, bytes);
    if (!mem) return fail(e, EK_E_NOMEM, "%s: tensor %s: out of memory", t->file, t->name);
    l->m->packed_bytes += bytes;
    const ek_status packed = tensor_weights(t, fmt, l->o ? l->o->pool : NULL, mem, w, e);
    report(l, t);
    return packed;
}

static ek_status take_vector(struct loader *l, const struct tensor *t, size_t n, float *out,
                             struct error *e)
{
    if (t->n * t->k != n) return wrong_shape(t, 1, n, e);
    report(l, t);
    return tensor_floats(t, 0, t->n, out, e);
}

ek_status load_vector(struct loader *l, size_t layer, const char *name, size_t n, const float **out,
                      struct error *e)
{
    const struct tensor *t = find(l, layer, name);
    if (!t) return missing(l, layer, name, e);
    float *v = own(l->m, n * sizeof *v);
    if (!v) return fail(e, EK_E_NOMEM, "%s: tensor %s: out of memory", t->file, t->name);
    *out = v;
    return take_vector(l, t, n, v, e);
}

/* Biases of the parts, one behind the other; fused: in one tensor. */
static ek_status load_bias(struct loader *l, size_t layer, const struct projection_spec *spec,
                           struct projection *p, struct error *e)
{
    char   name[NAME_MAX_BYTES];
    size_t at   = 0;
    float *bias = own(l->m, p->n * sizeof *bias);
    if (!bias) return fail(e, EK_E_NOMEM, "%s: out of memory", l->m->source->path);
    p->bias = bias;
    if (spec->fused) {
        snprintf(name, sizeof name, "%s.bias", spec->fused);
        const struct tensor *t = find(l, layer, name);
        if (t) return take_vector(l, t, p->n, bias, e);
    }
    for (size_t i = 0; i < spec->parts; i++) {
        snprintf(name, sizeof name, "%s.bias", spec->names[i]);
        const struct tensor *t = find(l, layer, name);
        if (!t) return missing(l, layer, name, e);
        const ek_status s = take_vector(l, t, spec->rows[i], bias + at, e);
        if (s) return s;
        at += spec->rows[i];
    }
    return EK_OK;
}

ek_status load_projection(struct loader *l, size_t layer, const struct projection_spec *spec,
                          struct projection *p, struct error *e)
{
    char                 name[NAME_MAX_BYTES];
    const struct tensor *t = NULL;
    p->n = 0, p->k = spec->k;
    for (size_t i = 0; i < spec->parts; i++) p->n += spec->rows[i];
    if (spec->fused) {
        snprintf(name, sizeof name, "%s.weight", spec->fused);
        t = find(l, layer, name);
    }
    ek_status s = EK_OK;
    if (t) {
        p->parts = 1;
        s        = take_matrix(l, t, p->n, p->k, &p->part[0], e);
    }
    for (size_t i = 0; !t && !s && i < spec->parts; i++) {
        snprintf(name, sizeof name, "%s.weight", spec->names[i]);
        const struct tensor *part = find(l, layer, name);
        if (!part) return missing(l, layer, name, e);
        p->parts = i + 1;
        s        = take_matrix(l, part, spec->rows[i], p->k, &p->part[i], e);
    }
    const float *values = spec->input < TAP_COUNT ? l->m->thresholds.value[spec->input] : NULL;
    if (!s && values) s = columns_load(l, p, values[layer], e);
    return !s && spec->bias ? load_bias(l, layer, spec, p, e) : s;
}

/* ---- the ends: embedding, final norm, head ---- */

static ek_status load_ends(struct loader *l, struct error *e)
{
    struct model        *m    = l->m;
    const struct config *c    = &m->config;
    const struct source *src  = m->source;
    const struct tensor *emb  = source_find(src, "model.embed_tokens.weight");
    const struct tensor *head = source_find(src, "lm_head.weight");
    const struct tensor *norm = source_find(src, "model.norm.weight");
    if (!emb && c->tied) emb = head;
    if (!head && c->tied) head = emb;
    if (!emb || !head || !norm)
        return fail(e, EK_E_FORMAT, "%s: tensor %s is missing", src->path,
                    !emb    ? "model.embed_tokens.weight"
                    : !head ? "lm_head.weight"
                            : "model.norm.weight");
    ek_status s = take_matrix(l, emb, c->vocab, c->hidden, &m->embedding, e);
    m->head =
        (struct projection){.part = {m->embedding}, .parts = 1, .n = c->vocab, .k = c->hidden};
    if (!s && head != emb) s = take_matrix(l, head, c->vocab, c->hidden, &m->head.part[0], e);
    if (s) return s;
    float *v = own(m, c->hidden * sizeof *v);
    if (!v) return fail(e, EK_E_NOMEM, "%s: out of memory", src->path);
    m->norm = v;
    return take_vector(l, norm, c->hidden, v, e);
}

/* ---- the plan ---- */

static const struct block_kind *const llama_like[] = {&block_attention, &block_gated};

/* What stands in the plan for a kind: thresholds make MLPs sparse, as do stored neurons. */
static const struct block_kind *planned(const struct loader *l, size_t layer,
                                        const struct block_kind *kind)
{
    const int sparse = l->m->thresholds.value[TAP_MLP_GATE] || load_neurons(l, layer);
    return kind == &block_gated && sparse ? &block_sparse : kind;
}

static ek_status read_thresholds(struct loader *l, struct error *e)
{
    struct model *m = l->m;
    if (!l->o || !l->o->sparse) return EK_OK;
    return thresholds_read(&m->thresholds, l->o->sparse, m->config.layers, loader_checksum(l), e);
}

static ek_status read_predictors(struct loader *l, struct error *e)
{
    struct model               *m    = l->m;
    const struct predictors_for what = {tap_name(TAP_MLP_IN), m->config.layers, m->config.hidden,
                                        m->config.ffn, loader_checksum(l)};
    if (!l->o || !l->o->predictor) return EK_OK;
    if (!m->thresholds.value[TAP_MLP_GATE])
        return fail(e, EK_E_ARG, "%s: predictors need thresholds of gates beside them",
                    l->o->predictor);
    return predictors_read(&m->predictors, l->o->predictor, &what, e);
}

static ek_status load_plan(struct loader *l, struct error *e)
{
    enum { PER_LAYER = sizeof llama_like / sizeof *llama_like };
    struct model *m    = l->m;
    struct cuts   cuts = {.left_out = NULL};
    const size_t  all  = m->config.layers * PER_LAYER;
    ek_status     s    = EK_OK;
    if (l->o && l->o->cuts) s = cuts_read(&cuts, l->o->cuts, m->config.layers, e);
    if (!s) s = read_thresholds(l, e);
    if (!s) s = read_predictors(l, e);
    m->blocks = calloc(all, sizeof *m->blocks);
    if (!s && !m->blocks) s = fail(e, EK_E_NOMEM, "%s: out of memory", m->source->path);
    for (size_t i = 0; !s && i < all; i++) {
        const struct block_kind *kind = planned(l, i / PER_LAYER, llama_like[i % PER_LAYER]);
        struct block            *b    = &m->blocks[m->block_count];
        if (cuts.left_out && cuts.left_out[i / PER_LAYER] & kind->cut) {
            m->blocks_cut++;
            continue;
        }
        b->kind = kind, b->layer = i / PER_LAYER;
        m->block_count++;
        s = kind->load(l, b, e);
    }
    cuts_drop(&cuts);
    predictors_drop(&m->predictors); /* the blocks have them now */
    if (!s) s = load_ends(l, e);
    return !s && l->o ? head_load(l, l->o, e) : s;
}

/* ---- public ---- */

ek_status model_open(struct model **out, const char *path, const struct model_options *o,
                     struct error *e)
{
    const double  start = seconds_now();
    struct model *m     = calloc(1, sizeof *m);
    if (!m) return fail(e, EK_E_NOMEM, "%s: out of memory", path);
    struct loader l = {.m = m, .o = o};
    ek_status     s = ek_kernels_default(&m->kernels);
    if (s) fail(e, s, "EK_ISA=%s: unknown name", getenv("EK_ISA"));
    if (!s) s = source_open(&m->source, path, e);
    if (!s) {
        m->config = m->source->config;
        s         = load_plan(&l, e);
    }
    if (s) {
        model_close(m);
        return s;
    }
    model_name_type(m);
    m->load_ms = 1e3 * (seconds_now() - start);
    *out       = m;
    return EK_OK;
}

void model_close(struct model *m)
{
    if (!m) return;
    for (size_t i = 0; i < m->owned_count; i++) free(m->owned[i]);
    free(m->owned);
    thresholds_drop(&m->thresholds);
    predictors_drop(&m->predictors);
    router_drop(&m->short_head.router);
    free(m->blocks);
    if (m->tokenizer) tokenizer_close(m->tokenizer);
    if (m->source) source_close(m->source);
    free(m);
}

const struct config *model_config(const struct model *m)
{
    return &m->config;
}

const struct tokenizer *model_tokenizer(struct model *m, struct error *e)
{
    if (m->tokenizer) return m->tokenizer;
    const struct source *s   = m->source;
    const ek_status      bad = s->gguf ? tokenizer_from_gguf(&m->tokenizer, s->gguf, s->path, e)
                                       : tokenizer_open(&m->tokenizer, s->path, e);
    return bad ? NULL : m->tokenizer;
}
