/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_build.c - what every reader builds a tokenizer from. */
#include "model/tokenizer_impl.h"

#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 32 }; /* of a pipeline; published ones have seven */

struct tokenizer *tokenizer_new(const char *path)
{
    struct tokenizer *t = calloc(1, sizeof *t);
    if (!t || !(t->path = strdup(path))) {
        free(t);
        return NULL;
    }
    t->unk = t->bos = t->eos = -1;
    return t;
}

void tokenizer_close(struct tokenizer *t)
{
    if (!t) return;
    for (size_t i = 0; i < t->norm_count; i++) {
        free(t->norms[i].from);
        free(t->norms[i].to);
        regex_free(t->norms[i].re);
    }
    for (size_t i = 0; i < t->split_count; i++) {
        free(t->splits[i].pattern);
        regex_free(t->splits[i].re);
    }
    buffer_free(&t->text);
    buffer_free(&t->raw_added.text);
    buffer_free(&t->normalized_added.text);
    file_unmap(&t->json);
    void *const blocks[] = {
        t->path,         t->tokens, t->slots,          t->merges, t->norms,
        t->splits,       t->added,  t->raw_added.keys, t->config, t->normalized_added.keys,
        t->chat_template};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) free(blocks[i]);
    free(t);
}

/* ---- steps ---- */

static void norm_drop(struct norm *n)
{
    free(n->from);
    free(n->to);
    regex_free(n->re);
}

ek_status norm_add(struct tokenizer *t, struct norm n, struct error *e)
{
    if (t->norm_count == STEPS_MAX) {
        norm_drop(&n);
        return fail(e, EK_E_UNSUPPORTED, "%s: normalizer: more than %d steps", t->path, STEPS_MAX);
    }
    if (!t->norms && !(t->norms = calloc(STEPS_MAX, sizeof n))) {
        norm_drop(&n);
        return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    }
    t->norms[t->norm_count++] = n;
    return EK_OK;
}

ek_status norm_add_replace(struct tokenizer *t, const char *from, const char *to, struct error *e)
{
    struct norm n = {.kind = NORM_REPLACE, .from = strdup(from), .to = strdup(to)};
    if (!n.from || !n.to || !*from) {
        const int empty = n.from && n.to;
        norm_drop(&n);
        return empty ? fail(e, EK_E_FORMAT, "%s: normalizer: Replace: an empty pattern", t->path)
                     : fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    }
    n.from_bytes = strlen(from), n.to_bytes = strlen(to);
    return norm_add(t, n, e);
}

ek_status norm_add_prepend(struct tokenizer *t, const char *text, struct error *e)
{
    struct norm n = {.kind = NORM_PREPEND, .to = strdup(text), .to_bytes = strlen(text)};
    return n.to ? norm_add(t, n, e) : fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
}

ek_status split_add(struct tokenizer *t, const char *pattern, size_t bytes,
                    enum split_behavior behavior, int invert, struct error *e)
{
    if (t->split_count == STEPS_MAX)
        return fail(e, EK_E_UNSUPPORTED, "%s: pre_tokenizer: more than %d steps", t->path,
                    STEPS_MAX);
    if (!t->splits && !(t->splits = calloc(STEPS_MAX, sizeof *t->splits)))
        return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    struct split    sp = {.behavior = behavior, .invert = invert};
    const ek_status s  = regex_compile(&sp.re, pattern, bytes, t->path, e);
    if (s) return s;
    if (!(sp.pattern = strndup(pattern, bytes))) {
        regex_free(sp.re);
        return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    }
    t->splits[t->split_count++] = sp;
    return EK_OK;
}

ek_status sentencepiece_setup(struct tokenizer *t, int space_prefix, int trim, struct error *e)
{
    ek_status s = EK_OK;
    if (trim) s = norm_add(t, (struct norm){.kind = NORM_TRIM}, e);
    if (!s && space_prefix) s = norm_add_prepend(t, LOW_LINE, e);
    if (!s) s = norm_add_replace(t, " ", LOW_LINE, e);
    t->byte_fallback = t->fuse_unk = 1;
    t->decode_space = t->decode_bytes = 1;
    t->decode_strip                   = space_prefix;
    return s;
}

ek_status tokenizer_finish(struct tokenizer *t, struct error *e)
{
    if (!t->size) return fail(e, EK_E_FORMAT, "%s: the vocabulary is empty", t->path);
    const ek_status s = vocab_finish(t, e);
    if (s) return s;
    if (t->bos >= 0 && (size_t)t->bos >= t->size)
        return fail(e, EK_E_FORMAT, "%s: bos: id %d is not in the vocabulary", t->path, t->bos);
    if (t->eos >= 0 && (size_t)t->eos >= t->size)
        return fail(e, EK_E_FORMAT, "%s: eos: id %d is not in the vocabulary", t->path, t->eos);
    return added_index(t, e);
}
