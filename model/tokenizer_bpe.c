/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_bpe.c - byte-pair encoding of one word: the lowest rank first, then the leftmost,
 * by a heap, so that a word of a megabyte is no slower per byte than a short one. */
#include "model/tokenizer_impl.h"

#include <stdlib.h>
#include <string.h>

enum { DEAD = -2, NONE = -1 };
#define END UINT32_MAX

int ids_put(struct ids *ids, int32_t id)
{
    if (ids->count == ids->capacity) {
        if (ids->capacity > SIZE_MAX / 4 / sizeof *ids->data) return -1;
        const size_t capacity = ids->capacity * 2 + 16;
        int32_t     *p        = realloc(ids->data, capacity * sizeof *p);
        if (!p) return -1;
        ids->data = p, ids->capacity = capacity;
    }
    ids->data[ids->count++] = id;
    return 0;
}

/* ---- the heap ---- */

/* Four children: half as deep as two, and they share a cache line. */
enum { CHILDREN = 4 };

static void sink(struct candidate *h, size_t n, size_t i)
{
    const struct candidate c = h[i];
    for (size_t first; (first = i * CHILDREN + 1) < n;) {
        const size_t end   = first + CHILDREN < n ? first + CHILDREN : n;
        size_t       least = first;
        for (size_t k = first + 1; k < end; k++)
            if (h[k].key < h[least].key) least = k;
        if (c.key <= h[least].key) break;
        h[i] = h[least];
        i    = least;
    }
    h[i] = c;
}

static void push(struct encoder *x, struct candidate c)
{
    struct candidate *h = x->heap;
    size_t            i = x->heap_count++;
    for (size_t up; i && h[up = (i - 1) / CHILDREN].key > c.key; i = up) h[i] = h[up];
    h[i] = c;
}

static struct candidate pop(struct encoder *x)
{
    const struct candidate top = x->heap[0];
    x->heap[0]                 = x->heap[--x->heap_count];
    if (x->heap_count) sink(x->heap, x->heap_count, 0);
    return top;
}

/* ---- symbols ---- */

/* Room for a word of n symbols; a merge takes one candidate and brings at most two. */
static int reserve(struct encoder *x, size_t n)
{
    if (n > UINT32_MAX / 2) return -1;
    if (n > x->symbol_capacity) {
        struct symbol *s = realloc(x->symbols, n * 2 * sizeof *s);
        if (!s) return -1;
        x->symbols = s, x->symbol_capacity = n * 2;
    }
    if (n * 2 > x->heap_capacity) {
        struct candidate *h = realloc(x->heap, n * 4 * sizeof *h);
        if (!h) return -1;
        x->heap = h, x->heap_capacity = n * 4;
    }
    return 0;
}

static void put_symbol(struct encoder *x, int32_t id)
{
    const uint32_t i = (uint32_t)x->symbol_count++;
    x->symbols[i]    = (struct symbol){id, i ? i - 1 : END, i + 1};
}

/* A character that is no token: its bytes, or the unknown token, or nothing. */
static void put_unknown(struct encoder *x, const char *c, size_t length)
{
    const struct tokenizer *t   = x->t;
    int                     all = t->byte_fallback;
    for (size_t i = 0; i < length && all; i++) all = t->byte_id[(unsigned char)c[i]] >= 0;
    if (all) {
        for (size_t i = 0; i < length; i++) put_symbol(x, t->byte_id[(unsigned char)c[i]]);
    } else if (t->unk >= 0) {
        const int again = x->symbol_count && x->symbols[x->symbol_count - 1].id == t->unk;
        if (!(t->fuse_unk && again)) put_symbol(x, t->unk);
    }
}

static void put_letters(struct encoder *x, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        const int32_t id = x->t->byte_id[(unsigned char)text[i]];
        if (id >= 0)
            put_symbol(x, id);
        else
            put_unknown(x, text + i, 1);
    }
}

static void put_characters(struct encoder *x, const char *text, size_t bytes)
{
    const struct tokenizer *t = x->t;
    for (size_t i = 0, length; i < bytes; i += length) {
        int32_t id = NONE;
        length     = utf8_length(text + i, bytes - i);
        if (length == 1)
            id = t->ascii_id[(unsigned char)text[i]];
        else if (length)
            id = vocab_find(t, text + i, length);
        else
            length = 1;
        if (id >= 0)
            put_symbol(x, id);
        else
            put_unknown(x, text + i, length);
    }
}

/* ---- merging ---- */

static int candidate_at(const struct encoder *x, uint32_t i, struct candidate *c)
{
    const uint32_t next = x->symbols[i].next;
    if (next == END) return 0;
    const struct merge *m = merge_find(x->t, x->symbols[i].id, x->symbols[next].id);
    if (!m) return 0;
    *c = (struct candidate){(uint64_t)m->rank << 32 | i, m->id};
    return 1;
}

static void merge_all(struct encoder *x)
{
    struct candidate c;
    x->heap_count = 0;
    for (uint32_t i = 0; i + 1 < x->symbol_count; i++)
        if (candidate_at(x, i, &c)) x->heap[x->heap_count++] = c;
    for (size_t i = x->heap_count / CHILDREN + 1; i-- > 0;)
        if (i < x->heap_count) sink(x->heap, x->heap_count, i);
    while (x->heap_count) {
        const struct candidate top = pop(x);
        const uint32_t         i   = (uint32_t)top.key;
        struct symbol         *s   = &x->symbols[i];
        /* Has one of the two been merged since? Another pair that makes the same token does. */
        if (s->id == DEAD || !candidate_at(x, i, &c) || c.id != top.id) continue;
        struct symbol *gone = &x->symbols[s->next];
        s->id = top.id, s->next = gone->next;
        gone->id = DEAD;
        if (s->next != END) x->symbols[s->next].prev = i;
        if (s->prev != END && candidate_at(x, s->prev, &c)) push(x, c);
        if (candidate_at(x, i, &c)) push(x, c);
    }
}

/* The token that a whole word is, spelled as the vocabulary does. */
static int32_t whole_word(struct encoder *x, const char *text, size_t bytes)
{
    if (!x->t->byte_level) return vocab_find(x->t, text, bytes);
    char   spelled[TOKEN_MAX];
    size_t n = 0;
    if (bytes > TOKEN_MAX / 2) return NONE;
    for (size_t i = 0; i < bytes; i++)
        n += utf8_encode(letter_of_byte((unsigned char)text[i]), spelled + n);
    return vocab_find(x->t, spelled, n);
}

static ek_status no_memory(struct encoder *x)
{
    return fail(x->e, EK_E_NOMEM, "%s: out of memory", x->t->path);
}

ek_status bpe_word(struct encoder *x, const char *text, size_t bytes)
{
    if (x->t->ignore_merges) {
        const int32_t id = whole_word(x, text, bytes);
        if (id >= 0) return ids_put(&x->ids, id) ? no_memory(x) : EK_OK;
    }
    x->symbol_count = 0;
    if (reserve(x, bytes)) return no_memory(x);
    if (x->t->byte_level)
        put_letters(x, text, bytes);
    else
        put_characters(x, text, bytes);
    if (!x->symbol_count) return EK_OK;
    x->symbols[x->symbol_count - 1].next = END;
    merge_all(x);
    for (uint32_t i = 0; i != END; i = x->symbols[i].next)
        if (ids_put(&x->ids, x->symbols[i].id)) return no_memory(x);
    return EK_OK;
}
