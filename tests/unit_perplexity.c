/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_perplexity.c - which tokens are scored, the sums, and the file of predictions. */
#include "model/kl_base.h"
#include "model/perplexity.h"
#include "model/topk.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- windows ---- */

/* How often each token is scored; every window is inside the text and no longer than context. */
static void score(const struct protocol *p, size_t count, unsigned char *times)
{
    memset(times, 0, count);
    for (size_t i = 0; i < window_count(p, count); i++) {
        const struct window w = window_at(p, count, i);
        cr_assert(w.begin < w.from && w.from <= w.end && w.end <= count);
        cr_assert_leq(w.end - w.begin, p->context);
        for (size_t t = w.from; t < w.end; t++) times[t]++;
    }
}

Test(perplexity, chunks_score_second_halves)
{
    const struct protocol p = {.context = 8};
    unsigned char         times[30];
    cr_assert_eq(window_count(&p, 30), 3);
    score(&p, 30, times);
    for (size_t i = 0; i < 30; i++) cr_assert_eq(times[i], i < 24 && i % 8 > 4, "token %zu", i);
    cr_assert_eq(window_count(&p, 7), 0);
    cr_assert_eq(window_count(&(struct protocol){.context = 3}, 30), 0); /* nothing would count */
}

Test(perplexity, sliding_scores_every_token_once)
{
    unsigned char times[64];
    for (size_t context = 2; context < 12; context++)
        for (size_t stride = 1; stride <= context; stride++)
            for (size_t count = 2; count < 40; count++) {
                const struct protocol p = {context, stride};
                score(&p, count, times);
                for (size_t i = 0; i < count; i++) {
                    /* disjoint windows have nothing before their first tokens */
                    const int none = i == 0 || (stride == context && i % context == 0);
                    cr_assert_eq(times[i], !none, "context %zu, stride %zu, %zu of %zu", context,
                                 stride, i, count);
                }
            }
    cr_assert_eq(window_count(&(struct protocol){8, 9}, 100), 0);
}

/* ---- sums ---- */

Test(perplexity, log_sum_exp_keeps_its_range)
{
    cr_assert_float_eq(log_sum_exp((const float[]){1000, 1000}, 2), 1000 + log(2), 1e-12);
    cr_assert_float_eq(log_sum_exp((const float[]){-1000, -INFINITY}, 2), -1000, 1e-12);
    cr_assert(isnan(log_sum_exp((const float[]){0, NAN}, 2)));
}

/* nll 1, 2, 3: mean 2, variance 2/3, error of the mean sqrt(2/3/2). */
Test(perplexity, estimate_as_llama_cpp)
{
    struct likelihood l = {0, 0, 0};
    double            ppl, error;
    for (int i = 1; i <= 3; i++) likelihood_add(&l, i);
    likelihood_perplexity(&l, &ppl, &error);
    cr_assert_float_eq(ppl, exp(2), 1e-12);
    cr_assert_float_eq(error, exp(2) * sqrt(1.0 / 3), 1e-12);
    const double v[] = {1, 2, 3, 10};
    cr_assert_float_eq(quantile(v, 4, 0.5), 2.5, 1e-12);
    cr_assert_float_eq(quantile(v, 4, 1), 10, 1e-12);
}

/* ---- the file of predictions ---- */

enum { VOCAB = 1000, POSITIONS = 400 };
static float p[POSITIONS][VOCAB], q[POSITIONS][VOCAB];
static char  path[64];

static struct kl_header header_of(uint64_t top, uint64_t samples)
{
    return (struct kl_header){.vocab     = VOCAB,
                              .context   = 8,
                              .positions = POSITIONS,
                              .top       = top,
                              .samples   = samples,
                              .ids_hash  = 42,
                              .model     = 7,
                              .name      = "base"};
}

