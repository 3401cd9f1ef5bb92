/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_split.c - the pre-tokenizer: cuts a text into the words BPE works on. */
#include "model/tokenizer_impl.h"

#include <string.h>

/* Pieces of one step, joined as its behavior says before they go on to the next step. */
struct joiner {
    struct encoder     *x;
    const struct split *split;
    const char         *text;
    size_t              step;
    size_t              begin, end; /* held back; none when equal */
    int                 matched;    /* what is held is, or ends with, a match */
};

static ek_status pass(struct joiner *j, size_t begin, size_t end)
{
    return begin < end ? split_text(j->x, j->step + 1, j->text + begin, end - begin) : EK_OK;
}

static ek_status flush(struct joiner *j)
{
    const size_t begin = j->begin, end = j->end;
    j->begin = j->end = 0;
    return pass(j, begin, end);
}

static ek_status hold(struct joiner *j, size_t begin, size_t end, int matched)
{
    const ek_status s = flush(j);
    j->begin = begin, j->end = end, j->matched = matched;
    return s;
}

static ek_status put(struct joiner *j, size_t begin, size_t end, int matched)
{
    if (begin == end) return EK_OK;
    matched ^= j->split->invert;
    const int held = j->begin < j->end;
    switch (j->split->behavior) {
    case SPLIT_REMOVED: return matched ? EK_OK : pass(j, begin, end);
    case SPLIT_CONTIGUOUS:
        if (!held || j->matched != matched) return hold(j, begin, end, matched);
        j->end = end;
        return EK_OK;
    case SPLIT_MERGED_PREVIOUS: /* a match ends what is held, unless that ends with one */
        if (!held || !matched || j->matched) return hold(j, begin, end, matched);
        j->end = end, j->matched = 1;
        return EK_OK;
    case SPLIT_MERGED_NEXT: /* what follows a match joins it, unless it is a match too */
        if (!held || matched || !j->matched) return hold(j, begin, end, matched);
        j->end = end, j->matched = 0;
        return EK_OK;
    default: return pass(j, begin, end);
    }
}

static ek_status cut_run(struct joiner *j, size_t base, size_t bytes)
{
    const char *text = j->text + base;
    size_t      at = 0, from = 0, begin, end;
    ek_status   s = EK_OK;
    while (!s && from <= bytes) {
        const int found = regex_next(j->x->matcher, j->split->re, text, bytes, from, &begin, &end);
        if (found < 0)
            return fail(j->x->e, EK_E_FORMAT, "%s: expression %s: too complex for this text",
                        j->x->t->path, j->split->pattern);
        if (!found) break;
        s = put(j, base + at, base + begin, 0);
        if (!s) s = put(j, base + begin, base + end, 1);
        at   = end;
        from = end > begin ? end : end + (end < bytes ? utf8_length(text + end, bytes - end) : 1);
    }
    return s ? s : put(j, base + at, base + bytes, 0);
}

/* Bytes until the next place where t->cut allows a cut. */
static size_t until_cut(enum cut cut, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes;) {
        const char *hit = memmem(text + i, bytes - i, LOW_LINE, 3);
        if (!hit) break;
        const size_t at  = (size_t)(hit - text);
        size_t       end = at + 3; /* of the run of them */
        while (bytes - end >= 3 && !memcmp(text + end, LOW_LINE, 3)) end += 3;
        if (cut == CUT_BEHIND_SPACE && end < bytes) return end;
        if (cut == CUT_BEFORE_SPACE && at) return at;
        i = end;
    }
    return bytes;
}

/* A text that no pre-tokenizer cuts is one word; short ones stay in the caches. */
static ek_status encode_word(struct encoder *x, const char *text, size_t bytes)
{
    ek_status s = EK_OK;
    if (x->t->cut == CUT_NOWHERE) return bpe_word(x, text, bytes);
    while (!s && bytes) {
        const size_t n = until_cut(x->t->cut, text, bytes);
        s              = bpe_word(x, text, n);
        text += n, bytes -= n;
    }
    return s;
}

ek_status split_text(struct encoder *x, size_t step, const char *text, size_t bytes)
{
    if (!bytes) return EK_OK;
    if (step == x->t->split_count) return encode_word(x, text, bytes);
    if (!x->matcher && !(x->matcher = matcher_open()))
        return fail(x->e, EK_E_NOMEM, "%s: out of memory", x->t->path);
    struct joiner j = {x, &x->t->splits[step], text, step, 0, 0, 0};
    ek_status     s = EK_OK;
    for (size_t i = 0; !s && i < bytes;) { /* broken bytes match nothing */
        const size_t run = utf8_run(text + i, bytes - i);
        if (run) s = cut_run(&j, i, run);
        i += run;
        const size_t broken = utf8_broken_run(text + i, bytes - i);
        if (!s) s = put(&j, i, i + broken, 0);
        i += broken;
    }
    return s ? s : flush(&j);
}
