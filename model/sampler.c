/* SPDX-License-Identifier: Apache-2.0 */
/* model/sampler.c - penalty, top-k, top-p, min-p, temperature, and one draw per token. */
#include "model/sampler.h"

#include "model/random.h"
#include "model/topk.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW_DEFAULT = 64 };

struct sampler {
    struct sampler_options o;
    size_t                 vocab;
    float                 *logits;     /* [vocab] the caller's, cleaned and penalised */
    struct candidate      *candidates; /* [vocab]                                 */
    int32_t               *last;       /* [o.penalty_window] ring                 */
    size_t                 accepted;   /* in all                                  */
    uint64_t               rng[4];
};

/* ---- random numbers ---- */

static uint64_t rotate(uint64_t x, int by)
{
    return x << by | x >> (64 - by);
}

/* xoshiro256** (Blackman and Vigna); uniform in [0, 1) with 53 bits. */
static double uniform(uint64_t s[4])
{
    const uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0], s[3] ^= s[1], s[1] ^= s[2], s[0] ^= s[3];
    s[2] ^= t, s[3] = rotate(s[3], 45);
    return (double)(result >> 11) * 0x1p-53;
}

/* ---- opening ---- */

ek_status sampler_open(struct sampler **s, const struct sampler_options *o, size_t vocab,
                       struct error *e)
{
    if (vocab == 0 || vocab > INT32_MAX) return fail(e, EK_E_ARG, "sampler: %zu tokens", vocab);
    if (isnan(o->temperature) || !(o->top_p > 0 && o->top_p <= 1))
        return fail(e, EK_E_ARG, "sampler: temperature %g, top-p %g", (double)o->temperature,
                    (double)o->top_p);
    if (!(o->min_p >= 0 && o->min_p <= 1) ||
        !(o->repetition_penalty > 0 && o->repetition_penalty < INFINITY))
        return fail(e, EK_E_ARG, "sampler: min-p %g, repetition penalty %g", (double)o->min_p,
                    (double)o->repetition_penalty);
    struct sampler *made = calloc(1, sizeof *made);
    if (!made) return fail(e, EK_E_NOMEM, "sampler: out of memory");
    made->o     = *o;
    made->vocab = vocab;
    if (!made->o.penalty_window) made->o.penalty_window = WINDOW_DEFAULT;
    made->logits     = calloc(vocab, sizeof *made->logits);
    made->candidates = calloc(vocab, sizeof *made->candidates);
    made->last       = calloc(made->o.penalty_window, sizeof *made->last);
    if (!made->logits || !made->candidates || !made->last) {
        sampler_close(made);
        return fail(e, EK_E_NOMEM, "sampler: out of memory");
    }
    uint64_t seed = o->seed;
    for (int i = 0; i < 4; i++) made->rng[i] = splitmix64(&seed);
    *s = made;
    return EK_OK;
}

void sampler_close(struct sampler *s)
{
    if (!s) return;
    free(s->logits), free(s->candidates), free(s->last);
    free(s);
}

void sampler_accept(struct sampler *s, int32_t id)
{
    s->last[s->accepted++ % s->o.penalty_window] = id;
}

/* ---- one token ---- */

/* Finite copies: NaN is the least there is, infinities the ends of the range, so that differences
 * of logits are never NaN. */
static void clean(struct sampler *s, const float *logits)
{
    for (size_t i = 0; i < s->vocab; i++) {
        const float x = logits[i];
        s->logits[i]  = x >= -FLT_MAX ? (x > FLT_MAX ? FLT_MAX : x) : -FLT_MAX;
    }
}

/* Each token of the window once, however often it stands there: the caller's logits are what is
 * divided. Dividing a negative one would make it likelier, so those are multiplied. */
