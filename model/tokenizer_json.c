/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_json.c - Hugging Face's tokenizer.json, and vocab.json with merges.txt. */
#include "model/tokenizer_steps.h"

#include <stdlib.h>
#include <string.h>

static ek_status no_memory(const struct tokenizer *t, struct error *e)
{
    return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
}

static struct scan scan_of(const struct tokenizer *t, const struct span *v, struct error *e)
{
    return (struct scan){v->data, v->data, v->data + v->bytes, t->path, e, {NULL, 0, 0}, EK_OK};
}

static ek_status scan_end(struct scan *s)
{
    buffer_free(&s->text);
    return s->status;
}

/* ---- the two long lists ---- */

static int read_entry(struct tokenizer *t, struct scan *s)
{
    struct span text;
    int64_t     id;
    char        copy[TOKEN_MAX];
    if (!scan_string(s, &text)) return 0;
    if (text.bytes > sizeof copy) {
        s->status = fail(s->e, EK_E_FORMAT, "%s: vocab: a token of %zu bytes", t->path, text.bytes);
        return 0;
    }
    memcpy(copy, text.data, text.bytes);
    if (!scan_expect(s, ':') || !scan_integer(s, &id)) return 0;
    s->status = vocab_add(t, id, copy, text.bytes, 0, s->e);
    if (s->status) return 0;
    const int unique = vocab_index(t, (int32_t)id);
    if (unique < 0)
        s->status = no_memory(t, s->e);
    else if (!unique)
        s->status = fail(s->e, EK_E_FORMAT, "%s: vocab: token %.*s is given twice", t->path,
                         (int)(text.bytes > 80 ? 80 : text.bytes), copy);
    return !s->status;
}

static ek_status read_vocab(struct tokenizer *t, const struct span *v, struct error *e)
{
    enum { ENTRY = 18 }; /* bytes of one in published vocabularies, hardly ever fewer */
    struct scan s = scan_of(t, v, e);
    if (vocab_reserve(t, v->bytes / ENTRY)) return no_memory(t, e);
    int more = scan_expect(&s, '{') && !scan_accept(&s, '}');
    while (more) {
        if (!read_entry(t, &s)) break;
        if (scan_accept(&s, ',')) continue;
        more = 0;
        if (scan_expect(&s, '}')) scan_finished(&s);
    }
    return scan_end(&s);
}

/* "left right" at its only space. */
static ek_status merge_line(struct tokenizer *t, const char *text, size_t bytes, size_t number,
                            struct error *e)
{
    const char *space = memchr(text, ' ', bytes);
    if (!space || memchr(space + 1, ' ', bytes - (size_t)(space + 1 - text)))
        return fail(e, EK_E_FORMAT, "%s: merge %zu: %.*s: two tokens expected", t->path, number,
                    (int)(bytes > 80 ? 80 : bytes), text);
    const size_t left = (size_t)(space - text);
    return merge_from_text(t, text, left, space + 1, bytes - left - 1, number, e);
}

/* ["left", "right"], as newer files have it */
static int read_pair(struct tokenizer *t, struct scan *s, size_t number)
{
    struct span left, right;
    char        copy[TOKEN_MAX];
    if (!scan_expect(s, '[') || !scan_string(s, &left)) return 0;
    const size_t bytes = left.bytes;
    if (bytes > sizeof copy) {
        s->status = fail(s->e, EK_E_FORMAT, "%s: merge %zu: too long", t->path, number);
        return 0;
    }
    memcpy(copy, left.data, bytes);
    if (!scan_expect(s, ',') || !scan_string(s, &right) || !scan_expect(s, ']')) return 0;
    s->status = merge_from_text(t, copy, bytes, right.data, right.bytes, number, s->e);
    return !s->status;
}

static int read_merge(struct tokenizer *t, struct scan *s, size_t number)
{
    struct span line;
    if (scan_accept(s, '[')) {
        s->p--;
        return read_pair(t, s, number);
    }
    if (!scan_string(s, &line)) return 0;
    s->status = merge_line(t, line.data, line.bytes, number, s->e);
    return !s->status;
}

