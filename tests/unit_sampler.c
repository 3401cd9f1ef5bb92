/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_sampler.c - the sampler's rules, one by one, and its distribution. */
#include "model/sampler.h"
#include "model/topk.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct sampler_options plain = {
    .temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 7};

static struct sampler *open_or_die(struct sampler_options o, size_t vocab)
{
    struct sampler *s;
    struct error    e;
    cr_assert_eq(sampler_open(&s, &o, vocab, &e), EK_OK, "%s", e.text);
    return s;
}

/* How often each of the tokens comes in draws. */
static void count(struct sampler_options o, const float *logits, size_t vocab, size_t draws,
                  size_t *hits)
{
    struct sampler *s = open_or_die(o, vocab);
    memset(hits, 0, vocab * sizeof *hits);
    for (size_t i = 0; i < draws; i++) {
        const int32_t id = sampler_next(s, logits);
        cr_assert(id >= 0 && (size_t)id < vocab);
        hits[id]++;
    }
    sampler_close(s);
}

/* Pearson's statistic of hits against p [n]; a token with p = 0 must have none. */
static double chi_square(const size_t *hits, const double *p, size_t n, size_t draws)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double want = p[i] * (double)draws, d = (double)hits[i] - want;
        if (p[i] > 0)
            sum += d * d / want;
        else
            cr_assert_eq(hits[i], 0, "token %zu cannot come", i);
    }
    return sum;
}

enum { DRAWS = 200000 };

/* 8 tokens, probabilities 1/36 ... 8/36, out of order. */
static const double weights[8] = {3, 8, 1, 6, 2, 7, 5, 4};

static void logits_of_weights(float *x)
{
    for (int i = 0; i < 8; i++) x[i] = logf((float)weights[i]) + 3;
}

Test(sampler, greedy_is_the_first_of_the_largest)
{
    struct sampler_options o = plain;
    o.temperature            = 0;
    struct sampler *s        = open_or_die(o, 5);
    cr_assert_eq(sampler_next(s, (const float[]){1, 3, 2, 3, -1}), 1);
    cr_assert_eq(sampler_next(s, (const float[]){NAN, -INFINITY, NAN, -5, -6}), 3);
    cr_assert_eq(sampler_next(s, (const float[]){NAN, 3, 2, INFINITY, INFINITY}), 3);
    cr_assert_eq(sampler_next(s, (const float[]){NAN, NAN, NAN, NAN, NAN}), 0);
    sampler_close(s);
}

/* 99.9 % of chi square with 7 degrees of freedom lie below 24.3. */
Test(sampler, draws_from_the_softmax)
{
    float  x[8];
    double p[8];
    size_t hits[8];
    logits_of_weights(x);
    for (int i = 0; i < 8; i++) p[i] = weights[i] / 36;
    count(plain, x, 8, DRAWS, hits);
    cr_assert_lt(chi_square(hits, p, 8, DRAWS), 24.3);
    p[0] += 0.01, p[1] -= 0.01; /* the test itself can fail */
    cr_assert_gt(chi_square(hits, p, 8, DRAWS), 24.3);
}

Test(sampler, temperature_is_an_exponent)
{
    struct sampler_options o = plain;
    float                  x[8];
    double                 p[8], total = 0;
    size_t                 hits[8];
    o.temperature = 0.5F;
    logits_of_weights(x);
    for (int i = 0; i < 8; i++) total += weights[i] * weights[i];
    for (int i = 0; i < 8; i++) p[i] = weights[i] * weights[i] / total;
    count(o, x, 8, DRAWS, hits);
    cr_assert_lt(chi_square(hits, p, 8, DRAWS), 24.3);
}

Test(sampler, top_k_takes_the_smaller_id_among_equals)
{
    struct sampler_options o = plain;
    size_t                 hits[6];
    o.top_k = 3;
    count(o, (const float[]){1, 2, 3, 2, 2, 0}, 6, 20000, hits);
    cr_assert(hits[2] && hits[1] && hits[3] && !hits[0] && !hits[4] && !hits[5]);
}