static void penalise(struct sampler *s, const float *logits)
{
    const size_t window = s->o.penalty_window, n = s->accepted < window ? s->accepted : window;
    const float  by = s->o.repetition_penalty;
    for (size_t i = 0; by != 1 && i < n; i++) {
        const int32_t id = s->last[i];
        if (id < 0 || (size_t)id >= s->vocab || !isfinite(logits[id])) continue;
        const float x = logits[id];
        s->logits[id] = fminf(fmaxf(x > 0 ? x / by : x * by, -FLT_MAX), FLT_MAX);
    }
}

static int32_t largest(const struct sampler *s)
{
    size_t best = 0;
    for (size_t i = 1; i < s->vocab; i++)
        if (s->logits[i] > s->logits[best]) best = i;
    return (int32_t)best;
}

/* How many of the sorted top k top-p and min-p leave; at least one. */
static size_t cut_sorted(const struct sampler *s, size_t k)
{
    const struct candidate *c     = s->candidates;
    const double            most  = (double)c[0].logit;
    double                  total = 0, sum = 0;
    for (size_t i = 0; i < k; i++) total += exp((double)c[i].logit - most);
    for (size_t i = 0; i < k; i++) {
        const double p = exp((double)c[i].logit - most);
        if (i && p < (double)s->o.min_p) return i;
        sum += p;
        if (s->o.top_p < 1 && sum >= (double)s->o.top_p * total) return i + 1;
    }
    return k;
}

/* The same when all tokens are candidates: sorted only as far as needed, the largest coming off a
 * heap at its end. Returns how many at the end of candidates are left. */
static size_t cut_all(struct sampler *s)
{
    struct candidate *c     = s->candidates;
    const size_t      n     = s->vocab;
    double            total = 0, sum = 0;
    candidate_heap(c, n);
    const double most = (double)c[0].logit;
    for (size_t i = 0; i < n; i++) total += exp((double)c[i].logit - most);
    for (size_t i = 0; i < n; i++) {
        const double p = exp((double)c[0].logit - most);
        if (i && p < (double)s->o.min_p) return i;
        candidate_pop(c, n - i);
        sum += p;
        if (s->o.top_p < 1 && sum >= (double)s->o.top_p * total) return i + 1;
    }
    return n;
}

/* One of n candidates at temperature t. A weight of zero is never drawn. */
static int32_t draw(struct sampler *s, const struct candidate *c, size_t n)
{
    const double t    = (double)s->o.temperature;
    double       most = (double)c[0].logit, total = 0, sum = 0;
    for (size_t i = 1; i < n; i++)
        if ((double)c[i].logit > most) most = (double)c[i].logit;
    for (size_t i = 0; i < n; i++) total += exp(((double)c[i].logit - most) / t);
    const double at   = uniform(s->rng) * total;
    int32_t      last = c[0].id;
    for (size_t i = 0; i < n; i++) {
        const double w = exp(((double)c[i].logit - most) / t);
        sum += w;
        if (sum > at) return c[i].id;
        if (w > 0) last = c[i].id;
    }
    return last; /* rounding left sum = at */
}

size_t sampler_needs(const struct sampler *s)
{
    const size_t lowered = s->o.repetition_penalty != 1 ? s->o.penalty_window : 0;
    const size_t top     = s->o.temperature <= 0 ? 1 : s->o.top_k;
    return s->o.repetition_penalty >= 1 && top ? top + lowered
                                               : 0; /* below 1 it raises any token */
}

int32_t sampler_next(struct sampler *s, const float *logits)
{
    const size_t n = s->vocab, k = s->o.top_k && s->o.top_k < n ? s->o.top_k : n;
    clean(s, logits);
    penalise(s, logits);
    if (s->o.temperature <= 0) return largest(s);
    if (k < n) {
        topk(s->logits, n, k, s->candidates);
        return draw(s, s->candidates, cut_sorted(s, k));
    }
    for (size_t i = 0; i < n; i++) s->candidates[i] = (struct candidate){s->logits[i], (int32_t)i};
    const size_t left = s->o.top_p < 1 || s->o.min_p > 0 ? cut_all(s) : n;
    return draw(s, s->candidates + (n - left), left);
}
