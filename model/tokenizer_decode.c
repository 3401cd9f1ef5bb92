/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_decode.c - ids to text, one at a time: always whole, well-formed characters. */
#include "model/tokenizer_impl.h"

#include <string.h>

static const char broken[3] = {'\xEF', '\xBF', '\xBD'}; /* U+FFFD */

/* Could more bytes make a character of the n < 4 at p? */
static int may_continue(const char *p, size_t n)
{
    char whole[4];
    for (unsigned c = 0x80; c < 0xC0; c++) { /* the second byte may be limited */
        memcpy(whole, p, n);
        memset(whole + n, 0x80, sizeof whole - n);
        whole[n] = (char)c;
        for (size_t length = n + 1; length <= 4; length++)
            if (utf8_length(whole, length) == length) return 1;
    }
    return 0;
}

/* Bytes of text behind what is held; whole characters go out. */
static size_t emit(struct detokenizer *d, const char *text, size_t bytes, char *out)
{
    size_t used = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (!d->held_bytes) { /* whole characters without the detour */
            const size_t run = utf8_run(text + i, bytes - i);
            memcpy(out + used, text + i, run);
            used += run, i += run;
            if (i == bytes) break;
        }
        d->held[d->held_bytes++] = text[i];
        if (utf8_length(d->held, d->held_bytes) == d->held_bytes) {
            memcpy(out + used, d->held, d->held_bytes);
            used += d->held_bytes;
            d->held_bytes = 0;
        } else if (d->held_bytes > 3 || !may_continue(d->held, d->held_bytes)) {
            memcpy(out + used, broken, sizeof broken);
            used += 3;
            if (d->held_bytes > 1) i--; /* this byte may begin the next */
            d->held_bytes = 0;
        }
    }
    return used;
}

/* The value of "<0xNN>", or -1. */
static int byte_of_spelling(const char *text, size_t bytes)
{
    if (bytes != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>') return -1;
    int value = 0;
    for (size_t i = 3; i < 5; i++) {
        const char c     = text[i];
        const int  digit = c >= '0' && c <= '9'   ? c - '0'
                           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                                  : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The bytes a token stands for, into out; returns their number. */
static size_t plain(const struct tokenizer *t, const struct token *k, char *out)
{
    const char *text = t->text.data + k->at;
    if (t->byte_level && !(k->flags & TOKEN_ADDED)) {
        const size_t n = bytes_of_letters(text, k->bytes, out);
        if (n) return n;
    }
    const int value = t->decode_bytes ? byte_of_spelling(text, k->bytes) : -1;
    if (value >= 0) {
        out[0] = (char)value;
        return 1;
    }
    size_t used = 0;
    for (size_t i = 0; i < k->bytes;) {
        const int space = t->decode_space && k->bytes - i >= 3 && !memcmp(text + i, LOW_LINE, 3);
        out[used]       = ' ';
        if (!space) out[used] = text[i];
        used++;
        i += space ? 3 : 1;
    }
    return used;
}

size_t detokenize(struct detokenizer *d, const struct tokenizer *t, int32_t id, int show_special,
                  char *out)
{
    if (id < 0 || (size_t)id >= t->size || !(t->tokens[id].flags & TOKEN_SET)) return 0;
    const struct token *k = &t->tokens[id];
    char                bytes[TOKEN_MAX];
    if (k->flags & TOKEN_SPECIAL && !show_special) return 0;
    const char *text = bytes;
    size_t      n    = plain(t, k, bytes);
    if (t->decode_strip && !d->begun && n && text[0] == ' ') text++, n--;
    d->begun = 1;
    return emit(d, text, n, out);
}

size_t detokenize_end(struct detokenizer *d, char *out)
{
    if (!d->held_bytes) return 0;
    d->held_bytes = 0;
    memcpy(out, broken, sizeof broken);
    return 3;
}
