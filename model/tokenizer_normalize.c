/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_normalize.c - the steps a text goes through before it is cut. */
#include "model/tokenizer_impl.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Text below U+0300 (first bytes below 0xCC) is its own NFC, ASCII is any form. */
static int is_normal(enum norm_kind kind, const char *text, size_t bytes)
{
    const unsigned limit = kind == NORM_NFC ? 0xCC : 0x80;
    for (size_t i = 0; i < bytes; i++)
        if ((unsigned char)text[i] >= limit) return 0;
    return 1;
}

static ek_status put_form(struct buffer *out, enum norm_kind kind, const char *text, size_t bytes)
{
    static const utf8proc_option_t options[] = {
        [NORM_NFC]  = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [NORM_NFD]  = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [NORM_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [NORM_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    utf8proc_uint8_t      *form = NULL;
    const utf8proc_ssize_t n =
        utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)bytes, &form, options[kind]);
    const int bad = n < 0 || buffer_put(out, (const char *)form, (size_t)n);
    free(form);
    return bad ? EK_E_NOMEM : EK_OK;
}

/* Broken bytes stay as they are, each run of characters between them is brought to the form. */
static ek_status unicode_form(struct buffer *out, enum norm_kind kind, const char *text,
                              size_t bytes)
{
    ek_status s = EK_OK;
    for (size_t i = 0; !s && i < bytes;) {
        const size_t run = utf8_run(text + i, bytes - i);
        if (run) s = put_form(out, kind, text + i, run);
        i += run;
        const size_t broken = utf8_broken_run(text + i, bytes - i);
        if (!s && buffer_put(out, text + i, broken)) s = EK_E_NOMEM;
        i += broken;
    }
    return s;
}

static ek_status replace_text(struct buffer *out, const struct norm *n, const char *text,
                              size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        const char  *hit  = memmem(text + i, bytes - i, n->from, n->from_bytes);
        const size_t kept = hit ? (size_t)(hit - text) - i : bytes - i;
        if (buffer_put(out, text + i, kept)) return EK_E_NOMEM;
        i += kept;
        if (!hit) break;
        if (buffer_put(out, n->to, n->to_bytes)) return EK_E_NOMEM;
        i += n->from_bytes;
    }
    return EK_OK;
}

static ek_status replace_run(struct buffer *out, const struct norm *n, struct matcher *m,
                             const char *text, size_t bytes)
{
    size_t at = 0, from = 0, begin, end;
    while (from <= bytes) {
        const int found = regex_next(m, n->re, text, bytes, from, &begin, &end);
        if (found < 0) return EK_E_FORMAT;
        if (!found) break;
        if (buffer_put(out, text + at, begin - at) || buffer_put(out, n->to, n->to_bytes))
            return EK_E_NOMEM;
        at   = end;
        from = end > begin ? end : end + (end < bytes ? utf8_length(text + end, bytes - end) : 1);
    }
    return buffer_put(out, text + at, bytes - at) ? EK_E_NOMEM : EK_OK;
}

static ek_status replace_matches(struct buffer *out, const struct norm *n, struct matcher **m,
                                 const char *text, size_t bytes)
{
    if (!*m && !(*m = matcher_open())) return EK_E_NOMEM;
    ek_status s = EK_OK;
    for (size_t i = 0; !s && i < bytes;) {
        const size_t run = utf8_run(text + i, bytes - i);
        if (run) s = replace_run(out, n, *m, text + i, run);
        i += run;
        const size_t broken = utf8_broken_run(text + i, bytes - i);
        if (!s && buffer_put(out, text + i, broken)) s = EK_E_NOMEM;
        i += broken;
    }
    return s;
}

/* No spaces at the ends, one where there are several. */
static ek_status trim(struct buffer *out, const char *text, size_t bytes)
{
    int space = 1;
    for (size_t i = 0; i < bytes; i++) {
        if (!(text[i] == ' ' && space) && buffer_put(out, text + i, 1)) return EK_E_NOMEM;
        space = text[i] == ' ';
    }
    if (out->bytes && out->data[out->bytes - 1] == ' ') out->bytes--;
    return EK_OK;
}

static ek_status apply(const struct norm *n, struct buffer *out, struct matcher **m,
                       const char *text, size_t bytes)
{
    switch (n->kind) {
    case NORM_PREPEND:
        return buffer_put(out, n->to, n->to_bytes) || buffer_put(out, text, bytes) ? EK_E_NOMEM
                                                                                   : EK_OK;
    case NORM_REPLACE:
        return n->re ? replace_matches(out, n, m, text, bytes) : replace_text(out, n, text, bytes);
    case NORM_TRIM: return trim(out, text, bytes);
    default: return unicode_form(out, n->kind, text, bytes);
    }
}

ek_status normalize(const struct tokenizer *t, struct buffer *work, struct matcher **m,
                    const char *text, size_t bytes, const char **out, size_t *out_bytes)
{
    for (size_t i = 0; i < t->norm_count && bytes; i++) {
        const struct norm *n = &t->norms[i];
        if (n->kind <= NORM_NFKD && is_normal(n->kind, text, bytes)) continue;
        struct buffer *b  = text == work[0].data ? &work[1] : &work[0];
        b->bytes          = 0;
        const ek_status s = apply(n, b, m, text, bytes);
        if (s) return s;
        bytes = b->bytes;
        text  = bytes ? b->data : "";
    }
    *out = text, *out_bytes = bytes;
    return EK_OK;
}
