/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_write.c - a tokenizer as tokenizer.json: as it was, or made from what it is. */
#include "model/tokenizer_impl.h"

#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Text that grows; after a failure nothing is added. */
struct writer {
    struct buffer b;
    int           failed;
};

static void put(struct writer *w, const char *text, size_t bytes)
{
    if (!w->failed && buffer_put(&w->b, text, bytes)) w->failed = 1;
}

static void puts_raw(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

static void put_number(struct writer *w, long long value)
{
    char      text[24];
    const int n = snprintf(text, sizeof text, "%lld", value);
    put(w, text, (size_t)n);
}

static void put_string(struct writer *w, const char *text, size_t bytes)
{
    puts_raw(w, "\"");
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)text[i];
        char                escape[8];
        if (c == '"' || c == '\\') puts_raw(w, "\\");
        if (c < ' ') {
            const int n = snprintf(escape, sizeof escape, "\\u%04x", c);
            put(w, escape, (size_t)n);
        } else {
            put(w, text + i, 1);
        }
    }
    puts_raw(w, "\"");
}

static void put_token(struct writer *w, const struct tokenizer *t, int32_t id)
{
    put_string(w, t->text.data + t->tokens[id].at, t->tokens[id].bytes);
}

static void put_flag(struct writer *w, const char *key, int value)
{
    puts_raw(w, key);
    puts_raw(w, value ? "true" : "false");
}

/* ---- members ---- */

static void put_added(struct writer *w, const struct tokenizer *t)
{
    puts_raw(w, "\"added_tokens\": [");
    for (size_t i = 0; i < t->added_count; i++) {
        const struct added *a = &t->added[i];
        puts_raw(w, i ? ",\n  {\"id\": " : "\n  {\"id\": ");
        put_number(w, a->id);
        puts_raw(w, ", \"content\": ");
        put_token(w, t, a->id);
        put_flag(w, ", \"single_word\": ", a->single_word);
        put_flag(w, ", \"lstrip\": ", a->lstrip);
        put_flag(w, ", \"rstrip\": ", a->rstrip);
        put_flag(w, ", \"normalized\": ", a->normalized);
        put_flag(w, ", \"special\": ", a->special);
        puts_raw(w, "}");
    }
    puts_raw(w, "],\n");
}

static void put_norm(struct writer *w, const struct norm *n)
{
    static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD"};
    if (n->kind <= NORM_NFKD) {
        puts_raw(w, "{\"type\": \"");
        puts_raw(w, forms[n->kind]);
        puts_raw(w, "\"}");
    } else if (n->kind == NORM_PREPEND) {
        puts_raw(w, "{\"type\": \"Prepend\", \"prepend\": ");
        put_string(w, n->to, n->to_bytes);
        puts_raw(w, "}");
    } else if (n->kind == NORM_TRIM) {
        puts_raw(w, "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"\\\\A +| +\\\\z\"}, "
                    "\"content\": \"\"}, {\"type\": \"Replace\", \"pattern\": "
                    "{\"Regex\": \" {2,}\"}, \"content\": \" \"}");
    } else {
        puts_raw(w, "{\"type\": \"Replace\", \"pattern\": {");
        puts_raw(w, n->re ? "\"Regex\": " : "\"String\": ");
        put_string(w, n->from, n->from_bytes);
        puts_raw(w, "}, \"content\": ");
        put_string(w, n->to, n->to_bytes);
        puts_raw(w, "}");
    }
}

static void put_normalizer(struct writer *w, const struct tokenizer *t)
{
    puts_raw(w, "\"normalizer\": ");
    if (!t->norm_count) puts_raw(w, "null");
    for (size_t i = 0; i < t->norm_count; i++) {
        puts_raw(w, i ? ", " : "{\"type\": \"Sequence\", \"normalizers\": [");
        put_norm(w, &t->norms[i]);
    }
    puts_raw(w, t->norm_count ? "]},\n" : ",\n");
}

