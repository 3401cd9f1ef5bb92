/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_encode.c - text to ids: added tokens, normalizer, pre-tokenizer, words. */
#include "model/tokenizer_impl.h"

#include <stdlib.h>
#include <string.h>

static ek_status no_memory(struct encoder *x)
{
    return fail(x->e, EK_E_NOMEM, "%s: out of memory", x->t->path);
}

/* The pre-tokenizer's own rewriting (Metaspace, add_prefix_space), then its cuts. */
static ek_status pretokenize(struct encoder *x, int first, const char *text, size_t bytes)
{
    const struct tokenizer *t     = x->t;
    const char             *space = t->metaspace ? LOW_LINE : " ";
    const size_t            n     = strlen(space);
    if (!bytes || (!t->metaspace && t->lead == LEAD_NONE)) return split_text(x, 0, text, bytes);
    x->lead.bytes   = 0;
    const int begun = (bytes >= n && !memcmp(text, space, n)) || text[0] == ' ';
    if ((t->lead == LEAD_ALWAYS || (t->lead == LEAD_FIRST && first)) && !begun &&
        buffer_put(&x->lead, space, n))
        return no_memory(x);
    for (size_t i = 0; i < bytes;) {
        const char  *hit  = t->metaspace ? memchr(text + i, ' ', bytes - i) : NULL;
        const size_t kept = hit ? (size_t)(hit - text) - i : bytes - i;
        if (buffer_put(&x->lead, text + i, kept) || (hit && buffer_put(&x->lead, space, n)))
            return no_memory(x);
        i += kept + (hit != NULL);
    }
    return split_text(x, 0, x->lead.data, x->lead.bytes);
}

static ek_status encode_normal(struct encoder *x, int first, const char *text, size_t bytes)
{
    size_t from = 0, begin, end;
    while (from < bytes) {
        const ptrdiff_t a =
            added_next(x->t, &x->t->normalized_added, x->flags, text, bytes, from, &begin, &end);
        if (a < 0) break;
        const ek_status s = pretokenize(x, first && !from, text + from, begin - from);
        if (s) return s;
        if (ids_put(&x->ids, x->t->added[a].id)) return no_memory(x);
        from = end;
    }
    return pretokenize(x, first && !from, text + from, bytes - from);
}

static ek_status encode_raw(struct encoder *x, int first, const char *text, size_t bytes)
{
    const ek_status s = normalize(x->t, x->normal, &x->matcher, text, bytes, &text, &bytes);
    if (s) return fail(x->e, s, "%s: the text cannot be normalized", x->t->path);
    return encode_normal(x, first, text, bytes);
}

static ek_status encode_text(struct encoder *x, const char *text, size_t bytes)
{
    size_t from = 0, begin, end;
    while (from < bytes) {
        const ptrdiff_t a =
            added_next(x->t, &x->t->raw_added, x->flags, text, bytes, from, &begin, &end);
        if (a < 0) break;
        const ek_status s = encode_raw(x, !from, text + from, begin - from);
        if (s) return s;
        if (ids_put(&x->ids, x->t->added[a].id)) return no_memory(x);
        from = end;
    }
    return encode_raw(x, !from, text + from, bytes - from);
}

ek_status tokenizer_encode(const struct tokenizer *t, const char *text, size_t bytes,
                           unsigned flags, int32_t **ids, size_t *count, struct error *e)
{
    if (!t || (!text && bytes) || !ids || !count)
        return fail(e, EK_E_ARG, "tokenizer_encode: bad argument");
    if (bytes > INT32_MAX)
        return fail(e, EK_E_OVERFLOW, "%s: a text of %zu bytes is too long", t->path, bytes);
    struct encoder x = {.t = t, .flags = flags, .e = e};
    ek_status      s = EK_OK;
    /* also makes ids a block that can be freed where there are none */
    if (ids_put(&x.ids, 0)) s = no_memory(&x);
    x.ids.count = 0;
    for (size_t i = 0; !s && flags & TOKENIZE_BOS && i < t->prefix_count; i++)
        if (ids_put(&x.ids, t->prefix[i])) s = no_memory(&x);
    if (!s && bytes) s = encode_text(&x, text, bytes);
    free(x.symbols);
    free(x.heap);
    buffer_free(&x.normal[0]);
    buffer_free(&x.normal[1]);
    buffer_free(&x.lead);
    matcher_close(x.matcher);
    if (s) {
        free(x.ids.data);
        return s;
    }
    *ids = x.ids.data, *count = x.ids.count;
    return EK_OK;
}
