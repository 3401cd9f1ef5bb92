/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_steps.c - tokenizer.json's normalizer, pre-tokenizer, post-processor, decoder and
 * added tokens. What is not understood is an error: a tokenizer that is nearly right is wrong. */
#include "model/tokenizer_steps.h"

#include <string.h>

static const char *text_of(const json_t *j, const char *key)
{
    const char *s = json_string_value(json_object_get(j, key));
    return s ? s : "";
}

static int flag_of(const json_t *j, const char *key, int otherwise)
{
    const json_t *v = json_object_get(j, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

static ek_status unsupported(const struct tokenizer *t, const char *what, const char *type,
                             struct error *e)
{
    return fail(e, EK_E_UNSUPPORTED, "%s: %s: %s: not supported", t->path, what,
                *type ? type : "no type");
}

/* Every kind of step may be a Sequence of its kind. */
static ek_status each(struct tokenizer *t, const json_t *list, step_reader *reader,
                      const char *what, struct error *e)
{
    ek_status s = EK_OK;
    if (!json_is_array(list))
        return fail(e, EK_E_FORMAT, "%s: %s: a Sequence without its list", t->path, what);
    for (size_t i = 0; !s && i < json_array_size(list); i++)
        s = reader(t, json_array_get(list, i), e);
    return s;
}

/* ---- added tokens ---- */

ek_status read_added(struct tokenizer *t, const json_t *j, struct error *e)
{
    ek_status s = EK_OK;
    if (!json_is_array(j))
        return fail(e, EK_E_FORMAT, "%s: added_tokens: a list expected", t->path);
    for (size_t i = 0; !s && i < json_array_size(j); i++) {
        const json_t *a    = json_array_get(j, i);
        const json_t *id   = json_object_get(a, "id");
        const json_t *text = json_object_get(a, "content");
        if (!json_is_integer(id) || !json_is_string(text))
            return fail(e, EK_E_FORMAT, "%s: added_tokens: entry %zu: id or content missing",
                        t->path, i);
        const int          special = flag_of(a, "special", 0);
        const struct added flags   = {
              .lstrip      = (unsigned char)flag_of(a, "lstrip", 0),
              .rstrip      = (unsigned char)flag_of(a, "rstrip", 0),
              .single_word = (unsigned char)flag_of(a, "single_word", 0),
              .normalized  = (unsigned char)flag_of(a, "normalized", !special),
              .special     = (unsigned char)special,
        };
        s = added_token(t, json_integer_value(id), json_string_value(text),
                        json_string_length(text), flags, e);
    }
    return s;
}

/* ---- normalizer ---- */

static ek_status read_replace(struct tokenizer *t, const json_t *j, struct error *e)
{
    const json_t *pattern = json_object_get(j, "pattern");
    const char   *text    = json_string_value(json_object_get(pattern, "String"));
    const char   *re      = json_string_value(json_object_get(pattern, "Regex"));
    if (text) return norm_add_replace(t, text, text_of(j, "content"), e);
    if (!re) return fail(e, EK_E_FORMAT, "%s: normalizer: Replace: pattern missing", t->path);
    const ek_status s = norm_add_replace(t, re, text_of(j, "content"), e);
    return s ? s : regex_compile(&t->norms[t->norm_count - 1].re, re, strlen(re), t->path, e);
}

ek_status read_normalizer(struct tokenizer *t, const json_t *j, struct error *e)
{
    static const char *const forms[] = {"NFC", "NFD", "NFKC", "NFKD"};
    const char              *type    = text_of(j, "type");
    if (!strcmp(type, "Sequence"))
        return each(t, json_object_get(j, "normalizers"), read_normalizer, "normalizer", e);
    for (size_t i = 0; i < 4; i++)
        if (!strcmp(type, forms[i]))
            return norm_add(t, (struct norm){.kind = (enum norm_kind)(NORM_NFC + i)}, e);
    if (!strcmp(type, "Prepend")) return norm_add_prepend(t, text_of(j, "prepend"), e);
    if (!strcmp(type, "Replace")) return read_replace(t, j, e);
    if (!strcmp(type, "Precompiled") && !*text_of(j, "precompiled_charsmap")) return EK_OK;
    return unsupported(t, "normalizer", type, e);
}

/* ---- pre-tokenizer ---- */

static ek_status read_behavior(const struct tokenizer *t, const json_t *j, enum split_behavior *out,
                               struct error *e)
{
    static const char *const names[] = {
        [SPLIT_ISOLATED] = "Isolated",          [SPLIT_REMOVED] = "Removed",
        [SPLIT_CONTIGUOUS] = "Contiguous",      [SPLIT_MERGED_PREVIOUS] = "MergedWithPrevious",
        [SPLIT_MERGED_NEXT] = "MergedWithNext",
    };
    const char *name = text_of(j, "behavior");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *out = (enum split_behavior)i;
        return EK_OK;
    }
    return fail(e, EK_E_FORMAT, "%s: pre_tokenizer: behavior: %s: unknown", t->path, name);
}

static ek_status split_literal(struct tokenizer *t, const char *text, enum split_behavior behavior,
                               int invert, struct error *e)
{
    struct buffer b   = {NULL, 0, 0};
    int           bad = 0;
    for (const char *c = text; *c; c++) {
        const int plain = (unsigned char)*c >= 0x80 || (*c >= 'a' && *c <= 'z') ||
                          (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c < ' ';
        bad |= (!plain && buffer_put(&b, "\\", 1)) || buffer_put(&b, c, 1);
    }
    const ek_status s = bad ? fail(e, EK_E_NOMEM, "%s: out of memory", t->path)
                            : split_add(t, b.data ? b.data : "", b.bytes, behavior, invert, e);
    buffer_free(&b);
    return s;
}

static ek_status read_split(struct tokenizer *t, const json_t *j, struct error *e)
{
    const json_t       *pattern  = json_object_get(j, "pattern");
    const json_t       *re       = json_object_get(pattern, "Regex");
    const char         *text     = json_string_value(json_object_get(pattern, "String"));
    const int           invert   = flag_of(j, "invert", 0);
    enum split_behavior behavior = SPLIT_ISOLATED;
    const ek_status     s        = read_behavior(t, j, &behavior, e);
    if (s) return s;
    if (json_is_string(re))
        return split_add(t, json_string_value(re), json_string_length(re), behavior, invert, e);
    if (text && *text) return split_literal(t, text, behavior, invert, e);
    return fail(e, EK_E_FORMAT, "%s: pre_tokenizer: Split: pattern missing", t->path);
}

/* The rewriting steps work on a whole text, so they cannot come behind a cut. */
static ek_status set_lead(struct tokenizer *t, enum lead lead, struct error *e)
{
    if (lead != LEAD_NONE && (t->split_count || t->lead != LEAD_NONE))
        return unsupported(t, "pre_tokenizer", "a prefix behind another step", e);
    t->lead = lead;
    return EK_OK;
}

static ek_status read_metaspace_lead(const struct tokenizer *t, const json_t *j, enum lead *lead,
                                     struct error *e)
{
    const char *scheme = text_of(j, "prepend_scheme");
    const char *mark   = text_of(j, "replacement");
    if (strcmp(mark, LOW_LINE) != 0) return unsupported(t, "Metaspace: replacement", mark, e);
    if (!*scheme)
        *lead = flag_of(j, "add_prefix_space", 1) ? LEAD_ALWAYS : LEAD_NONE;
    else if (!strcmp(scheme, "always"))
        *lead = LEAD_ALWAYS;
    else if (!strcmp(scheme, "first"))
        *lead = LEAD_FIRST;
    else if (!strcmp(scheme, "never"))
        *lead = LEAD_NONE;
    else
        return unsupported(t, "Metaspace: prepend_scheme", scheme, e);
    return EK_OK;
}

static ek_status read_metaspace(struct tokenizer *t, const json_t *j, struct error *e)
{
    enum lead lead = LEAD_NONE;
    ek_status s    = read_metaspace_lead(t, j, &lead, e);
    if (!s && t->split_count) s = unsupported(t, "pre_tokenizer", "Metaspace behind a cut", e);
    if (!s) s = set_lead(t, lead, e);
    t->metaspace = 1;
    if (!s && flag_of(j, "split", 1))
        s = split_add(t, LOW_LINE, strlen(LOW_LINE), SPLIT_MERGED_NEXT, 0, e);
    return s;
}

static ek_status read_byte_level(struct tokenizer *t, const json_t *j, struct error *e)
{
    static const char gpt2[] =
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
    ek_status s   = flag_of(j, "add_prefix_space", 1) ? set_lead(t, LEAD_ALWAYS, e) : EK_OK;
    t->byte_level = 1;
    if (!s && flag_of(j, "use_regex", 1))
        s = split_add(t, gpt2, sizeof gpt2 - 1, SPLIT_ISOLATED, 0, e);
    return s;
}

ek_status read_pre_tokenizer(struct tokenizer *t, const json_t *j, struct error *e)
{
    static const char punctuation[] = "[\\p{P}$+<=>^`|~]";
    const char       *type          = text_of(j, "type");
    if (t->byte_level) return unsupported(t, "pre_tokenizer: a step behind ByteLevel", type, e);
    if (!strcmp(type, "Sequence"))
        return each(t, json_object_get(j, "pretokenizers"), read_pre_tokenizer, "pre_tokenizer", e);
    if (!strcmp(type, "ByteLevel")) return read_byte_level(t, j, e);
    if (!strcmp(type, "Split")) return read_split(t, j, e);
    if (!strcmp(type, "Metaspace")) return read_metaspace(t, j, e);
    if (!strcmp(type, "Digits"))
        return flag_of(j, "individual_digits", 0)
                   ? split_add(t, "\\p{N}", 5, SPLIT_ISOLATED, 0, e)
                   : split_add(t, "\\p{N}", 5, SPLIT_CONTIGUOUS, 0, e);
    if (!strcmp(type, "Punctuation")) {
        enum split_behavior behavior = SPLIT_ISOLATED;
        const ek_status     s = *text_of(j, "behavior") ? read_behavior(t, j, &behavior, e) : EK_OK;
        return s ? s : split_add(t, punctuation, sizeof punctuation - 1, behavior, 0, e);
    }
    if (!strcmp(type, "WhitespaceSplit")) return split_add(t, "\\s", 2, SPLIT_REMOVED, 0, e);
    return unsupported(t, "pre_tokenizer", type, e);
}

/* ---- post-processor: what is put before a text ---- */

static ek_status put_prefix(struct tokenizer *t, const json_t *ids, const char *name,
                            struct error *e)
{
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const json_t *v = json_array_get(ids, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 ||
            (uint64_t)json_integer_value(v) >= t->size)
            return fail(e, EK_E_FORMAT, "%s: post_processor: %s: id not in the vocabulary", t->path,
                        name);
        if (t->prefix_count == PREFIX_MAX)
            return fail(e, EK_E_UNSUPPORTED,
                        "%s: post_processor: more than %d tokens before a text", t->path,
                        PREFIX_MAX);
        t->prefix[t->prefix_count++] = (int32_t)json_integer_value(v);
    }
    return json_array_size(ids)
               ? EK_OK
               : fail(e, EK_E_FORMAT, "%s: post_processor: %s: no ids", t->path, name);
}

static ek_status read_template(struct tokenizer *t, const json_t *j, struct error *e)
{
    const json_t *single  = json_object_get(j, "single");
    const json_t *special = json_object_get(j, "special_tokens");
    ek_status     s       = EK_OK;
    for (size_t i = 0; !s && i < json_array_size(single); i++) {
        const json_t *item = json_array_get(single, i);
        if (json_object_get(item, "Sequence")) break; /* what follows goes behind a text */
        const char *name = text_of(json_object_get(item, "SpecialToken"), "id");
        s = put_prefix(t, json_object_get(json_object_get(special, name), "ids"), name, e);
    }
    return s;
}

ek_status read_post_processor(struct tokenizer *t, const json_t *j, struct error *e)
{
    const char *type = text_of(j, "type");
    if (!strcmp(type, "Sequence"))
        return each(t, json_object_get(j, "processors"), read_post_processor, "post_processor", e);
    if (!strcmp(type, "TemplateProcessing")) return read_template(t, j, e);
    if (!strcmp(type, "ByteLevel")) return EK_OK; /* offsets only */
    return unsupported(t, "post_processor", type, e);
}

/* ---- decoder ---- */

ek_status read_decoder(struct tokenizer *t, const json_t *j, struct error *e)
{
    const char   *type    = text_of(j, "type");
    const json_t *pattern = json_object_get(j, "pattern");
    if (!strcmp(type, "Sequence"))
        return each(t, json_object_get(j, "decoders"), read_decoder, "decoder", e);
    if (!strcmp(type, "ByteLevel") || !strcmp(type, "Fuse")) return EK_OK;
    if (!strcmp(type, "ByteFallback")) {
        t->decode_bytes = 1;
        return EK_OK;
    }
    if (!strcmp(type, "Replace") && !strcmp(text_of(pattern, "String"), LOW_LINE) &&
        !strcmp(text_of(j, "content"), " ")) {
        t->decode_space = 1;
        return EK_OK;
    }
    if (!strcmp(type, "Strip") && !strcmp(text_of(j, "content"), " ") &&
        json_integer_value(json_object_get(j, "start")) <= 1 &&
        json_integer_value(json_object_get(j, "stop")) == 0) {
        t->decode_strip = json_integer_value(json_object_get(j, "start")) == 1;
        return EK_OK;
    }
    if (!strcmp(type, "Metaspace")) {
        enum lead       lead = LEAD_NONE;
        const ek_status s    = read_metaspace_lead(t, j, &lead, e);
        t->decode_space      = 1;
        t->decode_strip      = lead != LEAD_NONE;
        return s;
    }
    return unsupported(t, "decoder", type, e);
}