/* What is generated comes from known_setup or sentencepiece_setup: cuts, or nothing at all. */
static void put_pre_tokenizer(struct writer *w, const struct tokenizer *t)
{
    if (!t->byte_level) {
        puts_raw(w, "\"pre_tokenizer\": null,\n");
        return;
    }
    puts_raw(w, "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [");
    for (size_t i = 0; i < t->split_count; i++) {
        puts_raw(w, "{\"type\": \"Split\", \"pattern\": {\"Regex\": ");
        put_string(w, t->splits[i].pattern, strlen(t->splits[i].pattern));
        puts_raw(w, "}, \"behavior\": \"Isolated\", \"invert\": false}, ");
    }
    puts_raw(w, "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, "
                "\"use_regex\": false}]},\n");
}

static void put_post_processor(struct writer *w, const struct tokenizer *t)
{
    if (!t->prefix_count) {
        puts_raw(w, "\"post_processor\": null,\n");
        return;
    }
    const int32_t bos = t->prefix[0];
    puts_raw(w, "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
                "[{\"SpecialToken\": {\"id\": ");
    put_token(w, t, bos);
    puts_raw(w, ", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": "
                "[{\"SpecialToken\": {\"id\": ");
    put_token(w, t, bos);
    puts_raw(w, ", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
                "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], \"special_tokens\": {");
    put_token(w, t, bos);
    puts_raw(w, ": {\"id\": ");
    put_token(w, t, bos);
    puts_raw(w, ", \"ids\": [");
    put_number(w, bos);
    puts_raw(w, "], \"tokens\": [");
    put_token(w, t, bos);
    puts_raw(w, "]}}},\n");
}

static void put_decoder(struct writer *w, const struct tokenizer *t)
{
    if (t->byte_level) {
        puts_raw(w, "\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                    "\"trim_offsets\": true, \"use_regex\": true},\n");
        return;
    }
    puts_raw(w, "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
                "\"pattern\": {\"String\": \"" LOW_LINE "\"}, \"content\": \" \"}, "
                "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}");
    if (t->decode_strip)
        puts_raw(w, ", {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}");
    puts_raw(w, "]},\n");
}

/* ---- the model ---- */

static int by_rank(const void *a, const void *b)
{
    const struct merge *x = a, *y = b;
    if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
    return x->pair < y->pair ? -1 : x->pair > y->pair; /* of one score: as Hugging Face does */
}

/* Merges in order; as lines where no token has a space, which every reader knows. */
static void put_merges(struct writer *w, const struct tokenizer *t)
{
    struct merge *order = malloc((t->merges_used + 1) * sizeof *order);
    size_t        n     = 0;
    int           lines = 1;
    if (!order) {
        w->failed = 1;
        return;
    }
    for (size_t i = 0; i < t->merge_count; i++)
        if (t->merges[i].pair != UINT64_MAX) order[n++] = t->merges[i];
    if (n) qsort(order, n, sizeof *order, by_rank);
    for (size_t i = 0; i < n; i++) {
        const struct token *k = &t->tokens[order[i].id];
        lines &= !memchr(t->text.data + k->at, ' ', k->bytes);
    }
    puts_raw(w, "\"merges\": [");
    for (size_t i = 0; i < n; i++) {
        puts_raw(w, i ? ",\n" : "\n");
        if (!lines) puts_raw(w, "[");
        put_token(w, t, (int32_t)(order[i].pair >> 32));
        if (lines && !w->failed)
            w->b.data[w->b.bytes - 1] = ' '; /* one string of the two: over its closing quote */
        else
            puts_raw(w, ", ");
        const size_t at = w->b.bytes;
        put_token(w, t, (int32_t)(order[i].pair & UINT32_MAX));
        if (lines && !w->failed) { /* without the second's opening quote */
            memmove(w->b.data + at, w->b.data + at + 1, w->b.bytes - at - 1);
            w->b.bytes--;
        }
        if (!lines) puts_raw(w, "]");
    }
    puts_raw(w, "]");
    free(order);
}