/* q is p with noise, as a coarser weight format would make it. */
static void make_logits(void)
{
    unsigned seed = 1;
    snprintf(path, sizeof path, "unit_perplexity.%d.kl", (int)getpid());
    for (int i = 0; i < POSITIONS; i++)
        for (int j = 0; j < VOCAB; j++) {
            seed    = seed * 1664525u + 1013904223u;
            p[i][j] = 8 * (float)(seed >> 8) * 0x1p-24F;
            seed    = seed * 1664525u + 1013904223u;
            q[i][j] = p[i][j] + 0.6F * ((float)(seed >> 8) * 0x1p-24F - 0.5F);
        }
}

static void remove_file(void)
{
    unlink(path);
}

static int32_t next_of(int i)
{
    return (int32_t)(i * 37 % VOCAB);
}

static void write_base(const struct kl_header *h)
{
    struct kl_writer *w;
    struct error      e;
    void             *record  = malloc(kl_record_bytes(h));
    struct candidate *scratch = malloc(VOCAB * sizeof *scratch);
    cr_assert_eq(kl_create(&w, path, h, &e), EK_OK, "%s", e.text);
    for (int i = 0; i < POSITIONS; i++) {
        kl_record(h, p[i], next_of(i), (uint64_t)i, scratch, record);
        cr_assert_eq(kl_append(w, record, 1, &e), EK_OK);
    }
    cr_assert_eq(kl_finish(w, 1, &e), EK_OK, "%s", e.text);
    free(record), free(scratch);
}

static double exact_kld(const float *a, const float *b)
{
    const double la = log_sum_exp(a, VOCAB), lb = log_sum_exp(b, VOCAB);
    double       sum = 0;
    for (int j = 0; j < VOCAB; j++)
        sum += exp((double)a[j] - la) * ((double)a[j] - la - (double)b[j] + lb);
    return sum;
}

/* Means of the divergence of q (or p itself) from the base in the file. */
static void compare(const float (*mine)[VOCAB], double *kld, double *least, double *exact)
{
    struct kl_base *b;
    struct error    e;
    *kld = *least = *exact = 0;
    cr_assert_eq(kl_open(&b, path, &e), EK_OK, "%s", e.text);
    for (int i = 0; i < POSITIONS; i++) {
        struct kl_point k;
        const double    lp = log_sum_exp(p[i], VOCAB), want = exact_kld(p[i], mine[i]);
        kl_compare(b, (uint64_t)i, mine[i], next_of(i), &k);
        cr_assert_float_eq(k.base_nll, lp - (double)p[i][next_of(i)], 1e-5);
        cr_assert_leq(k.least, want + 1e-7);
        struct candidate a, c;
        topk(p[i], VOCAB, 1, &a), topk(mine[i], VOCAB, 1, &c);
        cr_assert_eq(k.same_top, a.id == c.id);
        *kld += k.kld / POSITIONS, *least += k.least / POSITIONS, *exact += want / POSITIONS;
    }
    kl_close(b);
}

Test(kl_base, everything_kept_is_exact, .init = make_logits, .fini = remove_file)
{
    double                 kld, least, exact;
    const struct kl_header h = header_of(VOCAB, 0);
    write_base(&h);
    compare((const float(*)[VOCAB])q, &kld, &least, &exact);
    cr_assert_gt(exact, 0.01);
    cr_assert_float_eq(kld, exact, 1e-7);
    compare((const float(*)[VOCAB])p, &kld, &least, &exact);
    cr_assert(kld >= 0 && kld < 1e-9, "%g", kld);
}

/* The rest holds two thirds of the probability here, far more than in a text. */
Test(kl_base, samples_stand_for_the_rest_without_bias, .init = make_logits, .fini = remove_file)
{
    double                 kld, least, exact;
    const struct kl_header h = header_of(50, 64);
    write_base(&h);
    compare((const float(*)[VOCAB])q, &kld, &least, &exact);
    cr_assert_float_eq(kld, exact, 0.03 * exact, "%g, exactly %g", kld, exact);
    cr_assert_lt(least, 0.8 * exact); /* the bound alone would not do */
    compare((const float(*)[VOCAB])p, &kld, &least, &exact);
    cr_assert_lt(fabs(kld), 1e-6, "%g", kld);
}

