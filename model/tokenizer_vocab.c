/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_vocab.c - ids and their spellings, merges: two hash tables and their checks. */
#include "model/tokenizer_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* 2^64 divided by the golden ratio: the multiplier of Fibonacci hashing */
#define SPREAD 0x9E3779B97F4A7C15U

static uint32_t hash_of(const char *text, size_t bytes)
{
    uint64_t h = bytes * SPREAD, part = 0;
    for (; bytes >= sizeof part; bytes -= sizeof part, text += sizeof part) {
        memcpy(&part, text, sizeof part);
        h = (h ^ part) * SPREAD;
        h ^= h >> 29;
    }
    part = 0;
    memcpy(&part, text, bytes);
    h = (h ^ part) * SPREAD;
    h ^= h >> 32;
    return (uint32_t)(h * SPREAD >> 32);
}

/* ---- ids ---- */

static ek_status grow_tokens(struct tokenizer *t, size_t size, struct error *e)
{
    if (size <= t->token_capacity) return EK_OK;
    const size_t  capacity = size + size / 2 + 64;
    struct token *p        = realloc(t->tokens, capacity * sizeof *p);
    if (!p) return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    memset(p + t->token_capacity, 0, (capacity - t->token_capacity) * sizeof *p);
    t->tokens = p, t->token_capacity = capacity;
    return EK_OK;
}

ek_status vocab_add(struct tokenizer *t, int64_t id, const char *text, size_t bytes, unsigned flags,
                    struct error *e)
{
    if (id < 0 || id > ID_MAX)
        return fail(e, EK_E_FORMAT, "%s: token id %lld: out of range", t->path, (long long)id);
    if (bytes > TOKEN_MAX)
        return fail(e, EK_E_FORMAT, "%s: token %lld: longer than %d bytes", t->path, (long long)id,
                    TOKEN_MAX);
    if (utf8_run(text, bytes) != bytes)
        return fail(e, EK_E_FORMAT, "%s: token %lld: not UTF-8", t->path, (long long)id);
    const ek_status s = grow_tokens(t, (size_t)id + 1, e);
    if (s) return s;
    if (t->tokens[id].flags & TOKEN_SET)
        return fail(e, EK_E_FORMAT, "%s: token id %lld is given twice", t->path, (long long)id);
    const size_t at = t->text.bytes;
    if (at > UINT32_MAX - TOKEN_MAX - 1 || buffer_put(&t->text, text, bytes) ||
        buffer_put(&t->text, "", 1))
        return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    t->tokens[id] = (struct token){(uint32_t)at, (uint16_t)bytes, (uint16_t)(flags | TOKEN_SET)};
    if (t->size <= (size_t)id) t->size = (size_t)id + 1;
    return EK_OK;
}

/* The slot that holds text, or the free one where it belongs. */
static struct slot *slot_of(const struct tokenizer *t, const char *text, size_t bytes,
                            uint32_t hash)
{
    for (size_t i = hash;; i++) {
        struct slot *s = &t->slots[i & (t->slot_count - 1)];
        if (!s->id1) return s;
        const struct token *k = &t->tokens[s->id1 - 1];
        if (s->hash == hash && k->bytes == bytes && !memcmp(t->text.data + k->at, text, bytes))
            return s;
    }
}

static int grow_slots(struct tokenizer *t, size_t count)
{
    struct slot *slots = calloc(count, sizeof *slots);
    if (!slots) return -1;
    for (size_t i = 0; i < t->slot_count; i++) {
        if (!t->slots[i].id1) continue;
        size_t at = t->slots[i].hash & (count - 1);
        while (slots[at].id1) at = (at + 1) & (count - 1);
        slots[at] = t->slots[i];
    }
    free(t->slots);
    t->slots = slots, t->slot_count = count;
    return 0;
}

int vocab_reserve(struct tokenizer *t, size_t n)
{
    size_t count = 1024;
    while (count / 2 < n && count <= ID_MAX) count *= 2;
    return count > t->slot_count ? grow_slots(t, count) : 0;
}

int vocab_index(struct tokenizer *t, int32_t id)
{
    if (t->slots_used >= t->slot_count / 2 &&
        grow_slots(t, t->slot_count ? t->slot_count * 2 : 1024))
        return -1;
    const struct token *k    = &t->tokens[id];
    const char         *text = t->text.data + k->at;
    const uint32_t      hash = hash_of(text, k->bytes);
    struct slot        *s    = slot_of(t, text, k->bytes, hash);
    if (s->id1) {
        if (s->id1 == (uint32_t)id + 1) return 1;
        t->tokens[id].flags |= TOKEN_APART; /* the first one is what a text means */
        return 0;
    }
    *s = (struct slot){hash, (uint32_t)id + 1};
    t->slots_used++;
    return 1;
}

