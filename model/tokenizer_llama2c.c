/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_llama2c.c - llama2.c's tokenizer.bin, and the tiktoken format of Llama 3. */
#include "model/tokenizer_impl.h"

#include <stdlib.h>
#include <string.h>

/* ---- llama2.c: i32 longest; then of each token f32 score, i32 bytes, the bytes ---- */

enum { UNK, BOS, EOS, FIRST_BYTE, FIRST_PIECE = FIRST_BYTE + 256 };

/* The file has plain spaces; the vocabulary spells them as SentencePiece does, and ids 1 and 2
 * stand for themselves, not for the lines they print. */
static ek_status put_piece(struct tokenizer *t, size_t id, const char *text, size_t bytes,
                           struct error *e)
{
    static const char *const control[] = {"<unk>", "<s>", "</s>"};
    struct buffer            b         = {NULL, 0, 0};
    int                      bad       = 0;
    if (id < FIRST_BYTE) text = control[id], bytes = strlen(text);
    for (size_t i = 0; i < bytes && !bad; i++)
        bad = text[i] == ' ' ? buffer_put(&b, LOW_LINE, 3) : buffer_put(&b, text + i, 1);
    const unsigned flags = id < FIRST_BYTE    ? TOKEN_APART | TOKEN_SPECIAL
                           : id < FIRST_PIECE ? TOKEN_APART
                                              : 0;
    ek_status      s     = EK_E_NOMEM;
    if (!bad) s = vocab_add(t, (int64_t)id, b.data ? b.data : "", b.bytes, flags, e);
    if (!s && vocab_index(t, (int32_t)id) < 0) s = EK_E_NOMEM;
    buffer_free(&b);
    return s == EK_E_NOMEM ? fail(e, s, "%s: out of memory", t->path) : s;
}

static ek_status read_pieces(struct tokenizer *t, const unsigned char *p, const unsigned char *end,
                             float *scores, size_t room, struct error *e)
{
    ek_status s = EK_OK;
    for (size_t id = 0; !s && p < end; id++) {
        uint32_t bytes;
        if (end - p < 8 || id == room)
            return fail(e, EK_E_FORMAT, "%s: token %zu: ends past the file", t->path, id);
        memcpy(&scores[id], p, 4);
        memcpy(&bytes, p + 4, 4);
        p += 8;
        if (bytes > (size_t)(end - p))
            return fail(e, EK_E_FORMAT, "%s: token %zu: ends past the file", t->path, id);
        s = put_piece(t, id, (const char *)p, bytes, e);
        p += bytes;
    }
    return s;
}

ek_status read_llama2c(struct tokenizer *t, const unsigned char *data, size_t bytes,
                       struct error *e)
{
    if (bytes < 4) return fail(e, EK_E_FORMAT, "%s: too short for a tokenizer", t->path);
    const size_t room   = bytes / 8 + 1; /* no token is shorter */
    float       *scores = calloc(room, sizeof *scores);
    if (!scores) return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    ek_status s = read_pieces(t, data + 4, data + bytes, scores, room, e);
    if (!s && t->size <= FIRST_PIECE)
        s = fail(e, EK_E_FORMAT, "%s: %zu tokens, fewer than its bytes", t->path, t->size);
    if (!s) s = sentencepiece_setup(t, 1, 0, e);
    if (!s) s = merges_from_scores(t, scores, e);
    free(scores);
    if (s) return s;
    t->unk = UNK, t->bos = BOS, t->eos = EOS;
    t->prefix[t->prefix_count++] = BOS;
    for (int32_t id = UNK; !s && id < FIRST_BYTE; id++)
        s = added_add(t, (struct added){.id = id, .special = 1}, e);
    return s;
}

/* ---- tiktoken: lines of base64 bytes and their rank, which is the id ---- */

static int base64_value(char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

/* Bytes of base64 as byte-level letters into out; 0 when malformed or too long. */
static size_t letters_of_base64(const char *text, size_t n, char *out)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t   used = 0;
    while (n && text[n - 1] == '=') n--;
    for (size_t i = 0; i < n; i++) {
        const int v = base64_value(text[i]);
        if (v < 0 || used > TOKEN_MAX - 2) return 0;
        bits = bits << 6 | (uint32_t)v, have += 6;
        if (have < 8) continue;
        have -= 8;
        used += utf8_encode(letter_of_byte((unsigned char)(bits >> have)), out + used);
    }
    return used;
}

static ek_status read_rank(struct tokenizer *t, const char *line, size_t bytes, size_t number,
                           struct error *e)
{
    char        letters[TOKEN_MAX + 2];
    const char *space = memchr(line, ' ', bytes);
    int64_t     id    = 0;
    size_t      n     = space ? letters_of_base64(line, (size_t)(space - line), letters) : 0;
    for (const char *c = space ? space + 1 : line; n && c < line + bytes; c++) {
        if (*c < '0' || *c > '9' || id > ID_MAX) n = 0;
        id = id * 10 + (*c - '0');
    }
    if (!n || space + 1 == line + bytes)
        return fail(e, EK_E_FORMAT, "%s: line %zu: base64 and a rank expected", t->path, number);
    const ek_status s = vocab_add(t, id, letters, n, 0, e);
    if (s) return s;
    const int unique = vocab_index(t, (int32_t)id);
    if (unique < 0) return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    return unique ? EK_OK
                  : fail(e, EK_E_FORMAT, "%s: line %zu: a token given twice", t->path, number);
}

ek_status read_tiktoken(struct tokenizer *t, const char *data, size_t bytes, struct error *e)
{
    ek_status s       = EK_OK;
    int       add_bos = 0;
    for (size_t i = 0, number = 1; !s && i < bytes; number++) {
        const char  *end = memchr(data + i, '\n', bytes - i);
        const size_t n   = end ? (size_t)(end - data) - i : bytes - i;
        const size_t cut = n && data[i + n - 1] == '\r';
        if (n - cut) s = read_rank(t, data + i, n - cut, number, e);
        i += n + 1;
    }
    if (s) return s;
    uint32_t *ranks = calloc(t->size + 1, sizeof *ranks);
    if (!ranks) return fail(e, EK_E_NOMEM, "%s: out of memory", t->path);
    for (size_t i = 0; i < t->size; i++) ranks[i] = (uint32_t)i;
    s = merges_from_ranks(t, ranks, e);
    free(ranks);
    const char *pre = known_by_vocabulary(t, NULL);
    if (!s) s = known_setup(t, pre, strlen(pre), &add_bos, e);
    t->ignore_merges = 1; /* a word that is a token is that token */
    if (!s) s = known_specials(t, e);
    if (!s && add_bos && t->bos >= 0) t->prefix[t->prefix_count++] = t->bos;
    return s;
}
