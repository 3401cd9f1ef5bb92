/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_scan.c - walks JSON in place: strings, integers, and where a value ends. */
#include "model/tokenizer_scan.h"

#include <string.h>

enum { DEPTH_MAX = 64 };

static int bad(struct scan *s, const char *what)
{
    if (!s->status)
        s->status =
            fail(s->e, EK_E_FORMAT, "%s: byte %zu: %s", s->path, (size_t)(s->p - s->begin), what);
    return 0;
}

static void skip_space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

int scan_accept(struct scan *s, char c)
{
    skip_space(s);
    if (s->p == s->end || *s->p != c) return 0;
    s->p++;
    return 1;
}

int scan_expect(struct scan *s, char c)
{
    if (scan_accept(s, c)) return 1;
    const char what[] = {'\'', c, '\'', ' ', 'e', 'x', 'p', 'e', 'c', 't', 'e', 'd', '\0'};
    return bad(s, what);
}

int scan_finished(struct scan *s)
{
    skip_space(s);
    return s->p == s->end ? 1 : bad(s, "text behind the end");
}

/* Four hexadecimal digits, or -1. */
static int32_t hex4(struct scan *s)
{
    int32_t value = 0;
    if (s->end - s->p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        const char c = *s->p++;
        const int  d = c >= '0' && c <= '9'   ? c - '0'
                       : c >= 'a' && c <= 'f' ? c - 'a' + 10
                       : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                              : -1;
        if (d < 0) return -1;
        value = value * 16 + d;
    }
    return value;
}

/* \uXXXX, p behind the u; two of them for a character past U+FFFF. */
static int put_escaped_character(struct scan *s)
{
    char    out[4];
    int32_t c = hex4(s);
    if (c < 0) return bad(s, "bad \\u escape");
    if (c >= 0xD800 && c < 0xDC00 && s->end - s->p >= 2 && s->p[0] == '\\' && s->p[1] == 'u') {
        s->p += 2;
        const int32_t low = hex4(s);
        if (low < 0xDC00 || low > 0xDFFF) return bad(s, "bad surrogate pair");
        c = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    }
    if (c >= 0xD800 && c <= 0xDFFF) return bad(s, "half a surrogate pair");
    const size_t n = utf8_encode((uint32_t)c, out);
    if (!buffer_put(&s->text, out, n)) return 1;
    s->status = fail(s->e, EK_E_NOMEM, "%s: out of memory", s->path);
    return 0;
}

static int put_escape(struct scan *s)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (s->p == s->end) return bad(s, "string without an end");
    const char c = *s->p++;
    if (c == 'u') return put_escaped_character(s);
    const char *at = c ? strchr(from, c) : NULL;
    if (!at) return bad(s, "bad escape");
    if (!buffer_put(&s->text, &to[at - from], 1)) return 1;
    s->status = fail(s->e, EK_E_NOMEM, "%s: out of memory", s->path);
    return 0;
}

/* Plain characters from p: stops at a quote or backslash. */
static int plain(struct scan *s, struct span *out)
{
    const char *from = s->p;
    while (s->p < s->end && *s->p != '"' && *s->p != '\\') {
        if ((unsigned char)*s->p < ' ') return bad(s, "control character in a string");
        s->p++;
    }
    if (s->p == s->end) return bad(s, "string without an end");
    *out = (struct span){from, (size_t)(s->p - from)};
    return utf8_run(from, out->bytes) == out->bytes ? 1 : bad(s, "string that is not UTF-8");
}

int scan_string(struct scan *s, struct span *out)
{
    if (!scan_expect(s, '"') || !plain(s, out)) return 0;
    if (*s->p++ == '"') return 1;
    s->text.bytes = 0;
    for (;;) { /* p is behind a backslash */
        if (buffer_put(&s->text, out->data, out->bytes)) {
            s->status = fail(s->e, EK_E_NOMEM, "%s: out of memory", s->path);
            return 0;
        }
        if (!put_escape(s) || !plain(s, out)) return 0;
        if (*s->p++ == '"') break;
    }
    if (buffer_put(&s->text, out->data, out->bytes)) {
        s->status = fail(s->e, EK_E_NOMEM, "%s: out of memory", s->path);
        return 0;
    }
    *out = (struct span){s->text.data ? s->text.data : "", s->text.bytes};
    return 1;
}

int scan_integer(struct scan *s, int64_t *out)
{
    skip_space(s);
    const int negative = s->p < s->end && *s->p == '-';
    int64_t   value    = 0;
    s->p += negative;
    const char *first = s->p;
    for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++)
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, *s->p - '0', &value))
            return bad(s, "integer out of range");
    if (s->p == first || (s->p < s->end && (*s->p == '.' || *s->p == 'e' || *s->p == 'E')))
        return bad(s, "integer expected");
    *out = negative ? -value : value;
    return 1;
}

/* To behind the closing quote, p behind the opening one. */
static int skip_string(struct scan *s)
{
    while (s->p < s->end) {
        const char c = *s->p++;
        if (c == '"') return 1;
        if (c == '\\' && s->p < s->end) s->p++;
    }
    return bad(s, "string without an end");
}

int scan_value(struct scan *s, struct span *out)
{
    skip_space(s);
    const char *from  = s->p;
    int         depth = 0;
    do {
        if (s->p == s->end) return bad(s, "the text ends too early");
        const char c = *s->p;
        if (depth == 0 && (c == ',' || c == '}' || c == ']')) break; /* behind a number */
        s->p++;
        if (c == '"' && !skip_string(s)) return 0;
        if ((c == '{' || c == '[') && ++depth > DEPTH_MAX) return bad(s, "nested too deeply");
        if (c == '}' || c == ']') depth--;
        if (depth == 0 && (c == '"' || c == '}' || c == ']')) break;
    } while (s->p < s->end || depth);
    *out = (struct span){from, (size_t)(s->p - from)};
    return s->p > from ? 1 : bad(s, "value expected");
}

json_t *span_json(const struct span *v, const char *path, const char *what, ek_status *status,
                  struct error *e)
{
    *status = EK_OK;
    if (!v->data) return NULL;
    json_error_t err;
    json_t      *j = json_loadb(v->data, v->bytes, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &err);
    if (!j) *status = fail(e, EK_E_FORMAT, "%s: %s: %s", path, what, err.text);
    return j;
}
