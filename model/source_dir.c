/* SPDX-License-Identifier: Apache-2.0 */
/* model/source_dir.c - model directories: Hugging Face's and our own. */
#include "model/container.h"
#include "model/json.h"
#include "model/source_inner.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { JSON_LIMIT = 64 << 20, PATH_LIMIT = 4096 };

static const char SINGLE[] = "model.safetensors";
static const char INDEX[]  = "model.safetensors.index.json";

/* ---- tensors of one file ---- */

static int float_type(const char *dtype, enum tensor_type *type)
{
    static const struct {
        const char      *name;
        enum tensor_type type;
    } known[] = {{"F32", TENSOR_F32}, {"F16", TENSOR_F16}, {"BF16", TENSOR_BF16}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(dtype, known[i].name)) {
            *type = known[i].type;
            return 1;
        }
    return 0;
}

static ek_status describe_float(struct tensor *t, const struct safetensors_entry *from,
                                struct error *e)
{
    static const enum ek_fmt formats[] = {EK_FMT_f32, EK_FMT_f16, EK_FMT_bf16};
    if (!float_type(from->dtype, &t->type))
        return fail(e, EK_E_UNSUPPORTED, "%s: tensor %s: type %s is not supported", t->file,
                    t->name, from->dtype);
    if (from->dims < 1 || from->dims > 2 || !from->bytes)
        return fail(e, EK_E_FORMAT, "%s: tensor %s: neither a vector nor a matrix", t->file,
                    t->name);
    t->fmt = formats[t->type];
    t->n   = from->dims == 2 ? from->shape[0] : 1;
    t->k   = from->shape[from->dims - 1];
    return EK_OK;
}

/* Buffers that some files carry and no reader needs, of whatever type. */
static int is_buffer(const char *name)
{
    return strstr(name, ".rotary_emb.") || strstr(name, ".masked_bias");
}

ek_status source_add_safetensors(struct source *s, const struct safetensors *st, const char *file,
                                 struct error *e)
{
    int       own;
    ek_status bad = container_version(st->metadata, file, &own, e);
    if (own) s->kind = SOURCE_EK;
    for (size_t i = 0; i < st->count && !bad; i++) {
        const struct safetensors_entry *from = &st->entries[i];
        struct tensor                   t = {.name = from->name, .file = file, .data = from->data};
        t.bytes                           = from->bytes;
        if (is_buffer(from->name)) continue;
        bad = own ? container_describe(&t, st->metadata, strcmp(from->dtype, "U8") == 0, e) : EK_OK;
        if (!bad && t.type < TENSOR_PACKED) bad = describe_float(&t, from, e);
        if (!bad) bad = source_add(s, &t, e);
    }
    return bad;
}

static ek_status read_weights(struct source *s, const char *name, struct error *e)
{
    char       *path = source_alloc(s, PATH_LIMIT);
    struct file f;
    if (!path) return fail(e, EK_E_NOMEM, "%s: out of memory", s->path);
    ek_status bad = path_join(path, PATH_LIMIT, s->path, name, e);
    if (!bad) bad = source_map(s, path, &f, e);
    if (bad) return bad;
    struct safetensors st;
    bad = safetensors_parse(&st, f.data, f.bytes, path, e);
    if (bad) return bad;
    const size_t before = s->count;
    bad                 = source_add_safetensors(s, &st, path, e);
    for (size_t i = before; i < s->count; i++) {
        struct tensor *t = &s->tensors[i];
        if (t->type == TENSOR_NEURONS)
            t->begin = (uint64_t)((const unsigned char *)t->data - f.data);
    }
    safetensors_free(&st);
    return bad;
}

/* ---- shards ---- */

/* Has an earlier entry of the map named the same file? */
static int seen_before(json_t *map, const char *upto, const char *file)
{
    const char *key;
    json_t     *value;
    json_object_foreach(map, key, value)
    {
        if (key == upto) return 0;
        if (!strcmp(json_string_value(value), file)) return 1;
    }
    return 0;
}

static ek_status read_map(struct source *s, json_t *map, const char *path, struct error *e)
{
    const char *key;
    json_t     *value;
    if (!json_is_object(map)) return fail(e, EK_E_FORMAT, "%s: weight_map: missing", path);
    json_object_foreach(map, key, value)
    {
        /* Names of other directories have no business here. */
        const char *file = json_string_value(value);
        if (!file || !*file || strchr(file, '/'))
            return fail(e, EK_E_FORMAT, "%s: %s: not the name of a file", path, key);
    }
    json_object_foreach(map, key, value)
    {
        const char *file = json_string_value(value);
        if (seen_before(map, key, file)) continue;
        const ek_status bad = read_weights(s, file, e);
        if (bad) return bad;
    }
    return EK_OK;
}

static ek_status read_index(struct source *s, const char *path, struct error *e)
{
    char     *text;
    size_t    bytes;
    ek_status bad = file_read(path, JSON_LIMIT, &text, &bytes, e);
    if (bad) return bad;
    struct json_in in   = {.path = path, .e = e};
    json_t        *root = json_in_parse(&in, text, bytes);
    free(text);
    if (!root) return in.bad;
    bad = read_map(s, json_object_get(root, "weight_map"), path, e);
    json_decref(root);
    return bad;
}

/* ---- the directory ---- */

static ek_status read_config(struct source *s, struct error *e)
{
    char      path[PATH_LIMIT], more[PATH_LIMIT];
    char     *text = NULL, *generation = NULL;
    size_t    bytes, generation_bytes  = 0;
    ek_status bad = path_join(path, sizeof path, s->path, "config.json", e);
    if (!bad) bad = path_join(more, sizeof more, s->path, "generation_config.json", e);
    if (!bad) bad = file_read(path, JSON_LIMIT, &text, &bytes, e);
    if (!bad && file_exists(more))
        bad = file_read(more, JSON_LIMIT, &generation, &generation_bytes, e);
    if (!bad) bad = config_parse(&s->config, path, text, bytes, generation, generation_bytes, e);
    free(text);
    free(generation);
    return bad;
}

ek_status source_read_directory(struct source *s, struct error *e)
{
    char path[PATH_LIMIT], index[PATH_LIMIT];
    s->kind       = SOURCE_HF;
    ek_status bad = read_config(s, e);
    if (!bad) bad = path_join(path, sizeof path, s->path, SINGLE, e);
    if (!bad) bad = path_join(index, sizeof index, s->path, INDEX, e);
    if (bad) return bad;
    if (file_exists(path)) return read_weights(s, SINGLE, e);
    if (file_exists(index)) return read_index(s, index, e);
    return fail(e, EK_E_IO, "%s: neither %s nor %s", s->path, SINGLE, INDEX);
}
