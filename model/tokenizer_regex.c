/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_regex.c - pre-split expressions through PCRE2, compiled to machine code. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "model/tokenizer_impl.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

struct regex {
    pcre2_code *code;
};

struct matcher {
    pcre2_match_data    *data;
    pcre2_match_context *context;
    pcre2_jit_stack     *stack;
};

/* Steps a match may take: published expressions need a few per byte. Far above 1 MB of one
 * character, far below a second for an expression that backtracks without end. */
enum { MATCH_STEPS = 20000000, JIT_STACK = 4 << 20, HEAP_KIB = 64 << 10 };

/* Unicode's White_Space for \s, as the tokenizers' own engines have it: PCRE2's adds U+180E. */
static int widen_space(struct buffer *b, const char *pattern, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (pattern[i] != '\\' || i + 1 == bytes) {
            if (buffer_put(b, pattern + i, 1)) return -1;
            continue;
        }
        i++;
        const char *p = pattern[i] == 's'   ? "\\p{Wspace}"
                        : pattern[i] == 'S' ? "\\P{Wspace}"
                                            : NULL;
        if (p ? buffer_put(b, p, strlen(p)) : buffer_put(b, pattern + i - 1, 2)) return -1;
    }
    return 0;
}

static pcre2_code *compile(const char *pattern, size_t bytes, int *code, size_t *at)
{
    /* Expressions are written for Oniguruma in Ruby's ways: ^ and $ are lines' */
    const uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
    return pcre2_compile((PCRE2_SPTR)pattern, bytes, options, code, at, NULL);
}

ek_status regex_compile(struct regex **r, const char *pattern, size_t bytes, const char *path,
                        struct error *e)
{
    struct buffer wide = {NULL, 0, 0};
    int           code;
    size_t        at;
    if (widen_space(&wide, pattern, bytes)) {
        buffer_free(&wide);
        return fail(e, EK_E_NOMEM, "%s: out of memory", path);
    }
    pcre2_code *c = compile(wide.data ? wide.data : "", wide.bytes, &code, &at);
    buffer_free(&wide);
    if (!c) c = compile(pattern, bytes, &code, &at); /* before 10.40 Wspace is unknown */
    if (!c) {
        PCRE2_UCHAR text[128] = "";
        pcre2_get_error_message(code, text, sizeof text);
        return fail(e, EK_E_FORMAT, "%s: expression %.*s: at byte %zu: %s", path,
                    (int)(bytes > 60 ? 60 : bytes), pattern, at, (const char *)text);
    }
    pcre2_jit_compile(c, PCRE2_JIT_COMPLETE); /* where it fails, matches are interpreted */
    if (!(*r = malloc(sizeof **r))) {
        pcre2_code_free(c);
        return fail(e, EK_E_NOMEM, "%s: out of memory", path);
    }
    (*r)->code = c;
    return EK_OK;
}

void regex_free(struct regex *r)
{
    if (!r) return;
    pcre2_code_free(r->code);
    free(r);
}

struct matcher *matcher_open(void)
{
    struct matcher *m = calloc(1, sizeof *m);
    if (!m) return NULL;
    m->data    = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    m->stack   = pcre2_jit_stack_create(32 << 10, JIT_STACK, NULL);
    if (!m->data || !m->context) {
        matcher_close(m);
        return NULL;
    }
    pcre2_set_match_limit(m->context, MATCH_STEPS);
    pcre2_set_heap_limit(m->context, HEAP_KIB);
    pcre2_jit_stack_assign(m->context, NULL, m->stack);
    return m;
}

void matcher_close(struct matcher *m)
{
    if (!m) return;
    pcre2_match_data_free(m->data);
    pcre2_match_context_free(m->context);
    pcre2_jit_stack_free(m->stack);
    free(m);
}

int regex_next(struct matcher *m, const struct regex *r, const char *text, size_t bytes,
               size_t from, size_t *begin, size_t *end)
{
    /* the text is known to be well-formed; checking it again at each match would be quadratic */
    const PCRE2_SPTR p       = (PCRE2_SPTR)text;
    const uint32_t   checked = PCRE2_NO_UTF_CHECK;
    int              n       = pcre2_match(r->code, p, bytes, from, checked, m->data, m->context);
    if (n == PCRE2_ERROR_JIT_STACKLIMIT)
        n = pcre2_match(r->code, p, bytes, from, checked | PCRE2_NO_JIT, m->data, m->context);
    if (n == PCRE2_ERROR_NOMATCH) return 0;
    if (n < 0) return -1;
    const PCRE2_SIZE *range = pcre2_get_ovector_pointer(m->data);
    if (range[0] < from || range[1] < range[0]) return -1; /* \K in a lookbehind */
    *begin = range[0], *end = range[1];
    return 1;
}