int32_t vocab_find(const struct tokenizer *t, const char *text, size_t bytes)
{
    if (!t->slot_count || bytes > TOKEN_MAX) return -1;
    return (int32_t)slot_of(t, text, bytes, hash_of(text, bytes))->id1 - 1;
}

/* ---- merges ---- */

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

static struct merge *merge_slot(struct merge *table, size_t count, uint64_t pair)
{
    for (size_t i = pair * SPREAD >> 20;; i++) {
        struct merge *m = &table[i & (count - 1)];
        if (m->pair == pair || m->pair == UINT64_MAX) return m;
    }
}

ek_status merges_reserve(struct tokenizer *t, size_t n, struct error *e)
{
    size_t count = 1024;
    while (count / 2 < n && count <= SIZE_MAX / 4 / sizeof(struct merge)) count *= 2;
    if (count <= t->merge_count) return EK_OK;
    struct merge *table = malloc(count * sizeof *table);
    if (!table) return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    memset(table, 0xFF, count * sizeof *table);
    for (size_t i = 0; i < t->merge_count; i++)
        if (t->merges[i].pair != UINT64_MAX)
            *merge_slot(table, count, t->merges[i].pair) = t->merges[i];
    free(t->merges);
    t->merges = table, t->merge_count = count;
    return EK_OK;
}

/* A pair that comes again takes the later rank, as Hugging Face's reader has it. */
ek_status merge_add(struct tokenizer *t, int32_t left, int32_t right, uint32_t rank, int32_t id,
                    struct error *e)
{
    if (t->merges_used >= t->merge_count / 2) {
        const ek_status s = merges_reserve(t, t->merge_count + 1, e);
        if (s) return s;
    }
    struct merge *m = merge_slot(t->merges, t->merge_count, pair_of(left, right));
    t->merges_used += m->pair == UINT64_MAX;
    *m = (struct merge){pair_of(left, right), rank, id};
    return EK_OK;
}

const struct merge *merge_find(const struct tokenizer *t, int32_t left, int32_t right)
{
    if (!t->merge_count || left < 0 || right < 0) return NULL;
    const struct merge *m = merge_slot(t->merges, t->merge_count, pair_of(left, right));
    return m->pair == UINT64_MAX ? NULL : m;
}

/* Vocabularies are in the order of their merges, so the next token is nearly always this one's. */
static int32_t find_merged(struct tokenizer *t, const char *text, size_t bytes)
{
    int32_t id = t->next_merged;
    if ((size_t)id >= t->size || t->tokens[id].bytes != bytes || t->tokens[id].flags != TOKEN_SET ||
        memcmp(t->text.data + t->tokens[id].at, text, bytes) != 0)
        id = vocab_find(t, text, bytes);
    t->next_merged = id + 1;
    return id;
}

ek_status merge_from_text(struct tokenizer *t, const char *left, size_t left_bytes,
                          const char *right, size_t right_bytes, size_t number, struct error *e)
{
    char whole[TOKEN_MAX];
    if (!left_bytes || !right_bytes)
        return fail(e, EK_E_FORMAT, "%s: merge %zu: an empty part", t->path, number);
    if (left_bytes > TOKEN_MAX || right_bytes > TOKEN_MAX - left_bytes)
        return fail(e, EK_E_FORMAT, "%s: merge %zu: longer than %d bytes", t->path, number,
                    TOKEN_MAX);
    memcpy(whole, left, left_bytes);
    memcpy(whole + left_bytes, right, right_bytes);
    const int32_t l = vocab_find(t, left, left_bytes), r = vocab_find(t, right, right_bytes);
    const int32_t id = find_merged(t, whole, left_bytes + right_bytes);
    if (l < 0 || r < 0 || id < 0) {
        const char  *what  = l < 0 ? left : r < 0 ? right : whole;
        const size_t bytes = l < 0 ? left_bytes : r < 0 ? right_bytes : left_bytes + right_bytes;
        return fail(e, EK_E_FORMAT, "%s: merge %zu: %.*s is not in the vocabulary", t->path, number,
                    (int)(bytes > 80 ? 80 : bytes), what);
    }
    if (number > UINT32_MAX - 1) return fail(e, EK_E_OVERFLOW, "%s: too many merges", t->path);
    return merge_add(t, l, r, (uint32_t)number, id, e);
}

static int32_t find_part(const struct tokenizer *t, const char *text, size_t bytes)
{
    const int32_t id = vocab_find(t, text, bytes);
    return id < 0 || t->tokens[id].flags & TOKEN_APART ? -1 : id;
}

