/* SPDX-License-Identifier: Apache-2.0 */
/* model/predictors.c - reading predictors, refusing those of another model or tap; writing them. */
#include "model/predictors.h"

#include "model/file.h"
#include "model/matrices.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const rules[] = {"threshold", "topk", "gauss", "sigma"}; /* enum ek_rule_kind */
enum { RULES = sizeof rules / sizeof *rules };

struct ek_mask_rule predictors_rule(const struct predictors *p, size_t layer, size_t n)
{
    const double value = p->layer[layer].value, k = ceil(value * (double)n);
    return (struct ek_mask_rule){.struct_size = sizeof(struct ek_mask_rule),
                                 .kind        = p->rule,
                                 .value       = value,
                                 .k           = p->rule == EK_RULE_TOPK ? (size_t)k : 0};
}

void predictors_drop(struct predictors *p)
{
    for (size_t i = 0; i < p->layers && p->layer; i++) {
        free_const(p->layer[i].down.data);
        free_const(p->layer[i].up.data);
    }
    free(p->layer);
    *p = (struct predictors){.layer = NULL};
}

/* ---- reading ---- */

struct reading {
    struct predictors           *p;
    const struct predictors_for *what;
    const struct safetensors    *st;
    const char                  *path;
    struct error                *e;
};

static const char *text_of(const struct reading *r, const char *key)
{
    return json_string_value(json_object_get(r->st->metadata, key));
}

static ek_status expect(const struct reading *r, const char *key, const char *want,
                        const char *what)
{
    const char *have = text_of(r, key);
    if (have && !strcmp(have, want)) return EK_OK;
    return fail(r->e, EK_E_ARG, "%s: %s: %s %s, not %s", r->path, key, what,
                have ? have : "missing", want);
}

static ek_status read_facts(const struct reading *r)
{
    char        version[16], hash[32];
    const char *rule = text_of(r, "rule");
    snprintf(version, sizeof version, "%d", PREDICTORS_VERSION);
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)r->what->checksum);
    ek_status s = expect(r, "format", PREDICTORS_FORMAT, "this is");
    if (!s) s = expect(r, "version", version, "this is");
    if (!s) s = expect(r, "tap", r->what->tap, "made for");
    if (!s) s = expect(r, "model_checksum", hash, "made for the model");
    size_t i = 0;
    while (rule && i < RULES && strcmp(rules[i], rule) != 0) i++;
    if (!s && (!rule || i == RULES))
        s = fail(r->e, EK_E_UNSUPPORTED, "%s: rule: %s is not supported", r->path,
                 rule ? rule : "a missing one");
    r->p->rule = (enum ek_rule_kind)i;
    return s;
}

static int possible(enum ek_rule_kind rule, double v)
{
    if (rule == EK_RULE_TOPK) return v > 0 && v <= 1;
    if (rule == EK_RULE_GAUSS) return v > 0 && v < 1;
    return isfinite(v);
}

/* "0.5 -1.25 3": one for each layer. */
static ek_status read_values(const struct reading *r)
{
    const char *at = text_of(r, "values");
    for (size_t i = 0; i < r->what->layers; i++) {
        char        *end = NULL;
        const double v   = at ? strtod(at, &end) : 0;
        if (!at || end == at || !possible(r->p->rule, v))
            return fail(r->e, EK_E_FORMAT, "%s: values: not one for each layer that %s can have",
                        r->path, rules[r->p->rule]);
        r->p->layer[i].value = v, at = end;
    }
    if (at[strspn(at, " ")] != '\0')
        return fail(r->e, EK_E_FORMAT, "%s: values: more than the %zu layers", r->path,
                    r->what->layers);
    return EK_OK;
}

/* One matrix; n = 0: of any number of rows, k = 0: of any number of columns. */
static ek_status read_matrix(const struct reading *r, size_t layer, const char *which, size_t n,
                             size_t k, struct ek_weights *w)
{
    char name[64];
    snprintf(name, sizeof name, "layers.%zu.%s", layer, which);
    for (size_t i = 0; i < r->st->count; i++) {
        const struct safetensors_entry *t = &r->st->entries[i];
        if (strcmp(t->name, name) != 0) continue;
        if (t->dims != 2 || (n && t->shape[0] != n) || (k && t->shape[1] != k))
            return fail(r->e, EK_E_FORMAT,
                        "%s: tensor %s: its shape does not fit the model or its "
                        "other half",
                        r->path, name);
        return matrix_copy(w, t, r->path, r->e);
    }
    return fail(r->e, EK_E_FORMAT, "%s: tensor %s: missing", r->path, name);
}

