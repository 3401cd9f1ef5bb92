/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_added.c - added tokens: the leftmost, longest of them in a text. */
#include "model/tokenizer_impl.h"

#include <stdlib.h>
#include <string.h>

static int by_text(const void *a, const void *b)
{
    const struct added_key *x = a, *y = b;
    const int order = memcmp(x->text, y->text, x->bytes < y->bytes ? x->bytes : y->bytes);
    if (order) return order;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* First key in [low, high) whose byte at depth is at least c; keys there are longer than depth. */
static size_t bound(const struct added_set *s, size_t low, size_t high, size_t depth, unsigned c)
{
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if ((unsigned char)s->keys[middle].text[depth] < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest key that text begins with, or NULL. */
static const struct added_key *longest(const struct added_set *s, const char *text, size_t bytes)
{
    const struct added_key *best = NULL;
    size_t                  low = 0, high = s->count;
    for (size_t depth = 0; low < high; depth++) {
        if (s->keys[low].bytes == depth) best = &s->keys[low]; /* shorter ones come first */
        while (low < high && s->keys[low].bytes == depth) low++;
        if (depth == bytes) break;
        const unsigned c = (unsigned char)text[depth];
        low              = bound(s, low, high, depth, c);
        high             = bound(s, low, high, depth, c + 1);
    }
    return best;
}

/* Bytes of white space at the end of text, and at its beginning. */
static size_t spaces_before(const char *text, size_t bytes)
{
    size_t at = bytes;
    while (at) {
        size_t i = at - 1;
        while (i && at - i < 4 && ((unsigned char)text[i] & 0xC0) == 0x80) i--;
        if (utf8_length(text + i, at - i) != at - i || !is_space(utf8_decode(text + i, at - i)))
            break;
        at = i;
    }
    return bytes - at;
}

static size_t spaces_after(const char *text, size_t bytes)
{
    size_t at = 0;
    while (at < bytes) {
        const size_t length = utf8_length(text + at, bytes - at);
        if (!length || !is_space(utf8_decode(text + at, length))) break;
        at += length;
    }
    return at;
}

static int word_before(const char *text, size_t bytes)
{
    if (!bytes) return 0;
    size_t i = bytes - 1;
    while (i && bytes - i < 4 && ((unsigned char)text[i] & 0xC0) == 0x80) i--;
    return utf8_length(text + i, bytes - i) == bytes - i &&
           is_word(utf8_decode(text + i, bytes - i));
}

static int word_after(const char *text, size_t bytes)
{
    const size_t length = bytes ? utf8_length(text, bytes) : 0;
    return length && is_word(utf8_decode(text, length));
}

ptrdiff_t added_next(const struct tokenizer *t, const struct added_set *set, unsigned flags,
                     const char *text, size_t bytes, size_t from, size_t *begin, size_t *end)
{
    const size_t start = from;
    while (set->count && from < bytes) {
        if (!set->begins[(unsigned char)text[from]]) {
            from++;
            continue;
        }
        const struct added_key *k = longest(set, text + from, bytes - from);
        if (!k) {
            from++;
            continue;
        }
        const struct added *a = &t->added[k->index];
        const size_t        b = from;
        from += k->bytes; /* found ones do not overlap, taken or not */
        if (a->special && !(flags & TOKENIZE_SPECIAL)) continue;
        if (a->single_word && (word_before(text, b) || word_after(text + from, bytes - from)))
            continue;
        *begin = b - (a->lstrip ? spaces_before(text + start, b - start) : 0);
        *end   = from + (a->rstrip ? spaces_after(text + from, bytes - from) : 0);
        return (ptrdiff_t)k->index;
    }
    return -1;
}

/* ---- building ---- */

ek_status added_add(struct tokenizer *t, struct added a, struct error *e)
{
    if (!(t->added_count & (t->added_count - 1))) { /* full at powers of two */
        const size_t  room = t->added_count ? t->added_count * 2 : 1;
        struct added *p    = realloc(t->added, room * sizeof *p);
        if (!p) return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
        t->added = p;
    }
    t->added[t->added_count++] = a;
    struct token *k            = &t->tokens[a.id];
    k->flags |= TOKEN_ADDED;
    if (a.special) k->flags |= TOKEN_SPECIAL;
    return EK_OK;
}

ek_status added_token(struct tokenizer *t, int64_t id, const char *text, size_t bytes,
                      struct added flags, struct error *e)
{
    const int32_t known = vocab_find(t, text, bytes);
    if (!bytes)
        return fail(e, EK_E_FORMAT, "%s: added token %lld: no text", t->path, (long long)id);
    if (known >= 0 && known != id)
        return fail(e, EK_E_FORMAT, "%s: added token %.*s: id %lld, but %d in the vocabulary",
                    t->path, (int)(bytes > 80 ? 80 : bytes), text, (long long)id, (int)known);
    if (known >= 0 && t->tokens[known].flags & TOKEN_ADDED) return EK_OK; /* listed twice */
    if (known < 0) {
        const ek_status s = vocab_add(t, id, text, bytes, 0, e);
        if (s) return s;
        if (vocab_index(t, (int32_t)id) < 0)
            return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    }
    flags.id = (int32_t)id;
    return added_add(t, flags, e);
}

static ek_status set_room(struct tokenizer *t, struct added_set *s, size_t count, struct error *e)
{
    if (!count) return EK_OK;
    if (!(s->keys = calloc(count, sizeof *s->keys)))
        return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    return EK_OK;
}

/* A normalized token is looked for as its own normalized text. */
static ek_status put_normalized(struct tokenizer *t, struct added_set *s, size_t index,
                                struct buffer *work, struct matcher **m, struct error *e)
{
    const struct token *k = &t->tokens[t->added[index].id];
    const char         *text;
    size_t              bytes;
    const ek_status     r = normalize(t, work, m, t->text.data + k->at, k->bytes, &text, &bytes);
    if (r || bytes > UINT32_MAX || buffer_put(&s->text, text, bytes))
        return fail(e, r ? r : EK_E_NOMEM, "%s: added token %d: cannot be normalized", t->path,
                    (int)t->added[index].id);
    if (bytes) s->keys[s->count++] = (struct added_key){NULL, (uint32_t)bytes, (uint32_t)index};
    return EK_OK;
}

static void set_finish(struct added_set *s)
{
    if (s->count) qsort(s->keys, s->count, sizeof *s->keys, by_text);
    for (size_t i = 0; i < s->count; i++) s->begins[(unsigned char)s->keys[i].text[0]] = 1;
}

ek_status added_index(struct tokenizer *t, struct error *e)
{
    size_t normalized = 0;
    for (size_t i = 0; i < t->added_count; i++) normalized += t->added[i].normalized;
    ek_status s = set_room(t, &t->raw_added, t->added_count - normalized, e);
    if (!s) s = set_room(t, &t->normalized_added, normalized, e);
    struct buffer   work[2] = {{NULL, 0, 0}, {NULL, 0, 0}};
    struct matcher *m       = NULL;
    for (size_t i = 0; !s && i < t->added_count; i++) {
        const struct token *k = &t->tokens[t->added[i].id];
        if (t->added[i].normalized)
            s = put_normalized(t, &t->normalized_added, i, work, &m, e);
        else
            t->raw_added.keys[t->raw_added.count++] =
                (struct added_key){t->text.data + k->at, k->bytes, (uint32_t)i};
    }
    buffer_free(&work[0]);
    buffer_free(&work[1]);
    matcher_close(m);
    if (s) return s;
    const char *at = t->normalized_added.text.data; /* it is not moved any more */
    for (size_t i = 0; i < t->normalized_added.count; i++) {
        t->normalized_added.keys[i].text = at;
        at += t->normalized_added.keys[i].bytes;
    }
    set_finish(&t->raw_added);
    set_finish(&t->normalized_added);
    return EK_OK;
}