/* Sorted: 8 7 6 5 ... of 36. The first whose sum reaches top_p is the last that stays. */
Test(sampler, top_p_cuts_where_the_sum_reaches_it)
{
    static const struct {
        float  top_p;
        size_t kept;
    } cases[] = {{0.01F, 1}, {0.2F, 1},  {7.99F / 36, 1},  {8.01F / 36, 2}, {14.99F / 36, 2},
                 {0.5F, 3},  {0.65F, 4}, {35.01F / 36, 8}, {1, 8}};
    struct sampler_options o = plain;
    float                  x[8];
    size_t                 hits[8];
    logits_of_weights(x);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t top_k = 0; top_k < 9; top_k += 8) { /* both ways to find the prefix */
            float more[9];
            memcpy(more, x, sizeof x), more[8] = -100;
            size_t seen[9], kept               = 0;
            o.top_p = cases[i].top_p, o.top_k = top_k;
            count(o, more, 9, 5000, seen);
            memcpy(hits, seen, sizeof hits);
            for (int j = 0; j < 8; j++) {
                kept += hits[j] > 0;
                cr_assert(hits[j] == 0 || weights[j] > 8 - (double)cases[i].kept);
            }
            cr_assert_eq(kept, cases[i].kept, "top-p %g, top-k %zu: %zu", (double)o.top_p, top_k,
                         kept);
        }
}

/* top-p is of what top-k left: 8 + 7 of 8 + 7 + 6. */
Test(sampler, top_p_comes_after_top_k)
{
    struct sampler_options o = plain;
    float                  x[8];
    size_t                 hits[8];
    logits_of_weights(x);
    o.top_k = 3, o.top_p = 14.9F / 21;
    count(o, x, 8, 5000, hits);
    cr_assert(hits[1] && hits[5] && !hits[3]);
    o.top_p = 15.1F / 21;
    count(o, x, 8, 5000, hits);
    cr_assert(hits[1] && hits[5] && hits[3] && !hits[6]);
}

Test(sampler, min_p_is_relative_to_the_best_and_ignores_temperature)
{
    struct sampler_options o = plain;
    float                  x[8];
    size_t                 hits[8];
    logits_of_weights(x);
    for (size_t top_k = 0; top_k < 8; top_k += 7) {
        o.min_p = 4.01F / 8, o.temperature = 2, o.top_k = top_k;
        count(o, x, 8, 5000, hits);
        for (int i = 0; i < 8; i++) cr_assert_eq(hits[i] > 0, weights[i] > 4);
        o.min_p = 3.99F / 8;
        count(o, x, 8, 5000, hits);
        for (int i = 0; i < 8; i++) cr_assert_eq(hits[i] > 0, weights[i] > 3);
    }
}

Test(sampler, penalty_lowers_any_sign_once_and_forgets)
{
    struct sampler_options o = plain;
    o.temperature = 0, o.repetition_penalty = 1.5F, o.penalty_window = 3;
    struct sampler *s = open_or_die(o, 3);
    sampler_accept(s, 0), sampler_accept(s, 0), sampler_accept(s, -1);
    cr_assert_eq(sampler_next(s, (const float[]){3, 1.9F, 0}), 0);    /* 2 > 1.9 */
    cr_assert_eq(sampler_next(s, (const float[]){3, 2.1F, 0}), 1);    /* 2 < 2.1 */
    cr_assert_eq(sampler_next(s, (const float[]){-1, -1.4F, -9}), 1); /* -1.5 < -1.4 */
    cr_assert_eq(sampler_next(s, (const float[]){-1, -1.6F, -9}), 0);
    for (int i = 0; i < 3; i++) sampler_accept(s, 2);
    cr_assert_eq(sampler_next(s, (const float[]){3, 2.1F, 0}), 0);
    sampler_close(s);
}