static void put_model(struct writer *w, const struct tokenizer *t)
{
    int first = 1;
    puts_raw(w, "\"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": ");
    if (t->unk >= 0)
        put_token(w, t, t->unk);
    else
        puts_raw(w, "null");
    puts_raw(w, ", \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null");
    put_flag(w, ", \"fuse_unk\": ", t->fuse_unk);
    put_flag(w, ", \"byte_fallback\": ", t->byte_fallback);
    put_flag(w, ", \"ignore_merges\": ", t->ignore_merges);
    puts_raw(w, ",\n\"vocab\": {");
    for (size_t i = 0; i < t->size; i++) {
        const struct token *k = &t->tokens[i];
        if (!(k->flags & TOKEN_SET) || vocab_find(t, t->text.data + k->at, k->bytes) != (int32_t)i)
            continue;
        puts_raw(w, first ? "\n" : ",\n");
        put_token(w, t, (int32_t)i);
        puts_raw(w, ": ");
        put_number(w, (long long)i);
        first = 0;
    }
    puts_raw(w, "},\n");
    put_merges(w, t);
    puts_raw(w, "}\n}\n");
}

static char *finish(struct writer *w, size_t *bytes)
{
    put(w, "", 1);
    if (w->failed) {
        buffer_free(&w->b);
        return NULL;
    }
    if (bytes) *bytes = w->b.bytes - 1;
    return w->b.data;
}

char *tokenizer_write_json(const struct tokenizer *t, size_t *bytes)
{
    struct writer w = {{NULL, 0, 0}, 0};
    if (t->json.data) {
        put(&w, (const char *)t->json.data, t->json.bytes);
        return finish(&w, bytes);
    }
    puts_raw(&w, "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null,\n");
    put_added(&w, t);
    put_normalizer(&w, t);
    put_pre_tokenizer(&w, t);
    put_post_processor(&w, t);
    put_decoder(&w, t);
    put_model(&w, t);
    return finish(&w, bytes);
}

/* ---- tokenizer_config.json ---- */

static json_t *token_json(const struct tokenizer *t, int32_t id)
{
    if (id < 0 || !(t->tokens[id].flags & TOKEN_SET)) return json_null();
    return json_stringn(t->text.data + t->tokens[id].at, t->tokens[id].bytes);
}

/* The file as it was, with the template put into it where it had one beside it. */
static char *config_as_it_was(const struct tokenizer *t, size_t *bytes)
{
    const char   *brace = memchr(t->config, '{', t->config_bytes);
    struct writer w     = {{NULL, 0, 0}, 0};
    json_t       *j     = json_loadb(t->config, t->config_bytes, JSON_DECODE_INT_AS_REAL, NULL);
    const size_t  head  = brace ? (size_t)(brace + 1 - t->config) : 0;
    const int     has   = !t->chat_template || json_object_get(j, "chat_template") || !brace;
    const int     empty = !json_object_size(j);
    json_decref(j);
    if (!has) {
        put(&w, t->config, head);
        puts_raw(&w, "\n  \"chat_template\": ");
        put_string(&w, t->chat_template, strlen(t->chat_template));
        if (!empty) puts_raw(&w, ",");
    }
    put(&w, t->config + (has ? 0 : head), t->config_bytes - (has ? 0 : head));
    return finish(&w, bytes);
}

char *tokenizer_write_config(const struct tokenizer *t, size_t *bytes)
{
    if (t->config) return config_as_it_was(t, bytes);
    json_t *j = json_object();
    json_object_set_new(j, "add_bos_token", json_boolean(t->prefix_count != 0));
    json_object_set_new(j, "bos_token", token_json(t, t->bos));
    json_object_set_new(j, "eos_token", token_json(t, t->eos));
    json_object_set_new(j, "clean_up_tokenization_spaces", json_false());
    json_object_set_new(j, "tokenizer_class", json_string("PreTrainedTokenizerFast"));
    if (t->chat_template) json_object_set_new(j, "chat_template", json_string(t->chat_template));
    char *text = json_dumps(j, JSON_INDENT(2));
    json_decref(j);
    if (text && bytes) *bytes = strlen(text);
    return text;
}