static ek_status read_layers(const struct reading *r)
{
    ek_status s = EK_OK;
    for (size_t i = 0; i < r->what->layers && !s; i++) {
        struct predictor_layer *l = &r->p->layer[i];
        s                         = read_matrix(r, i, "down", 0, r->what->hidden, &l->down);
        if (!s) s = read_matrix(r, i, "up", r->what->ffn, l->down.n, &l->up);
    }
    return s;
}

ek_status predictors_parse(struct predictors *p, const void *data, size_t bytes, const char *path,
                           const struct predictors_for *what, struct error *e)
{
    struct safetensors st;
    struct reading     r = {p, what, &st, path, e};
    *p                   = (struct predictors){.layers = 0};
    ek_status s          = safetensors_parse(&st, data, bytes, path, e);
    if (s) return s;
    p->layers = what->layers;
    s         = read_facts(&r);
    p->layer  = calloc(what->layers + 1, sizeof *p->layer);
    if (!s && !p->layer) s = fail(e, EK_E_NOMEM, "%s: out of memory", path);
    if (!s) s = read_values(&r);
    if (!s) s = read_layers(&r);
    safetensors_free(&st);
    if (s) predictors_drop(p);
    return s;
}

ek_status predictors_read(struct predictors *p, const char *path, const struct predictors_for *what,
                          struct error *e)
{
    struct file f;
    *p          = (struct predictors){.layers = 0};
    ek_status s = file_map(&f, path, e);
    if (s) return s;
    s = predictors_parse(p, f.data ? (const void *)f.data : "", f.bytes, path, what, e);
    file_unmap(&f);
    return s;
}

/* ---- writing ---- */

static json_t *metadata_of(const struct predictors *p, const struct predictors_for *what,
                           uint64_t text)
{
    char  *values = NULL;
    size_t bytes  = 0;
    FILE  *f      = open_memstream(&values, &bytes);
    if (!f) return NULL;
    for (size_t i = 0; i < p->layers; i++) fprintf(f, i ? " %.9g" : "%.9g", p->layer[i].value);
    const int bad = fclose(f);
    json_t   *m   = json_object();
    if (!bad) {
        json_object_set_new(m, "format", json_string(PREDICTORS_FORMAT));
        json_object_set_new(m, "version", json_sprintf("%d", PREDICTORS_VERSION));
        json_object_set_new(m, "tap", json_string(what->tap));
        json_object_set_new(m, "model_checksum",
                            json_sprintf("%016llx", (unsigned long long)what->checksum));
        json_object_set_new(m, "text_checksum", json_sprintf("%016llx", (unsigned long long)text));
        json_object_set_new(m, "rank", json_sprintf("%zu", p->layer[0].down.n));
        json_object_set_new(m, "rule", json_string(rules[p->rule]));
        json_object_set_new(m, "values", json_string(values));
    }
    free(values);
    return m;
}

static struct matrix matrix_of(const struct ek_weights *w, size_t layer, const char *which)
{
    struct matrix m = {.fmt = w->fmt, .dims = 2, .n = w->n, .k = w->k, .data = w->data};
    snprintf(m.name, sizeof m.name, "layers.%zu.%s", layer, which);
    return m;
}

ek_status predictors_write(const struct predictors *p, const char *path,
                           const struct predictors_for *what, uint64_t text, struct error *e)
{
    struct matrix *list = calloc(2 * p->layers + 1, sizeof *list);
    json_t        *m    = metadata_of(p, what, text);
    for (size_t i = 0; i < p->layers && list; i++) {
        list[2 * i]     = matrix_of(&p->layer[i].down, i, "down");
        list[2 * i + 1] = matrix_of(&p->layer[i].up, i, "up");
    }
    const ek_status s = list && json_object_size(m) == 8
                            ? matrices_write(path, list, 2 * p->layers, m, e)
                            : fail(e, EK_E_NOMEM, "%s: out of memory", path);
    json_decref(m);
    free(list);
    return s;
}
