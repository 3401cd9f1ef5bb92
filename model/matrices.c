/* SPDX-License-Identifier: Apache-2.0 */
/* model/matrices.c - copies matrices out of a safetensors file, and writes such files. */
#include "model/matrices.h"

#include "model/file.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* ---- reading ---- */

static const struct {
    const char *name;
    enum ek_fmt fmt;
    size_t      bytes;
} types[] = {{"F32", EK_FMT_f32, 4}, {"F16", EK_FMT_f16, 2}, {"BF16", EK_FMT_bf16, 2}};
enum { TYPES = sizeof types / sizeof *types };

enum ek_fmt matrix_format(const char *dtype)
{
    for (size_t i = 0; i < TYPES; i++)
        if (!strcmp(types[i].name, dtype)) return types[i].fmt;
    return EK_FMT_COUNT;
}

/* NaN and infinities would spread silently. */
static ek_status check_finite(const struct ek_weights *w, const char *name, const char *path,
                              struct error *e)
{
    float    *row = malloc(w->k * sizeof *row);
    ek_status s   = row ? EK_OK : fail(e, EK_E_NOMEM, "%s: out of memory", path);
    for (size_t r = 0; r < w->n && !s; r++) {
        s = ek_weights_dequantize(w, r, r + 1, row);
        for (size_t c = 0; c < w->k && !s; c++)
            if (!isfinite(row[c]))
                s = fail(e, EK_E_FORMAT, "%s: tensor %s: a value is not finite", path, name);
    }
    free(row);
    return s;
}

void free_const(const void *memory)
{
    void *p;
    memcpy(&p, &memory, sizeof p);
    free(p);
}

ek_status matrix_copy(struct ek_weights *w, const struct safetensors_entry *t, const char *path,
                      struct error *e)
{
    const enum ek_fmt fmt = matrix_format(t->dtype);
    if (fmt == EK_FMT_COUNT)
        return fail(e, EK_E_UNSUPPORTED, "%s: tensor %s: type %s is not supported", path, t->name,
                    t->dtype);
    if (t->dims < 1 || t->dims > 2 || !t->bytes)
        return fail(e, EK_E_FORMAT, "%s: tensor %s: neither a vector nor a matrix", path, t->name);
    void *copy = aligned_alloc(64, (t->bytes + 63) / 64 * 64);
    if (!copy) return fail(e, EK_E_NOMEM, "%s: tensor %s: out of memory", path, t->name);
    memcpy(copy, t->data, t->bytes);
    *w                = (struct ek_weights){.fmt    = fmt,
                                            .layout = ek_fmt_info(fmt)->layout,
                                            .n      = t->dims == 2 ? t->shape[0] : 1,
                                            .k      = t->shape[t->dims - 1],
                                            .data   = copy};
    const ek_status s = check_finite(w, t->name, path, e);
    if (s) free(copy), w->data = NULL;
    return s;
}

/* ---- writing ---- */

static size_t type_of(enum ek_fmt fmt)
{
    size_t i = 0;
    while (types[i].fmt != fmt) i++;
    return i;
}

static size_t matrix_bytes(const struct matrix *m)
{
    return m->n * m->k * types[type_of(m->fmt)].bytes;
}

/* The header's text, spaces up to the alignment of the data included; NULL when memory runs out. */
static char *header_text(const struct matrix *list, size_t count, json_t *metadata)
{
    enum { ALIGNMENT = 64 };
    json_t *root = json_object();
    size_t  at   = 0;
    int     bad  = metadata && json_object_set(root, "__metadata__", metadata);
    for (size_t i = 0; i < count; i++) {
        const struct matrix *m     = &list[i];
        const size_t         end   = at + matrix_bytes(m);
        json_t              *shape = m->dims == 1 ? json_pack("[I]", (json_int_t)m->k)
                                                  : json_pack("[I,I]", (json_int_t)m->n, (json_int_t)m->k);
        bad |= json_object_set_new(root, m->name,
                                   json_pack("{s:s, s:o, s:[I,I]}", "dtype",
                                             types[type_of(m->fmt)].name, "shape", shape,
                                             "data_offsets", (json_int_t)at, (json_int_t)end));
        at = end;
    }
    char *text = bad ? NULL : json_dumps(root, JSON_COMPACT);
    json_decref(root);
    if (!text) return NULL;
    const size_t length = strlen(text), all = sizeof(uint64_t) + length;
    const size_t whole  = (all + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - sizeof(uint64_t);
    char        *longer = realloc(text, whole + 1);
    if (!longer) {
        free(text);
        return NULL;
    }
    memset(longer + length, ' ', whole - length);
    longer[whole] = '\0';
    return longer;
}

ek_status matrices_write(const char *path, const struct matrix *list, size_t count,
                         json_t *metadata, struct error *e)
{
    struct file_writer w;
    char              *text = header_text(list, count, metadata);
    if (!text) return fail(e, EK_E_NOMEM, "%s: out of memory", path);
    const uint64_t length = strlen(text);
    ek_status      s      = file_create(&w, path, e);
    if (!s) {
        s = file_append(&w, &length, sizeof length, e);
        if (!s) s = file_append(&w, text, length, e);
        for (size_t i = 0; i < count && !s; i++)
            s = file_append(&w, list[i].data, matrix_bytes(&list[i]), e);
        const ek_status done = file_finish(&w, !s, e);
        s                    = s ? s : done;
    }
    free(text);
    return s;
}
