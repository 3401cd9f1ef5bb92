/* SPDX-License-Identifier: Apache-2.0 */
/* model/container.c - what the metadata of our own safetensors files says. */
#include "model/container.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ek/sparse.h"
#include "model/container_inner.h"

ek_status container_version(const json_t *metadata, const char *file, int *own, struct error *e)
{
    const json_t *v = json_object_get(metadata, CONTAINER_KEY);
    *own            = v != NULL;
    if (v && (!json_is_string(v) || strcmp(json_string_value(v), CONTAINER_VERSION) != 0))
        return fail(e, EK_E_UNSUPPORTED, "%s: written by a later version of edgekern", file);
    return EK_OK;
}

/* The number behind "key=" in "format=q4g32 rows=2048 ..."; 0 where there is none. */
static int number_of(const char *text, const char *key, int base, uint64_t *out)
{
    const size_t n = strlen(key);
    for (const char *at = text; (at = strstr(at, key)); at += n) {
        if ((at != text && at[-1] != ' ') || at[n] != '=') continue;
        const char *digits = at + n + 1;
        char       *end;
        errno = 0;
        *out  = strtoull(digits, &end, base);
        return *digits >= '0' && *digits <= 'f' && end != digits && !errno &&
               (*end == ' ' || !*end);
    }
    return 0;
}

static int format_of(const char *text, enum ek_fmt *fmt)
{
    char         name[16];
    const size_t key = strlen("format=");
    if (strncmp(text, "format=", key) != 0) return 0;
    const size_t n = strcspn(text + key, " ");
    if (n >= sizeof name) return 0;
    memcpy(name, text + key, n);
    name[n] = '\0';
    return !ek_fmt_from_name(name, fmt);
}

static int is_panels(uint64_t layout, enum ek_fmt fmt)
{
    return layout == EK_LAYOUT_PANEL16 && ek_fmt_info(fmt)->layout == EK_LAYOUT_PANEL16;
}

static ek_status describe_packed(struct tensor *t, const char *text, struct error *e)
{
    uint64_t rows, columns, layout, version, parts = 0;
    size_t   bytes;
    if (!format_of(text, &t->fmt) || !number_of(text, "rows", 10, &rows) ||
        !number_of(text, "columns", 10, &columns) || !number_of(text, "layout", 10, &layout) ||
        !number_of(text, "version", 10, &version))
        return fail(e, EK_E_FORMAT, "%s: tensor %s: metadata: not understood", t->file, t->name);
    const int neurons = layout == EK_LAYOUT_NEURON;
    if (version != CONTAINER_LAYOUT_VERSION ||
        !(neurons ? number_of(text, "parts", 10, &parts) && parts == CONTAINER_NEURON_ROWS &&
                        ek_neuron_width(t->fmt, 1)
                  : is_panels(layout, t->fmt)))
        return fail(e, EK_E_UNSUPPORTED, "%s: tensor %s: metadata: another layout", t->file,
                    t->name);
    const ek_status sized = neurons ? ek_neurons_bytes(t->fmt, rows, columns, parts, &bytes, NULL)
                                    : ek_weights_bytes(t->fmt, rows, columns, &bytes, NULL);
    if (sized || bytes != t->bytes)
        return fail(e, EK_E_FORMAT, "%s: tensor %s: its shape and its bytes do not agree", t->file,
                    t->name);
    if ((uintptr_t)t->data % CONTAINER_ALIGNMENT)
        return fail(e, EK_E_FORMAT, "%s: tensor %s: misaligned", t->file, t->name);
    t->type = neurons ? TENSOR_NEURONS : TENSOR_PACKED;
    t->n = rows, t->k = columns;
    return EK_OK;
}

ek_status container_describe(struct tensor *t, const json_t *metadata, int packed, struct error *e)
{
    const char *text = json_string_value(json_object_get(metadata, t->name));
    if (!text || !number_of(text, "checksum", 16, &t->checksum))
        return fail(e, EK_E_FORMAT, "%s: tensor %s: metadata: no checksum", t->file, t->name);
    return packed ? describe_packed(t, text, e) : EK_OK;
}