ek_status merges_from_ranks(struct tokenizer *t, const uint32_t *ranks, struct error *e)
{
    for (size_t id = 0; id < t->size; id++) {
        const struct token *k = &t->tokens[id];
        if (!(k->flags & TOKEN_SET) || k->flags & TOKEN_APART || ranks[id] == UINT32_MAX) continue;
        const char *text = t->text.data + k->at;
        if (vocab_find(t, text, k->bytes) != (int32_t)id) continue; /* another id's spelling */
        for (size_t i = 0; i < k->bytes;) {
            i += utf8_length(text + i, k->bytes - i);
            if (i >= k->bytes) break;
            const int32_t l = find_part(t, text, i);
            const int32_t r = l < 0 ? -1 : find_part(t, text + i, k->bytes - i);
            if (r < 0) continue;
            const ek_status s = merge_add(t, l, r, ranks[id], (int32_t)id, e);
            if (s) return s;
        }
    }
    return EK_OK;
}

struct scored {
    float    score;
    uint32_t id;
};

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

ek_status merges_from_scores(struct tokenizer *t, const float *scores, struct error *e)
{
    if (!t->size) return EK_OK;
    struct scored *order = malloc(t->size * sizeof *order);
    uint32_t      *ranks = malloc(t->size * sizeof *ranks);
    ek_status      s     = order && ranks ? EK_OK : EK_E_NOMEM;
    if (s) fail(e, s, "%s: out of memory", t->path);
    for (size_t i = 0; !s && i < t->size; i++) {
        if (isnan(scores[i])) s = fail(e, EK_E_FORMAT, "%s: token %zu: score is NaN", t->path, i);
        order[i] = (struct scored){scores[i], (uint32_t)i};
    }
    if (!s) {
        qsort(order, t->size, sizeof *order, by_score);
        uint32_t rank = 0;
        for (size_t i = 0; i < t->size; i++) {
            if (i && order[i].score != order[i - 1].score) rank++;
            ranks[order[i].id] = rank;
        }
        s = merges_from_ranks(t, ranks, e);
    }
    free(order);
    free(ranks);
    return s;
}

/* ---- the whole ---- */

/* Upper bound of what detokenize gives for one token: broken bytes become U+FFFD. */
static size_t rendered(const struct tokenizer *t, const struct token *k)
{
    char        bytes[TOKEN_MAX];
    const char *text = t->text.data + k->at;
    size_t      n    = t->byte_level ? bytes_of_letters(text, k->bytes, bytes) : 0;
    if (n) text = bytes;
    if (!n) return k->bytes;
    size_t sum = 0;
    for (size_t i = 0; i < n;) {
        const size_t length = utf8_length(text + i, n - i);
        sum += length ? length : 3;
        i += length ? length : 1;
    }
    return sum;
}

/* Does text have a U+2581 behind something else, and something else behind a U+2581? */
static void space_neighbours(const char *text, size_t bytes, int *before, int *behind)
{
    int last = -1; /* was it a U+2581? */
    for (size_t i = 0, length; i < bytes; i += length) {
        length          = utf8_length(text + i, bytes - i);
        const int space = length == 3 && !memcmp(text + i, LOW_LINE, 3);
        if (last == 0 && space) *before = 1;
        if (last == 1 && !space) *behind = 1;
        last = space;
    }
}

static enum cut find_cut(const struct tokenizer *t)
{
    int before = 0, behind = 0;
    if (t->byte_level || t->ignore_merges || vocab_find(t, LOW_LINE, 3) < 0) return CUT_NOWHERE;
    for (size_t i = 0; i < t->size; i++) {
        const struct token *k = &t->tokens[i];
        if (k->flags & TOKEN_SET && !(k->flags & TOKEN_ADDED))
            space_neighbours(t->text.data + k->at, k->bytes, &before, &behind);
    }
    return !before ? CUT_BEFORE_SPACE : !behind ? CUT_BEHIND_SPACE : CUT_NOWHERE;
}

ek_status vocab_finish(struct tokenizer *t, struct error *e)
{
    enum { BROKEN = 6 }; /* what was held before and is after, each as U+FFFD */
    for (size_t i = 0; i < t->size; i++)
        if (t->tokens[i].flags & TOKEN_SET && rendered(t, &t->tokens[i]) > PIECE_MAX - BROKEN)
            return fail(e, EK_E_UNSUPPORTED, "%s: token %zu: its text is longer than %d bytes",
                        t->path, i, PIECE_MAX - BROKEN);
    for (unsigned b = 0; b < 256; b++) {
        static const char digits[] = "0123456789ABCDEF";
        char              text[]   = {'<', '0', 'x', digits[b >> 4], digits[b & 15], '>'};
        size_t            n        = sizeof text;
        if (t->byte_level) n = utf8_encode(letter_of_byte((unsigned char)b), text);
        t->byte_id[b] = vocab_find(t, text, n);
    }
    for (unsigned c = 0; c < 128; c++) {
        const char    text = (char)c;
        const int32_t id   = vocab_find(t, &text, 1);
        t->ascii_id[c]     = id;
    }
    t->cut = find_cut(t);
    return EK_OK;
}