static ek_status read_merges(struct tokenizer *t, const struct span *v, struct error *e)
{
    if (!v->data) return fail(e, EK_E_FORMAT, "%s: model: merges: missing", t->path);
    ek_status r = merges_reserve(t, t->size, e); /* about one of each token */
    if (r) return r;
    struct scan s    = scan_of(t, v, e);
    int         more = scan_expect(&s, '[') && !scan_accept(&s, ']');
    for (size_t number = 0; more; number++) {
        if (!read_merge(t, &s, number)) break;
        if (scan_accept(&s, ',')) continue;
        more = 0;
        if (scan_expect(&s, ']')) scan_finished(&s);
    }
    return scan_end(&s);
}

/* ---- tokenizer.json ---- */

struct member {
    const char *name;
    struct span value;
};

/* Where the named members of an object lie. */
static ek_status find_members(struct tokenizer *t, const struct span *object,
                              struct member *members, size_t count, struct error *e)
{
    struct scan s    = scan_of(t, object, e);
    int         more = scan_expect(&s, '{') && !scan_accept(&s, '}');
    while (more) {
        struct span    key, value;
        struct member *m = NULL;
        if (!scan_string(&s, &key)) break;
        for (size_t i = 0; i < count; i++)
            if (strlen(members[i].name) == key.bytes &&
                !memcmp(members[i].name, key.data, key.bytes))
                m = &members[i];
        if (!scan_expect(&s, ':') || !scan_value(&s, &value)) break;
        if (m && m->value.data)
            s.status = fail(e, EK_E_FORMAT, "%s: %s: given twice", t->path, m->name);
        if (s.status) break;
        if (m) m->value = value;
        if (scan_accept(&s, ',')) continue;
        more = 0;
        if (scan_expect(&s, '}')) scan_finished(&s);
    }
    return scan_end(&s);
}

enum {
    M_TYPE,
    M_UNK,
    M_PREFIX,
    M_SUFFIX,
    M_FUSE,
    M_FALLBACK,
    M_IGNORE,
    M_VOCAB,
    M_MERGES,
    M_COUNT
};

/* A switch or text of the model; *value keeps its default where it is absent or null. */
static ek_status model_switch(struct tokenizer *t, const struct member *m, int *value,
                              struct error *e)
{
    ek_status s;
    json_t   *j = span_json(&m->value, t->path, m->name, &s, e);
    if (j && !json_is_null(j)) {
        if (json_is_boolean(j))
            *value = json_is_true(j);
        else
            s = fail(e, EK_E_FORMAT, "%s: model: %s: true or false expected", t->path, m->name);
    }
    json_decref(j);
    return s;
}

static ek_status model_absent(struct tokenizer *t, const struct member *m, struct error *e)
{
    ek_status   s;
    json_t     *j    = span_json(&m->value, t->path, m->name, &s, e);
    const char *text = j ? json_string_value(j) : NULL;
    if (text && *text)
        s = fail(e, EK_E_UNSUPPORTED, "%s: model: %s: %s: not supported", t->path, m->name, text);
    json_decref(j);
    return s;
}

static ek_status model_type(struct tokenizer *t, const struct member *m, struct error *e)
{
    ek_status   s;
    json_t     *j    = span_json(&m->value, t->path, m->name, &s, e);
    const char *text = j ? json_string_value(j) : "BPE"; /* older files do not say */
    if (!s && (!text || strcmp(text, "BPE") != 0))
        s = fail(e, EK_E_UNSUPPORTED, "%s: model: %s: only BPE is supported", t->path,
                 text ? text : "no type");
    json_decref(j);
    return s;
}

static ek_status model_unknown(struct tokenizer *t, const struct member *m, struct error *e)
{
    ek_status   s;
    json_t     *j    = span_json(&m->value, t->path, m->name, &s, e);
    const char *text = j ? json_string_value(j) : NULL;
    if (text) {
        t->unk = vocab_find(t, text, strlen(text));
        if (t->unk < 0)
            s = fail(e, EK_E_FORMAT, "%s: model: unk_token: %s: not in the vocabulary", t->path,
                     text);
    }
    json_decref(j);
    return s;
}

