/* SPDX-License-Identifier: Apache-2.0 */
/* model/source_gguf.c - GGUF files as models: tensors under their Hugging Face names. */
#include "model/ggml_blocks.h"
#include "model/gguf.h"
#include "model/names.h"
#include "model/source_inner.h"

#include <stdlib.h>
#include <string.h>

static const char FACTORS[] = "rope_freqs.weight";

static int is_named(const struct gguf_tensor *t, const char *name)
{
    return t->name.bytes == strlen(name) && !memcmp(t->name.data, name, t->name.bytes);
}

/* ---- places ---- */

static ek_status bad_tensor(const struct source *s, const struct gguf_tensor *t, ek_status status,
                            const char *what, struct error *e)
{
    return fail(e, status, "%s: tensor %.*s: %s", s->path,
                (int)(t->name.bytes < 100 ? t->name.bytes : 100), t->name.data, what);
}

/* Type, shape and place of a tensor; t->name is not set. */
static ek_status place_tensor(const struct source *s, const struct gguf_tensor *from,
                              struct tensor *t, struct error *e)
{
    static const enum ek_fmt formats[] = {EK_FMT_f32, EK_FMT_f16, EK_FMT_bf16};
    const struct gguf       *g         = s->gguf;
    if (ggml_type(from->type, &t->type))
        return fail(e, EK_E_UNSUPPORTED, "%s: tensor %.*s: type %s (%u) is not supported", s->path,
                    (int)(from->name.bytes < 100 ? from->name.bytes : 100), from->name.data,
                    ggml_type_name(from->type), (unsigned)from->type);
    if (from->ne[2] != 1 || from->ne[3] != 1)
        return bad_tensor(s, from, EK_E_FORMAT, "neither a vector nor a matrix", e);
    if (from->ne[0] % ggml_block_columns(t->type))
        return bad_tensor(s, from, EK_E_FORMAT, "rows are not whole blocks", e);
    t->fmt = t->type <= TENSOR_BF16 ? formats[t->type] : EK_FMT_q8g32;
    t->n = (size_t)from->ne[1], t->k = (size_t)from->ne[0];
    const size_t row = t->k / ggml_block_columns(t->type);
    if (__builtin_mul_overflow(row, ggml_block_bytes(t->type), &t->bytes) ||
        __builtin_mul_overflow(t->bytes, t->n, &t->bytes))
        return bad_tensor(s, from, EK_E_FORMAT, "impossible size", e);
    if (from->offset % g->alignment) return bad_tensor(s, from, EK_E_FORMAT, "misaligned", e);
    if (from->offset > g->data_bytes || t->bytes > g->data_bytes - from->offset)
        return bad_tensor(s, from, EK_E_FORMAT, "ends past the file", e);
    t->data = g->data + from->offset;
    t->file = s->path;
    return EK_OK;
}

struct place {
    const unsigned char      *begin;
    size_t                    bytes;
    const struct gguf_tensor *t;
};

static int by_place(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

static ek_status check_overlap(const struct source *s, struct place *places, struct error *e)
{
    const size_t n = s->gguf->tensor_count;
    if (n) qsort(places, n, sizeof *places, by_place);
    for (size_t i = 1; i < n; i++)
        if (places[i - 1].begin + places[i - 1].bytes > places[i].begin)
            return bad_tensor(s, places[i].t, EK_E_FORMAT, "overlaps another", e);
    return EK_OK;
}

/* ---- the tensors ---- */

static ek_status take_factors(struct source *s, const struct tensor *t, struct error *e)
{
    struct config *c = &s->config;
    if (t->type != TENSOR_F32 || t->n != 1 || t->k != c->rot / 2)
        return fail(e, EK_E_FORMAT, "%s: tensor %s: not %zu floats", s->path, FACTORS, c->rot / 2);
    return rope_from_factors(&c->rope, c->rot, t->data, s->path, e);
}

static ek_status take_tensor(struct source *s, const struct gguf_tensor *from, struct place *place,
                             struct error *e)
{
    char          name[TENSOR_NAME_MAX];
    struct tensor t   = {.name = name};
    ek_status     bad = place_tensor(s, from, &t, e);
    *place            = (struct place){t.data, t.bytes, from};
    if (bad) return bad;
    if (is_named(from, FACTORS)) return take_factors(s, &t, e);
    if (!name_from_gguf(from->name.data, from->name.bytes, name))
        return bad_tensor(s, from, EK_E_UNSUPPORTED, "no such part is known", e);
    return source_add(s, &t, e);
}

static ek_status take_tensors(struct source *s, struct error *e)
{
    const struct gguf *g      = s->gguf;
    struct place      *places = calloc(g->tensor_count + 1, sizeof *places);
    if (!places) return fail(e, EK_E_NOMEM, "%s: out of memory", s->path);
    ek_status bad = EK_OK;
    for (size_t i = 0; i < g->tensor_count && !bad; i++)
        bad = take_tensor(s, &g->tensors[i], &places[i], e);
    if (!bad) bad = check_overlap(s, places, e);
    free(places);
    return bad;
}

ek_status source_from_gguf(struct source *s, struct error *e)
{
    const ek_status bad = config_from_gguf(&s->config, s->gguf, s->path, e);
    return bad ? bad : take_tensors(s, e);
}

ek_status source_read_gguf(struct source *s, struct error *e)
{
    const ek_status bad = gguf_open(&s->gguf, s->path, e);
    if (bad) return bad;
    s->bytes = s->gguf->file.bytes;
    return source_from_gguf(s, e);
}
