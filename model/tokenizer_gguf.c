/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_gguf.c - the tokenizer inside a GGUF file's metadata. */
#include "model/gguf.h"
#include "model/tokenizer_impl.h"

#include <stdlib.h>
#include <string.h>

enum token_type { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

#define KEY "tokenizer.ggml."

static ek_status array_of(const struct tokenizer *t, const struct gguf *g, const char *key,
                          enum gguf_type type, enum gguf_type other, const struct gguf_value **out,
                          struct error *e)
{
    const struct gguf_value *v = *out = gguf_find(g, key);
    if (v && (v->type != GGUF_ARRAY || (v->element != type && v->element != other)))
        return fail(e, EK_E_FORMAT, "%s: %s: not an array of the right type", t->path, key);
    return EK_OK;
}

static int32_t type_at(const struct gguf_value *types, size_t i)
{
    int32_t type = NORMAL;
    if (types) memcpy(&type, types->data + i * sizeof type, sizeof type);
    return type;
}

static ek_status read_tokens(struct tokenizer *t, const struct gguf_value *tokens,
                             const struct gguf_value *types, struct error *e)
{
    const unsigned char *at = tokens->data;
    if (types && types->count != tokens->count)
        return fail(e, EK_E_FORMAT, "%s: " KEY "token_type: not as many as tokens", t->path);
    if (vocab_reserve(t, tokens->count)) return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    for (uint64_t i = 0; i < tokens->count; i++) {
        const struct gguf_string text    = gguf_next_string(&at);
        const int32_t            type    = type_at(types, i);
        const int                special = type == CONTROL || type == UNKNOWN;
        const unsigned flags = (type == NORMAL || type == USER_DEFINED ? 0 : TOKEN_APART) |
                               (special ? TOKEN_SPECIAL : 0);
        ek_status s = vocab_add(t, (int64_t)i, text.data, text.bytes, flags, e);
        if (s) return s;
        if (vocab_index(t, (int32_t)i) < 0)
            return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
        if (!text.bytes || (!special && type != USER_DEFINED)) continue;
        s = added_add(t, (struct added){.id = (int32_t)i, .special = (unsigned char)special}, e);
        if (s) return s;
    }
    return EK_OK;
}

static ek_status read_merges(struct tokenizer *t, const struct gguf_value *merges, struct error *e)
{
    const unsigned char *at = merges->data;
    ek_status            s  = merges_reserve(t, merges->count, e);
    for (uint64_t i = 0; !s && i < merges->count; i++) {
        const struct gguf_string text = gguf_next_string(&at);
        /* a token may contain a space, but not begin with it */
        const char *space = text.bytes > 1 ? memchr(text.data + 1, ' ', text.bytes - 1) : NULL;
        if (!space)
            return fail(e, EK_E_FORMAT, "%s: " KEY "merges: entry %llu: two tokens expected",
                        t->path, (unsigned long long)i);
        const size_t left = (size_t)(space - text.data);
        s = merge_from_text(t, text.data, left, space + 1, text.bytes - left - 1, i, e);
    }
    return s;
}

static ek_status id_of(const struct tokenizer *t, const struct gguf *g, const char *key,
                       int32_t *out, struct error *e)
{
    uint64_t id;
    if (!gguf_uint(g, key, &id)) return EK_OK;
    if (id >= t->size)
        return fail(e, EK_E_FORMAT, "%s: %s: %llu is not in the vocabulary", t->path, key,
                    (unsigned long long)id);
    *out = (int32_t)id;
    return EK_OK;
}

/* Byte-level BPE: the split is only named, and GPT-NeoX's not even that. */
static ek_status setup_bpe(struct tokenizer *t, const struct gguf *g, int *add_bos, struct error *e)
{
    const struct gguf_value *merges;
    struct gguf_string       pre = {"gpt-2", 5}, arch = {"", 0};
    gguf_text(g, "general.architecture", &arch);
    if (arch.bytes == 7 && !memcmp(arch.data, "gptneox", 7))
        pre = (struct gguf_string){"gpt-neox", 8};
    gguf_text(g, KEY "pre", &pre);
    ek_status s = array_of(t, g, KEY "merges", GGUF_STRING, GGUF_STRING, &merges, e);
    if (!s && !merges) s = fail(e, EK_E_FORMAT, "%s: " KEY "merges: missing", t->path);
    if (!s) s = read_merges(t, merges, e);
    return s ? s : known_setup(t, pre.data, pre.bytes, add_bos, e);
}

static ek_status setup_sentencepiece(struct tokenizer *t, const struct gguf *g, int *add_bos,
                                     struct error *e)
{
    const struct gguf_value *scores;
    uint64_t                 prefix = 1, trim = 0;
    ek_status                s = array_of(t, g, KEY "scores", GGUF_F32, GGUF_F32, &scores, e);
    if (s) return s;
    if (!scores || scores->count != t->size)
        return fail(e, EK_E_FORMAT, "%s: " KEY "scores: not as many as tokens", t->path);
    float *copy = malloc((t->size + 1) * sizeof *copy); /* in the file they may lie unaligned */
    if (!copy) return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    memcpy(copy, scores->data, t->size * sizeof *copy);
    s = merges_from_scores(t, copy, e);
    free(copy);
    gguf_uint(g, KEY "add_space_prefix", &prefix);
    gguf_uint(g, KEY "remove_extra_whitespaces", &trim);
    *add_bos = 1;
    return s ? s : sentencepiece_setup(t, prefix != 0, trim != 0, e);
}

static ek_status read_rest(struct tokenizer *t, const struct gguf *g, int add_bos, struct error *e)
{
    struct gguf_string text = {NULL, 0};
    uint64_t           flag = (uint64_t)add_bos;
    ek_status          s    = id_of(t, g, KEY "bos_token_id", &t->bos, e);
    if (!s) s = id_of(t, g, KEY "eos_token_id", &t->eos, e);
    if (!s && !t->byte_level) {
        t->unk = 0;
        s      = id_of(t, g, KEY "unknown_token_id", &t->unk, e);
    }
    if (s) return s;
    gguf_uint(g, KEY "add_bos_token", &flag);
    if (flag && t->bos >= 0) t->prefix[t->prefix_count++] = t->bos;
    if (gguf_text(g, "tokenizer.chat_template", &text) &&
        !(t->chat_template = strndup(text.data, text.bytes)))
        return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    return EK_OK;
}

ek_status read_gguf(struct tokenizer *t, const struct gguf *g, struct error *e)
{
    const struct gguf_value *tokens, *types;
    struct gguf_string       model   = {"", 0};
    int                      add_bos = 0;
    gguf_text(g, KEY "model", &model);
    const int bpe = model.bytes == 4 && !memcmp(model.data, "gpt2", 4);
    if (!bpe && !(model.bytes == 5 && !memcmp(model.data, "llama", 5)))
        return fail(e, model.bytes ? EK_E_UNSUPPORTED : EK_E_FORMAT, "%s: " KEY "model: %.*s: %s",
                    t->path, (int)(model.bytes > 80 ? 80 : model.bytes), model.data,
                    model.bytes ? "not supported" : "missing");
    ek_status s = array_of(t, g, KEY "tokens", GGUF_STRING, GGUF_STRING, &tokens, e);
    if (!s && !tokens) s = fail(e, EK_E_FORMAT, "%s: " KEY "tokens: missing", t->path);
    if (!s) s = array_of(t, g, KEY "token_type", GGUF_I32, GGUF_U32, &types, e);
    if (!s) s = read_tokens(t, tokens, types, e);
    if (!s) s = bpe ? setup_bpe(t, g, &add_bos, e) : setup_sentencepiece(t, g, &add_bos, e);
    return s ? s : read_rest(t, g, add_bos, e);
}
