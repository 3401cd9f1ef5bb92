/* SPDX-License-Identifier: Apache-2.0 */
/* model/kl_base.c - records of predictions: making, writing, reading, comparing. */
#include "model/kl_base.h"

#include "model/file.h"
#include "model/perplexity.h"
#include "model/random.h"
#include "model/topk.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* File: magic, version, header, records. A record: f32 nll of the token that followed, f32 log of
 * the rest's probability; u32 ids and f32 log probabilities of the top, best first, then of the
 * samples. Where everything is kept: f32 nll, u32 best id, f32 log probabilities by id. */
static const char magic[8] = "EKKLBASE";
enum { VERSION = 1, HEADER_BYTES = 8 + 8 + 8 * 8 + 64, FIXED = 8, ENTRY = 8 };

static int keeps_all(const struct kl_header *h)
{
    return h->top == h->vocab;
}

size_t kl_record_bytes(const struct kl_header *h)
{
    if (h->vocab < 1 || h->vocab > INT32_MAX || h->top < 1 || h->top > h->vocab ||
        h->samples > h->vocab || (keeps_all(h) && h->samples))
        return 0;
    return keeps_all(h) ? FIXED + 4 * h->vocab : FIXED + ENTRY * (h->top + h->samples);
}

/* ---- records ---- */

static void put_u32(unsigned char *record, size_t at, uint32_t v)
{
    memcpy(record + at, &v, sizeof v);
}

static void put_f32(unsigned char *record, size_t at, double v)
{
    const float f = (float)v;
    memcpy(record + at, &f, sizeof f);
}

static uint32_t get_u32(const unsigned char *record, size_t at)
{
    uint32_t v;
    memcpy(&v, record + at, sizeof v);
    return v;
}

static double get_f32(const unsigned char *record, size_t at)
{
    float v;
    memcpy(&v, record + at, sizeof v);
    return (double)v;
}

/* Uniform in (0, 1), a function of the position alone: the same file whatever the threads. */
static double offset_of(uint64_t index)
{
    uint64_t       state = index;
    const uint64_t z     = splitmix64(&state);
    return ((double)(z >> 12) + 0.5) * 0x1p-52;
}

/* Is id i among the top? They are the ones that come before or are the last of them. */
static int in_top(struct candidate last, float logit, size_t i)
{
    return !candidate_before(last, (struct candidate){logit, (int32_t)i});
}

/* Systematic sampling: walking along the rest's probability, a token is taken at each of samples
 * even steps, the first at a random offset. */
static void put_samples(const struct kl_header *h, const float *logits, double lse, double rest,
                        struct candidate last, double offset, unsigned char *record)
{
    const size_t ids = FIXED + ENTRY * h->top, lps = ids + 4 * h->samples;
    double       sum = 0, step = rest / (double)h->samples, at = offset * step;
    uint64_t     taken = 0;
    size_t       i = 0, id = (size_t)last.id;
    for (; i < h->vocab && taken < h->samples; i++) {
        if (in_top(last, logits[i], i)) continue;
        const double p = exp((double)logits[i] - lse);
        if (p > 0) id = i;
        sum += p;
        while (taken < h->samples && sum > at) {
            put_u32(record, ids + 4 * taken, (uint32_t)id);
            put_f32(record, lps + 4 * taken, (double)logits[id] - lse);
            taken++, at += step;
        }
    }
    for (; taken < h->samples; taken++) { /* rounding left the last steps beyond the sum */
        put_u32(record, ids + 4 * taken, (uint32_t)id);
        put_f32(record, lps + 4 * taken, (double)logits[id] - lse);
    }
}

void kl_record(const struct kl_header *h, const float *logits, int32_t next, uint64_t index,
               struct candidate *scratch, void *record)
{
    unsigned char *r   = record;
    const double   lse = log_sum_exp(logits, h->vocab);
    put_f32(r, 0, lse - (double)logits[next]);
    if (keeps_all(h)) {
        topk(logits, h->vocab, 1, scratch);
        put_u32(r, 4, (uint32_t)scratch[0].id);
        for (size_t i = 0; i < h->vocab; i++) put_f32(r, FIXED + 4 * i, (double)logits[i] - lse);
        return;
    }
    topk(logits, h->vocab, h->top, scratch);
    const struct candidate last = scratch[h->top - 1];
    double                 rest = 0;
    for (size_t i = 0; i < h->vocab; i++)
        if (!in_top(last, logits[i], i)) rest += exp((double)logits[i] - lse);
    put_f32(r, 4, log(rest));
    for (size_t i = 0; i < h->top; i++) {
        put_u32(r, FIXED + 4 * i, (uint32_t)scratch[i].id);
        put_f32(r, FIXED + 4 * (h->top + i), (double)scratch[i].logit - lse);
    }
    put_samples(h, logits, lse, rest, last, offset_of(index), r);
}