static ek_status read_model(struct tokenizer *t, const struct span *model, struct error *e)
{
    struct member m[M_COUNT] = {
        [M_TYPE]     = {"type", {NULL, 0}},
        [M_UNK]      = {"unk_token", {NULL, 0}},
        [M_PREFIX]   = {"continuing_subword_prefix", {NULL, 0}},
        [M_SUFFIX]   = {"end_of_word_suffix", {NULL, 0}},
        [M_FUSE]     = {"fuse_unk", {NULL, 0}},
        [M_FALLBACK] = {"byte_fallback", {NULL, 0}},
        [M_IGNORE]   = {"ignore_merges", {NULL, 0}},
        [M_VOCAB]    = {"vocab", {NULL, 0}},
        [M_MERGES]   = {"merges", {NULL, 0}},
    };
    ek_status s = find_members(t, model, m, M_COUNT, e);
    if (!s) s = model_type(t, &m[M_TYPE], e);
    if (!s) s = model_absent(t, &m[M_PREFIX], e);
    if (!s) s = model_absent(t, &m[M_SUFFIX], e);
    if (!s) s = model_switch(t, &m[M_FUSE], &t->fuse_unk, e);
    if (!s) s = model_switch(t, &m[M_FALLBACK], &t->byte_fallback, e);
    if (!s) s = model_switch(t, &m[M_IGNORE], &t->ignore_merges, e);
    if (!s && !m[M_VOCAB].value.data)
        s = fail(e, EK_E_FORMAT, "%s: model: vocab: missing", t->path);
    if (!s) s = read_vocab(t, &m[M_VOCAB].value, e);
    if (!s) s = read_merges(t, &m[M_MERGES].value, e);
    if (!s) s = model_unknown(t, &m[M_UNK], e);
    return s;
}

enum { ADDED, NORMALIZER, PRE, POST, DECODER, MODEL, ROOT_COUNT };

ek_status read_tokenizer_json(struct tokenizer *t, const char *data, size_t bytes, struct error *e)
{
    struct member m[ROOT_COUNT] = {
        [ADDED] = {"added_tokens", {NULL, 0}}, [NORMALIZER] = {"normalizer", {NULL, 0}},
        [PRE] = {"pre_tokenizer", {NULL, 0}},  [POST] = {"post_processor", {NULL, 0}},
        [DECODER] = {"decoder", {NULL, 0}},    [MODEL] = {"model", {NULL, 0}},
    };
    static step_reader *const readers[MODEL] = {
        [ADDED] = read_added,         [NORMALIZER] = read_normalizer, [PRE] = read_pre_tokenizer,
        [POST] = read_post_processor, [DECODER] = read_decoder,
    };
    const struct span whole = {data, bytes};
    ek_status         s     = find_members(t, &whole, m, ROOT_COUNT, e);
    if (!s && !m[MODEL].value.data) s = fail(e, EK_E_FORMAT, "%s: model: missing", t->path);
    if (!s) s = read_model(t, &m[MODEL].value, e);
    for (size_t i = 0; !s && i < MODEL; i++) {
        json_t *j = span_json(&m[i].value, t->path, m[i].name, &s, e);
        if (j && !json_is_null(j)) s = readers[i](t, j, e);
        json_decref(j);
    }
    return s;
}

/* ---- vocab.json with merges.txt ---- */

static ek_status read_merge_lines(struct tokenizer *t, const char *text, size_t bytes,
                                  struct error *e)
{
    ek_status s      = merges_reserve(t, t->size, e);
    size_t    number = 0;
    for (size_t i = 0; !s && i < bytes;) {
        const char  *end = memchr(text + i, '\n', bytes - i);
        const size_t n   = end ? (size_t)(end - text) - i : bytes - i;
        const size_t cut = n && text[i + n - 1] == '\r';
        /* "#version: 0.2" is the first line of some files */
        const int header = i == 0 && n >= 9 && !memcmp(text, "#version:", 9);
        if (n - cut && !header) s = merge_line(t, text + i, n - cut, number++, e);
        i += n + 1;
    }
    return s;
}

ek_status read_vocab_json(struct tokenizer *t, const char *data, size_t bytes, const char *merges,
                          size_t merges_bytes, const char *tokenizer_class, struct error *e)
{
    const struct span whole   = {data, bytes};
    int               add_bos = 0;
    ek_status         s       = read_vocab(t, &whole, e);
    if (!s) s = read_merge_lines(t, merges, merges_bytes, e);
    if (s) return s;
    const char *pre = known_by_vocabulary(t, tokenizer_class);
    s               = known_setup(t, pre, strlen(pre), &add_bos, e);
    if (!s) s = known_specials(t, e);
    if (!s && add_bos && t->bos >= 0) t->prefix[t->prefix_count++] = t->bos;
    return s;
}