Test(sampler, broken_logits_never_win_unless_all_are_broken)
{
    const float            x[6] = {NAN, -INFINITY, 1, NAN, 2, -INFINITY};
    struct sampler_options o    = plain;
    size_t                 hits[6];
    o.repetition_penalty = 1.1F;
    for (int way = 0; way < 4; way++) {
        o.top_k = way & 1 ? 5 : 0, o.top_p = way & 2 ? 0.9F : 1;
        count(o, x, 6, 2000, hits);
        cr_assert_eq(hits[2] + hits[4], 2000);
        cr_assert(hits[2] && hits[4]);
    }
    count(o, (const float[]){0, INFINITY, 1, INFINITY, 2, 3}, 6, 2000, hits);
    cr_assert_eq(hits[1] + hits[3], 2000);
    count(o, (const float[]){NAN, NAN, NAN, NAN, NAN, NAN}, 6, 2000, hits);
}

Test(sampler, the_seed_decides)
{
    float  x[8];
    size_t a[8], b[8], c[8];
    logits_of_weights(x);
    struct sampler_options o = plain;
    count(o, x, 8, 1000, a), count(o, x, 8, 1000, b);
    o.seed++;
    count(o, x, 8, 1000, c);
    cr_assert_eq(memcmp(a, b, sizeof a), 0);
    cr_assert_neq(memcmp(a, c, sizeof a), 0);
}

Test(sampler, impossible_options_are_refused)
{
    struct sampler_options o = plain;
    struct sampler        *s;
    struct error           e;
    o.top_p = 0;
    cr_assert_eq(sampler_open(&s, &o, 8, &e), EK_E_ARG);
    o = plain, o.min_p = NAN;
    cr_assert_eq(sampler_open(&s, &o, 8, &e), EK_E_ARG);
    o = plain, o.repetition_penalty = 0;
    cr_assert_eq(sampler_open(&s, &o, 8, &e), EK_E_ARG);
    cr_assert_eq(sampler_open(&s, &plain, 0, &e), EK_E_ARG);
}

static int by_rank(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return candidate_before(*x, *y) ? -1 : 1;
}

Test(sampler, topk_is_the_head_of_a_full_sort)
{
    enum { N = 1000 };
    static float            x[N];
    static struct candidate all[N], got[N], heap[N];
    unsigned                seed = 1;
    for (size_t k = 0; k <= N; k = k < 5 ? k + 1 : 2 * k) {
        for (int i = 0; i < N; i++) {
            seed   = seed * 1664525u + 1013904223u;
            x[i]   = (float)(seed >> 24); /* many equals */
            all[i] = heap[i] = (struct candidate){x[i], i};
        }
        qsort(all, N, sizeof *all, by_rank);
        topk(x, N, k, got);
        candidate_heap(heap, N);
        for (size_t i = 0; i < k; i++) {
            cr_assert_eq(got[i].id, all[i].id);
            cr_assert_eq(heap[0].id, all[i].id);
            candidate_pop(heap, N - i);
            cr_assert_eq(heap[N - 1 - i].id, all[i].id);
        }
    }
}

/* A vocabulary of Qwen's size: the draw must not show beside a token's evaluation. */
Test(sampler, a_large_vocabulary_costs_less_than_a_millisecond)
{
    enum { VOCAB = 151936, CALLS = 20 };
    static float           x[VOCAB];
    struct sampler_options o = {
        .temperature = 0.8F, .top_k = 40, .top_p = 0.95F, .min_p = 0.05F, .repetition_penalty = 1};
    struct sampler *s    = open_or_die(o, VOCAB);
    unsigned        seed = 1;
    for (int i = 0; i < VOCAB; i++)
        seed = seed * 1664525u + 1013904223u, x[i] = (float)(seed >> 8) * 0x1p-21F;
    double best = 1;
    for (int i = 0; i < CALLS; i++) {
        struct timespec t0, t1;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t0);
        sampler_next(s, x);
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t1);
        best =
            fmin(best, (double)(t1.tv_sec - t0.tv_sec) + 1e-9 * (double)(t1.tv_nsec - t0.tv_nsec));
    }
    sampler_close(s);
    cr_assert_lt(best, 1e-3, "%g s", best);
}
