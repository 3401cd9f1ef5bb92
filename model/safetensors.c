/* SPDX-License-Identifier: Apache-2.0 */
/* model/safetensors.c - parses the header of a safetensors file. */
#include "model/safetensors.h"

#include "model/json.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_LIMIT = 100 << 20 }; /* as huggingface/safetensors */

static size_t dtype_bytes(const char *dtype)
{
    static const struct {
        const char *name;
        size_t      bytes;
    } known[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2},    {"U8", 1},     {"I8", 1},  {"BOOL", 1},
                 {"I16", 2}, {"U16", 2}, {"I32", 4},     {"U32", 4},    {"F64", 8}, {"I64", 8},
                 {"U64", 8}, {"C64", 8}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(dtype, known[i].name)) return known[i].bytes;
    return 0;
}

static ek_status bad_entry(const struct json_in *in, const struct safetensors_entry *t,
                           const char *what)
{
    return fail(in->e, EK_E_FORMAT, "%s: tensor %s: %s", in->path, t->name, what);
}

/* A JSON integer as a size; 0 where it is none. */
static int size_from(const json_t *v, size_t *out)
{
    if (!json_is_integer(v) || json_integer_value(v) < 0) return 0;
    *out = (size_t)json_integer_value(v);
    return 1;
}

static ek_status parse_shape(const struct json_in *in, struct safetensors_entry *t,
                             const json_t *shape, size_t *elements)
{
    *elements = 1;
    if (!json_is_array(shape) || json_array_size(shape) > SAFETENSORS_DIMS)
        return bad_entry(in, t, "shape: not a list of at most 8 sizes");
    t->dims = (unsigned)json_array_size(shape);
    for (size_t i = 0; i < SAFETENSORS_DIMS; i++) {
        t->shape[i] = 1;
        if (i < t->dims && !size_from(json_array_get(shape, i), &t->shape[i]))
            return bad_entry(in, t, "shape: not a list of sizes");
        if (__builtin_mul_overflow(*elements, t->shape[i], elements))
            return bad_entry(in, t, "shape: impossibly large");
    }
    return EK_OK;
}

static ek_status parse_entry(const struct json_in *in, struct safetensors_entry *t, const json_t *o,
                             size_t data_bytes)
{
    const json_t *offsets = json_object_get(o, "data_offsets");
    const char   *dtype   = json_string_value(json_object_get(o, "dtype"));
    size_t        elements, bytes, end;
    if (!dtype) return bad_entry(in, t, "dtype: missing");
    t->dtype            = dtype;
    const ek_status bad = parse_shape(in, t, json_object_get(o, "shape"), &elements);
    if (bad) return bad;
    if (!dtype_bytes(dtype))
        return fail(in->e, EK_E_UNSUPPORTED, "%s: tensor %s: type %s is not supported", in->path,
                    t->name, dtype);
    if (json_array_size(offsets) != 2 || !size_from(json_array_get(offsets, 0), &t->begin) ||
        !size_from(json_array_get(offsets, 1), &end) || end < t->begin)
        return bad_entry(in, t, "data_offsets: not a begin and an end");
    if (end > data_bytes) return bad_entry(in, t, "ends past the file");
    t->bytes = end - t->begin;
    if (__builtin_mul_overflow(elements, dtype_bytes(dtype), &bytes) || bytes != t->bytes)
        return bad_entry(in, t, "its shape and its bytes do not agree");
    return EK_OK;
}

static int by_place(const void *a, const void *b)
{
    const struct safetensors_entry *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes); /* empty ones first */
}

static ek_status check_places(struct safetensors *s, const struct json_in *in, size_t data_bytes)
{
    size_t at = 0;
    if (s->count) qsort(s->entries, s->count, sizeof *s->entries, by_place);
    for (size_t i = 0; i < s->count; i++) {
        if (s->entries[i].begin < at) return bad_entry(in, &s->entries[i], "overlaps another");
        if (s->entries[i].begin > at) return bad_entry(in, &s->entries[i], "a gap lies before it");
        at += s->entries[i].bytes;
    }
    if (at != data_bytes)
        return fail(in->e, EK_E_FORMAT, "%s: %zu bytes after the last tensor", in->path,
                    data_bytes - at);
    return EK_OK;
}

static ek_status parse_entries(struct safetensors *s, const struct json_in *in,
                               const unsigned char *data, size_t data_bytes)
{
    const char *key;
    json_t     *value;
    s->entries = calloc(json_object_size(s->root) + 1, sizeof *s->entries);
    if (!s->entries) return fail(in->e, EK_E_NOMEM, "%s: out of memory", in->path);
    json_object_foreach(s->root, key, value)
    {
        if (!strcmp(key, "__metadata__")) {
            if (!json_is_object(value))
                return fail(in->e, EK_E_FORMAT, "%s: __metadata__: not an object", in->path);
            s->metadata = value;
            continue;
        }
        struct safetensors_entry *t = &s->entries[s->count++];
        t->name                     = key;
        const ek_status bad         = parse_entry(in, t, value, data_bytes);
        if (bad) return bad;
        t->data = data + t->begin;
    }
    return check_places(s, in, data_bytes);
}

ek_status safetensors_parse(struct safetensors *s, const void *data, size_t bytes, const char *path,
                            struct error *e)
{
    struct json_in in     = {.path = path, .e = e};
    uint64_t       header = 0;
    *s                    = (struct safetensors){.root = NULL};
    if (bytes < sizeof header)
        return fail(e, EK_E_FORMAT, "%s: shorter than a safetensors header", path);
    memcpy(&header, data, sizeof header);
    bytes -= sizeof header;
    if (header > bytes || header > HEADER_LIMIT)
        return fail(e, EK_E_FORMAT, "%s: header of %llu bytes: truncated, or no safetensors file",
                    path, (unsigned long long)header);
    const unsigned char *text = (const unsigned char *)data + sizeof header;
    s->root                   = json_in_parse(&in, (const char *)text, (size_t)header);
    if (!s->root) return in.bad;
    const ek_status bad = parse_entries(s, &in, text + header, bytes - (size_t)header);
    if (bad) safetensors_free(s);
    return bad;
}

void safetensors_free(struct safetensors *s)
{
    json_decref(s->root);
    free(s->entries);
    *s = (struct safetensors){.root = NULL};
}