/* ---- writing ---- */

struct kl_writer {
    struct kl_header   h;
    struct file_writer file;
    uint64_t           positions;
};

/* magic, version, and the members in their order; host order is little-endian, as in all files. */
static void header_bytes(const struct kl_header *h, unsigned char *out)
{
    const uint64_t words[] = {VERSION, h->vocab,   h->context,  h->stride, h->positions,
                              h->top,  h->samples, h->ids_hash, h->model};
    memcpy(out, magic, sizeof magic);
    memcpy(out + sizeof magic, words, sizeof words);
    memcpy(out + sizeof magic + sizeof words, h->name, sizeof h->name);
}

ek_status kl_create(struct kl_writer **w, const char *path, const struct kl_header *h,
                    struct error *e)
{
    unsigned char header[HEADER_BYTES];
    if (!kl_record_bytes(h)) return fail(e, EK_E_ARG, "%s: nothing to be kept", path);
    struct kl_writer *made = calloc(1, sizeof *made);
    if (!made) return fail(e, EK_E_NOMEM, "%s: out of memory", path);
    made->h = *h;
    header_bytes(h, header);
    ek_status s = file_create(&made->file, path, e);
    if (s) {
        free(made);
    } else if ((s = file_append(&made->file, header, sizeof header, e))) {
        kl_finish(made, 0, NULL);
    } else {
        *w = made;
    }
    return s;
}

ek_status kl_append(struct kl_writer *w, const void *records, size_t count, struct error *e)
{
    if (count > w->h.positions - w->positions)
        return fail(e, EK_E_ARG, "%s: more positions than announced", w->file.path);
    w->positions += count;
    return file_append(&w->file, records, count * kl_record_bytes(&w->h), e);
}

ek_status kl_finish(struct kl_writer *w, int keep, struct error *e)
{
    const int       whole = !keep || w->positions == w->h.positions;
    const ek_status done  = file_finish(&w->file, keep && whole, e);
    const ek_status s = whole ? done : fail(e, EK_E_ARG, "%s: positions are missing", w->file.path);
    free(w);
    return s;
}

/* ---- reading ---- */

struct kl_base {
    struct kl_header h;
    struct file      file;
    size_t           record;
    char             path[4096];
};

static ek_status read_header(struct kl_base *b, struct error *e)
{
    uint64_t words[9], need;
    if (b->file.bytes < HEADER_BYTES || memcmp(b->file.data, magic, sizeof magic) != 0)
        return fail(e, EK_E_FORMAT, "%s: not a file of ek ppl --kl-base-save", b->path);
    memcpy(words, b->file.data + sizeof magic, sizeof words);
    if (words[0] != VERSION)
        return fail(e, EK_E_FORMAT, "%s: version %llu, not %d", b->path,
                    (unsigned long long)words[0], VERSION);
    b->h = (struct kl_header){.vocab     = words[1],
                              .context   = words[2],
                              .stride    = words[3],
                              .positions = words[4],
                              .top       = words[5],
                              .samples   = words[6],
                              .ids_hash  = words[7],
                              .model     = words[8]};
    memcpy(b->h.name, b->file.data + sizeof magic + sizeof words, sizeof b->h.name);
    b->record = kl_record_bytes(&b->h);
    if (!b->record || memchr(b->h.name, '\0', sizeof b->h.name) == NULL)
        return fail(e, EK_E_FORMAT, "%s: its header makes no sense", b->path);
    if (__builtin_mul_overflow(b->h.positions, b->record, &need) ||
        need != b->file.bytes - HEADER_BYTES)
        return fail(e, EK_E_FORMAT, "%s: %zu bytes are not %llu positions of %zu", b->path,
                    b->file.bytes, (unsigned long long)b->h.positions, b->record);
    return EK_OK;
}

/* Ids index logits, so each is looked at before any is used. */
static ek_status check_ids(const struct kl_base *b, struct error *e)
{
    const int all = keeps_all(&b->h);
    for (uint64_t i = 0; i < b->h.positions; i++) {
        const unsigned char *r    = b->file.data + HEADER_BYTES + i * b->record;
        uint32_t             most = all ? get_u32(r, 4) : 0;
        for (size_t j = 0; !all && j < b->h.top; j++) {
            const uint32_t id = get_u32(r, FIXED + 4 * j);
            most              = id > most ? id : most;
        }
        for (size_t j = 0; j < b->h.samples; j++) {
            const uint32_t id = get_u32(r, FIXED + ENTRY * b->h.top + 4 * j);
            most              = id > most ? id : most;
        }
        if (most >= b->h.vocab)
            return fail(e, EK_E_FORMAT, "%s: position %llu: token %u of %llu", b->path,
                        (unsigned long long)i, most, (unsigned long long)b->h.vocab);
    }
    return EK_OK;
}

