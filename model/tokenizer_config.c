/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_config.c - what lies beside a tokenizer: tokenizer_config.json and its kin. */
#include "model/tokenizer_scan.h"

#include <stdlib.h>
#include <string.h>

/* dir/name as a tree, its text too where that is wanted; NULL when there is no such file. */
static json_t *load(const char *dir, const char *name, char **text, size_t *bytes,
                    ek_status *status, struct error *e)
{
    char   path[4096], *data;
    size_t n;
    *status = path_join(path, sizeof path, dir, name, e);
    if (*status || !file_exists(path)) return NULL;
    *status = file_read(path, FILE_LIMIT, &data, &n, e);
    if (*status) return NULL;
    /* model_max_length may be 10^30, which only fits a real */
    const size_t flags = JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL;
    json_error_t err;
    json_t      *j = json_loadb(data, n, flags, &err);
    if (!j) *status = fail(e, EK_E_FORMAT, "%s: line %d: %s", path, err.line, err.text);
    if (text && j)
        *text = data, *bytes = n;
    else
        free(data);
    return j;
}

/* A token is a text, or an object with its text. */
static int32_t token_of(const struct tokenizer *t, const json_t *config, const char *key)
{
    const json_t *v    = json_object_get(config, key);
    const char   *text = json_string_value(v);
    if (!text) text = json_string_value(json_object_get(v, "content"));
    return text ? vocab_find(t, text, strlen(text)) : -1;
}

static unsigned char flag_of(const json_t *j, const char *key)
{
    return json_is_true(json_object_get(j, key)) ? 1 : 0;
}

/* "added_tokens_decoder": {"151643": {"content": ...}} */
static ek_status read_added(struct tokenizer *t, const json_t *config, struct error *e)
{
    json_t     *list = json_object_get(config, "added_tokens_decoder");
    const char *key;
    json_t     *v;
    json_object_foreach(list, key, v)
    {
        char              *end;
        const long long    id    = strtoll(key, &end, 10);
        const json_t      *text  = json_object_get(v, "content");
        const struct added flags = {.lstrip      = flag_of(v, "lstrip"),
                                    .rstrip      = flag_of(v, "rstrip"),
                                    .single_word = flag_of(v, "single_word"),
                                    .normalized  = flag_of(v, "normalized"),
                                    .special     = flag_of(v, "special")};
        if (*end || end == key || !json_is_string(text))
            return fail(e, EK_E_FORMAT, "%s: tokenizer_config.json: added_tokens_decoder: %s: bad",
                        t->path, key);
        const ek_status s =
            added_token(t, id, json_string_value(text), json_string_length(text), flags, e);
        if (s) return s;
    }
    return EK_OK;
}

/* A text, or a list of named ones: the default of them. */
static ek_status read_template(struct tokenizer *t, const json_t *config, struct error *e)
{
    const json_t *v    = json_object_get(config, "chat_template");
    const char   *text = json_string_value(v);
    for (size_t i = 0; !text && i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        const char   *name = json_string_value(json_object_get(item, "name"));
        if (name && !strcmp(name, "default"))
            text = json_string_value(json_object_get(item, "template"));
    }
    if (!text || t->chat_template) return EK_OK;
    t->chat_template = strdup(text);
    return t->chat_template ? EK_OK : fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
}

/* chat_template.jinja beside it wins: newer files have it there. */
static ek_status read_template_file(struct tokenizer *t, const char *dir, struct error *e)
{
    char      path[4096];
    size_t    bytes;
    ek_status s = path_join(path, sizeof path, dir, "chat_template.jinja", e);
    if (s || !file_exists(path) || t->chat_template) return s;
    return file_read(path, FILE_LIMIT, &t->chat_template, &bytes, e);
}

static void read_ends(struct tokenizer *t, const json_t *config)
{
    const int32_t bos = token_of(t, config, "bos_token"), eos = token_of(t, config, "eos_token");
    if (bos >= 0) t->bos = bos;
    if (eos >= 0) t->eos = eos;
    const json_t *add = json_object_get(config, "add_bos_token");
    if (json_is_false(add)) t->prefix_count = 0;
    if (json_is_true(add) && t->bos >= 0 && !t->prefix_count) t->prefix[t->prefix_count++] = t->bos;
}

ek_status read_config(struct tokenizer *t, const char *dir, struct error *e)
{
    ek_status s = read_template_file(t, dir, e), ignored;
    if (s) return s;
    json_t *map = load(dir, "special_tokens_map.json", NULL, NULL, &ignored, NULL);
    if (map) read_ends(t, map);
    json_decref(map);
    json_t *config = load(dir, "tokenizer_config.json", &t->config, &t->config_bytes, &s, e);
    if (config && !json_is_object(config))
        s = fail(e, EK_E_FORMAT, "%s: tokenizer_config.json: an object expected", t->path);
    if (config && !s) {
        s = read_added(t, config, e);
        read_ends(t, config);
        if (!s) s = read_template(t, config, e);
    }
    json_decref(config);
    return s;
}

char *config_class(const char *dir)
{
    ek_status   ignored;
    json_t     *config = load(dir, "tokenizer_config.json", NULL, NULL, &ignored, NULL);
    const char *text   = json_string_value(json_object_get(config, "tokenizer_class"));
    char       *copy   = text ? strdup(text) : NULL;
    json_decref(config);
    return copy;
}
