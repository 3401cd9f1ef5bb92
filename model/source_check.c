/* SPDX-License-Identifier: Apache-2.0 */
/* model/source_check.c - holds the tensors of a source against its config. */
#include "model/names.h"
#include "model/source_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_name(const void *a, const void *b)
{
    const struct tensor *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* ---- one part ---- */

struct check {
    const struct source *s;
    unsigned char       *used; /* for each tensor */
    struct error        *e;
};

/* Is t n x k and of a type that its role can have? */
static ek_status check_tensor(const struct check *c, const struct tensor *t, enum part_role role,
                              size_t n, size_t k)
{
    if (t->n != n || t->k != k)
        return fail(c->e, EK_E_FORMAT,
                    "%s: tensor %s: is %zu x %zu where the config asks for %zu x %zu", t->file,
                    t->name, t->n, t->k, n, k);
    if ((role == PART_NORM || role == PART_BIAS) && t->type > TENSOR_BF16)
        return fail(c->e, EK_E_FORMAT, "%s: tensor %s: type %s; vectors are floats", t->file,
                    t->name, tensor_type_name(t->type));
    if ((t->type == TENSOR_NEURONS) != (role == PART_NEURONS))
        return fail(c->e, EK_E_FORMAT,
                    "%s: tensor %s: neurons where a matrix belongs, or the other way", t->file,
                    t->name);
    c->used[t - c->s->tensors] = 1;
    return EK_OK;
}

static ek_status check_part(void *self, const struct part *p)
{
    struct check        *c = self;
    const struct config *g = &c->s->config;
    const struct tensor *t = source_find(c->s, p->name);
    if (t) return check_tensor(c, t, p->role, p->n, p->k);
    if (p->fuse != FUSE_NONE) {
        char         name[TENSOR_NAME_MAX];
        const size_t rows =
            fuse_parts(p->fuse) == 3 ? (g->heads + 2 * g->kv_heads) * g->head_dim : 2 * g->ffn;
        fuse_name(p->fuse, p->name, name);
        t = source_find(c->s, name);
        if (t && p->role == PART_BIAS) return check_tensor(c, t, p->role, 1, rows);
        if (t) return check_tensor(c, t, p->role, rows, p->k);
    }
    char neurons[TENSOR_NAME_MAX];
    t = neurons_name(p->name, neurons) ? source_find(c->s, neurons) : NULL;
    if (t && t->type == TENSOR_NEURONS) return check_tensor(c, t, PART_NEURONS, g->ffn, g->hidden);
    return fail(c->e, EK_E_FORMAT, "%s: tensor %s: missing", c->s->path, p->name);
}

/* ---- the whole ---- */

static int ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* Derived from the config by whoever wrote the file, or a copy of what is tied. */
static int is_redundant(const struct source *s, const struct tensor *t)
{
    return ends_with(t->name, ".rotary_emb.inv_freq") ||
           (s->config.tied && !strcmp(t->name, "lm_head.weight"));
}

static void drop_redundant(struct source *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->count; i++)
        if (!is_redundant(s, &s->tensors[i])) s->tensors[kept++] = s->tensors[i];
    s->count = kept;
}

/* A head that is tied may be stored under either name: the embedding's is the one used here. */
static void settle_tying(struct source *s)
{
    static const char    embed[] = "model.embed_tokens.weight";
    const struct tensor *head    = source_find(s, "lm_head.weight");
    if (s->config.tied == CONFIG_TIED_UNSAID) s->config.tied = !head;
    if (!s->config.tied || !head || source_find(s, embed)) return;
    s->tensors[head - s->tensors].name = embed;
    qsort(s->tensors, s->count, sizeof *s->tensors, by_name);
}

ek_status source_check(struct source *s, struct error *e)
{
    if (s->count) qsort(s->tensors, s->count, sizeof *s->tensors, by_name);
    for (size_t i = 1; i < s->count; i++)
        if (!by_name(&s->tensors[i - 1], &s->tensors[i]))
            return fail(e, EK_E_FORMAT, "%s: tensor %s: there twice", s->tensors[i].file,
                        s->tensors[i].name);
    settle_tying(s);
    drop_redundant(s);
    struct check c = {.s = s, .used = calloc(s->count + 1, 1), .e = e};
    if (!c.used) return fail(e, EK_E_NOMEM, "%s: out of memory", s->path);
    ek_status bad = parts_visit(&s->config, check_part, &c);
    for (size_t i = 0; i < s->count && !bad; i++)
        if (!c.used[i])
            bad = fail(e, EK_E_UNSUPPORTED, "%s: tensor %s: %s has no such part",
                       s->tensors[i].file, s->tensors[i].name, s->config.arch);
    free(c.used);
    return bad;
}
