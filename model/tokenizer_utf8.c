/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_utf8.c - UTF-8, kinds of characters, the letters byte-level BPE spells with. */
#include "model/tokenizer_impl.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* Unicode table 3-7: what may follow each first byte. */
size_t utf8_length(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    if (u[0] < 0x80) return 1;
    if (u[0] < 0xC2 || u[0] > 0xF4) return 0;
    const size_t length = u[0] < 0xE0 ? 2 : u[0] < 0xF0 ? 3 : 4;
    if (n < length) return 0;
    const unsigned low  = u[0] == 0xE0 ? 0xA0 : u[0] == 0xF0 ? 0x90 : 0x80;
    const unsigned high = u[0] == 0xED ? 0x9F : u[0] == 0xF4 ? 0x8F : 0xBF;
    if (u[1] < low || u[1] > high) return 0;
    for (size_t i = 2; i < length; i++)
        if ((u[i] & 0xC0) != 0x80) return 0;
    return length;
}

uint32_t utf8_decode(const char *p, size_t length)
{
    const unsigned char *u = (const unsigned char *)p;
    if (length == 1) return u[0];
    uint32_t c = u[0] & (0xFFU >> (length + 1));
    for (size_t i = 1; i < length; i++) c = c << 6 | (u[i] & 0x3FU);
    return c;
}

size_t utf8_encode(uint32_t c, char *out)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    const size_t length = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = length; --i; c >>= 6) out[i] = (char)(0x80U | (c & 0x3FU));
    out[0] = (char)((0xF00U >> length & 0xFFU) | c);
    return length;
}

size_t utf8_run(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n) {
        uint64_t eight;
        if (n - i >= sizeof eight) {
            memcpy(&eight, p + i, sizeof eight);
            if (!(eight & 0x8080808080808080U)) {
                i += sizeof eight;
                continue;
            }
        }
        const size_t length = utf8_length(p + i, n - i);
        if (!length) break;
        i += length;
    }
    return i;
}

size_t utf8_broken_run(const char *p, size_t n)
{
    size_t i = 0;
    while (i < n && !utf8_length(p + i, n - i)) i++;
    return i;
}

/* Unicode's White_Space */
int is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
           c == 0x205F || c == 0x3000;
}

/* UTS 18's \w, by general category */
int is_word(uint32_t c)
{
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC: return 1;
    default: return c == 0x200C || c == 0x200D;
    }
}

/* Printable Latin-1 spells itself; the other 68 bytes are U+0100 and on, in order. */
uint32_t letter_of_byte(unsigned char b)
{
    if (b <= 32) return 256U + b;
    if (b >= 127 && b <= 160) return 256U + 33U + b - 127U;
    return b == 173 ? 256U + 67U : b;
}

int byte_of_letter(uint32_t c)
{
    if (c >= 256) {
        if (c > 256 + 67) return -1;
        if (c == 256 + 67) return 173;
        return (int)(c < 256 + 33 ? c - 256 : c - 256 - 33 + 127);
    }
    return letter_of_byte((unsigned char)c) == c ? (int)c : -1;
}

size_t bytes_of_letters(const char *text, size_t n, char *out)
{
    size_t used = 0;
    for (size_t i = 0, length; i < n; i += length) {
        length      = utf8_length(text + i, n - i);
        const int b = length ? byte_of_letter(utf8_decode(text + i, length)) : -1;
        if (b < 0) return 0;
        out[used++] = (char)b;
    }
    return used;
}

int buffer_put(struct buffer *b, const char *data, size_t bytes)
{
    if (bytes > b->capacity - b->bytes) {
        size_t wanted;
        if (__builtin_add_overflow(b->bytes, bytes, &wanted) || wanted > SIZE_MAX / 2) return -1;
        wanted += wanted / 2 + 64;
        char *p = realloc(b->data, wanted);
        if (!p) return -1;
        b->data = p, b->capacity = wanted;
    }
    if (bytes) memcpy(b->data + b->bytes, data, bytes);
    b->bytes += bytes;
    return 0;
}

void buffer_free(struct buffer *b)
{
    free(b->data);
    *b = (struct buffer){NULL, 0, 0};
}