Test(kl_base, what_differs_is_named, .init = make_logits, .fini = remove_file)
{
    struct kl_base  *b;
    struct error     e;
    struct kl_header h = header_of(50, 64), other = h;
    write_base(&h);
    cr_assert_eq(kl_open(&b, path, &e), EK_OK);
    cr_assert_eq(kl_check(b, &h, &e), EK_OK);
    other.top = 3, other.samples = 1; /* how much is kept is the base's affair */
    cr_assert_eq(kl_check(b, &other, &e), EK_OK);
    other = h, other.vocab++;
    cr_assert(kl_check(b, &other, &e) == EK_E_ARG && strstr(e.text, "vocabulary"));
    other = h, other.context++;
    cr_assert(kl_check(b, &other, &e) == EK_E_ARG && strstr(e.text, "--ctx"));
    other = h, other.stride++;
    cr_assert(kl_check(b, &other, &e) == EK_E_ARG && strstr(e.text, "--stride"));
    other = h, other.positions++;
    cr_assert(kl_check(b, &other, &e) == EK_E_ARG && strstr(e.text, "--chunks"));
    other = h, other.ids_hash++;
    cr_assert(kl_check(b, &other, &e) == EK_E_ARG && strstr(e.text, "token ids"));
    kl_close(b);
}

static size_t read_whole(char **data)
{
    FILE *f = fopen(path, "rb");
    cr_assert(f && !fseek(f, 0, SEEK_END));
    const size_t n = (size_t)ftell(f);
    rewind(f);
    *data = malloc(n + 1);
    cr_assert_eq(fread(*data, 1, n, f), n);
    fclose(f);
    return n;
}

static ek_status open_bytes(const char *data, size_t n, struct error *e)
{
    struct kl_base *b;
    FILE           *f = fopen(path, "wb");
    cr_assert(f && fwrite(data, 1, n, f) == n);
    fclose(f);
    const ek_status s = kl_open(&b, path, e);
    if (!s) kl_close(b);
    return s;
}

Test(kl_base, broken_files_are_refused, .init = make_logits, .fini = remove_file)
{
    struct error           e;
    char                  *data;
    const struct kl_header h = header_of(5, 3);
    write_base(&h);
    const size_t n = read_whole(&data), head = n - POSITIONS * kl_record_bytes(&h);
    cr_assert_eq(open_bytes(data, n, &e), EK_OK);
    for (size_t cut = 0; cut < n; cut = cut < 300 ? cut + 1 : cut + 997)
        cr_assert_eq(open_bytes(data, cut, &e), EK_E_FORMAT, "%zu bytes", cut);
    cr_assert_eq(open_bytes(data, n + 1, &e), EK_E_FORMAT);
    for (size_t at = 0; at < head - 64 - 16; at++) { /* all but hash, model and name */
        data[at] ^= 1;
        const ek_status got = open_bytes(data, n, &e);
        if (at < 16 || at >= 40) /* vocabulary, context, stride: kl_check compares them */
            cr_assert_eq(got, EK_E_FORMAT, "byte %zu", at);
        data[at] ^= 1;
    }
    data[head + 8 + 1] = 0x7F; /* the first token's id is past the vocabulary */
    cr_assert(open_bytes(data, n, &e) == EK_E_FORMAT && strstr(e.text, "token"));
    data[head + 8 + 1] = 0;
    memset(data + head - 64, 'x', 64); /* a name without end */
    cr_assert_eq(open_bytes(data, n, &e), EK_E_FORMAT);
    memset(data + 16, 0xFF, 64);
    cr_assert_eq(open_bytes(data, n, &e), EK_E_FORMAT);
    free(data);
}

Test(kl_base, an_unfinished_file_is_not_left, .init = make_logits, .fini = remove_file)
{
    struct kl_writer      *w;
    struct error           e;
    const struct kl_header h = header_of(5, 3);
    cr_assert_eq(kl_create(&w, path, &h, &e), EK_OK);
    cr_assert_eq(kl_finish(w, 1, &e), EK_E_ARG);
    cr_assert_neq(access(path, F_OK), 0);
    cr_assert_eq(kl_create(&w, "nowhere/x.kl", &h, &e), EK_E_IO);
}