ek_status kl_open(struct kl_base **b, const char *path, struct error *e)
{
    struct kl_base *made = calloc(1, sizeof *made);
    if (!made) return fail(e, EK_E_NOMEM, "%s: out of memory", path);
    snprintf(made->path, sizeof made->path, "%s", path);
    ek_status s = file_map(&made->file, path, e);
    if (!s) s = read_header(made, e);
    if (!s) s = check_ids(made, e);
    if (s)
        kl_close(made);
    else
        *b = made;
    return s;
}

void kl_close(struct kl_base *b)
{
    if (!b) return;
    file_unmap(&b->file);
    free(b);
}

const struct kl_header *kl_header(const struct kl_base *b)
{
    return &b->h;
}

ek_status kl_check(const struct kl_base *b, const struct kl_header *mine, struct error *e)
{
    const struct {
        const char *what;
        uint64_t    base, mine;
    } sizes[] = {{"vocabulary", b->h.vocab, mine->vocab},
                 {"--ctx", b->h.context, mine->context},
                 {"--stride", b->h.stride, mine->stride},
                 {"scored tokens (--chunks, text)", b->h.positions, mine->positions}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].base != sizes[i].mine)
            return fail(e, EK_E_ARG, "%s: made with another %s: %llu, here %llu", b->path,
                        sizes[i].what, (unsigned long long)sizes[i].base,
                        (unsigned long long)sizes[i].mine);
    if (b->h.ids_hash != mine->ids_hash)
        return fail(e, EK_E_ARG, "%s: made with another text or tokenizer: the token ids differ",
                    b->path);
    return EK_OK;
}

/* ---- comparing ---- */

/* p log(p / q) - p + q from logarithms. The sum over all tokens is the divergence, as p and q both
 * sum to 1; but each term is >= 0, and rounding of a stored p counts only squared. */
static double term(double lp, double lq)
{
    return (lp > (double)-INFINITY ? exp(lp) * (lp - lq - 1) : 0) + exp(lq);
}

/* The divergence where only the top and samples of the rest are known. */
static void compare_parts(const struct kl_header *h, const unsigned char *r, const float *logits,
                          double lse, struct kl_point *out)
{
    double       head = 0, mean = 0, q_head = 0;
    const double rest = get_f32(r, 4);
    for (size_t i = 0; i < h->top; i++) {
        const double lq = (double)logits[get_u32(r, FIXED + 4 * i)] - lse;
        head += term(get_f32(r, FIXED + 4 * (h->top + i)), lq);
        q_head += exp(lq);
    }
    const size_t ids = FIXED + ENTRY * h->top, lps = ids + 4 * h->samples;
    const double q_rest = fmax(1 - q_head, 0x1p-60);
    for (size_t i = 0; i < h->samples; i++)
        mean += get_f32(r, lps + 4 * i) - ((double)logits[get_u32(r, ids + 4 * i)] - lse);
    out->least = head + term(rest, log(q_rest));
    out->kld   = out->least;
    if (h->samples && rest > (double)-INFINITY)
        out->kld = head + exp(rest) * (mean / (double)h->samples - 1) + q_rest;
}

void kl_compare(const struct kl_base *b, uint64_t position, const float *logits, int32_t next,
                struct kl_point *out)
{
    const struct kl_header *h    = &b->h;
    const unsigned char    *r    = b->file.data + HEADER_BYTES + position * b->record;
    const double            lse  = log_sum_exp(logits, h->vocab);
    const uint32_t          best = keeps_all(h) ? get_u32(r, 4) : get_u32(r, FIXED);
    struct candidate        mine;
    topk(logits, h->vocab, 1, &mine);
    out->nll      = lse - (double)logits[next];
    out->base_nll = get_f32(r, 0);
    out->dp       = exp(-out->nll) - exp(-out->base_nll);
    out->same_top = (uint32_t)mine.id == best;
    if (!keeps_all(h)) {
        compare_parts(h, r, logits, lse, out);
        return;
    }
    out->kld = 0;
    for (size_t i = 0; i < h->vocab; i++)
        out->kld += term(get_f32(r, FIXED + 4 * i), (double)logits[i] - lse);
    out->least = out->kld;
}
