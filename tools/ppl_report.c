/* SPDX-License-Identifier: Apache-2.0 */
/* tools/ppl_report.c - sums of ek ppl, and how they are printed. */
#include "tools/ppl_report.h"

#include "model/concentration.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int grow(double **v, size_t room)
{
    double *more = realloc(*v, room * sizeof *more);
    if (more) *v = more;
    return more ? 0 : -1;
}

void report_nll(struct ppl_report *r, double nll)
{
    if (isinf(nll))
        r->impossible++;
    else
        likelihood_add(&r->mine, nll);
}

ek_status report_point(struct ppl_report *r, const struct kl_point *k, struct error *e)
{
    r->positions++, r->same += k->same_top != 0;
    if (isinf(k->nll)) {
        r->impossible++;
        return EK_OK;
    }
    if (r->count == r->room) {
        const size_t room = 2 * r->room + 1024;
        if (grow(&r->kld, room) || grow(&r->dp, room) || grow(&r->ratio, room))
            return fail(e, EK_E_NOMEM, "out of memory");
        r->room = room;
    }
    likelihood_add(&r->mine, k->nll);
    likelihood_add(&r->base, k->base_nll);
    r->kld[r->count] = k->kld, r->dp[r->count] = k->dp;
    r->ratio[r->count++] = k->nll - k->base_nll;
    r->least += k->least;
    return EK_OK;
}

void report_drop(struct ppl_report *r)
{
    free(r->kld), free(r->dp), free(r->ratio);
    *r = (struct ppl_report){.count = 0};
}

/* What is told of a comparison. */
struct summary {
    double ppl, ppl_e, base, base_e, log_ratio, log_ratio_e;
    double kld, kld_e, least, kld_max, kld_999, kld_99, kld_50;
    double dp, dp_e, rms, rms_e, same, same_e;
};

/* The root of a mean of squares, and its error to first order. */
static void root_mean_square(const double *v, double *scratch, size_t n, double *rms, double *error)
{
    double mean, mean_e;
    for (size_t i = 0; i < n; i++) scratch[i] = v[i] * v[i];
    mean_error(scratch, n, &mean, &mean_e);
    *rms   = sqrt(mean);
    *error = mean > 0 ? mean_e / (2 * *rms) : 0;
}

/* Quantiles need a sorted copy; they are 0 where there is no memory for it. */
static struct summary summarise(const struct ppl_report *r, int quantiles)
{
    struct summary s = {.ppl = 0};
    const size_t   n = r->count;
    likelihood_perplexity(&r->mine, &s.ppl, &s.ppl_e);
    if (!n) return s;
    likelihood_perplexity(&r->base, &s.base, &s.base_e);
    mean_error(r->ratio, n, &s.log_ratio, &s.log_ratio_e);
    mean_error(r->kld, n, &s.kld, &s.kld_e);
    if (!isfinite(s.kld)) s.kld_e = s.kld;
    mean_error(r->dp, n, &s.dp, &s.dp_e);
    s.least         = r->least / (double)n;
    s.same          = (double)r->same / (double)r->positions;
    s.same_e        = n > 1 ? sqrt(s.same * (1 - s.same) / (double)(r->positions - 1)) : 0;
    double *scratch = malloc(n * sizeof *scratch);
    if (!scratch) return s;
    root_mean_square(r->dp, scratch, n, &s.rms, &s.rms_e);
    if (quantiles) {
        memcpy(scratch, r->kld, n * sizeof *scratch);
        qsort(scratch, n, sizeof *scratch, ascending_double);
        s.kld_max = scratch[n - 1], s.kld_999 = quantile(scratch, n, 0.999);
        s.kld_99 = quantile(scratch, n, 0.99), s.kld_50 = quantile(scratch, n, 0.5);
    }
    free(scratch);
    return s;
}

void report_table_head(void)
{
    puts("chunk             PPL        ln(PPL(Q)/PPL(base))       KL divergence             RMS Δp "
         "   "
         "        Same top p");
}

void report_chunk(const struct ppl_report *r, size_t chunk, int compared)
{
    const struct summary s = summarise(r, 0);
    if (!compared)
        printf("[%zu]%.4f,", chunk, s.ppl);
    else
        printf("%5zu %9.4f ± %7.4f  %9.5f ± %9.5f  %9.5f ± %9.5f  %6.3f ± %5.3f %%  %6.3f ± %5.3f "
               "%%\n",
               chunk, s.ppl, s.ppl_e, s.log_ratio, s.log_ratio_e, s.kld, s.kld_e, 100 * s.rms,
               100 * s.rms_e, 100 * s.same, 100 * s.same_e);
    fflush(stdout);
}

static void print_divergence(const struct summary *s, const struct kl_header *base)
{
    puts("\n====== KL divergence statistics ======");
    printf("Mean KLD: %.6f ± %.6f\n", s->kld, s->kld_e);
    if (base->top < base->vocab)
        printf("Mean KLD, lower bound: %.6f (%llu of %llu tokens kept, the rest by %llu samples)\n",
               s->least, (unsigned long long)base->top, (unsigned long long)base->vocab,
               (unsigned long long)base->samples);
    printf("Maximum KLD: %.6f\n", s->kld_max);
    printf("99.9%% KLD: %.6f\n", s->kld_999);
    printf("99.0%% KLD: %.6f\n", s->kld_99);
    printf("Median KLD: %.6f\n", s->kld_50);
}

static void print_comparison(const struct summary *s, const struct kl_header *base)
{
    puts("\n====== Perplexity statistics ======");
    printf("Base: %s, %016llx\n", base->name, (unsigned long long)base->model);
    printf("Mean PPL(Q): %.6f ± %.6f\n", s->ppl, s->ppl_e);
    printf("Mean PPL(base): %.6f ± %.6f\n", s->base, s->base_e);
    printf("Mean ln(PPL(Q)/PPL(base)): %.6f ± %.6f\n", s->log_ratio, s->log_ratio_e);
    printf("Mean PPL(Q)/PPL(base): %.6f ± %.6f\n", exp(s->log_ratio),
           exp(s->log_ratio) * s->log_ratio_e);
    if (isfinite(s->kld))
        print_divergence(s, base);
    else
        puts("\nMean KLD: inf, tokens of the base's have no probability here");
    puts("\n====== Token probability statistics ======");
    printf("Mean Δp: %.3f ± %.3f %%\n", 100 * s->dp, 100 * s->dp_e);
    printf("RMS Δp: %.3f ± %.3f %%\n", 100 * s->rms, 100 * s->rms_e);
    printf("Same top p: %.3f ± %.3f %%\n\n", 100 * s->same, 100 * s->same_e);
}

void report_final(const struct ppl_report *r, const struct kl_header *base)
{
    const struct summary s = summarise(r, 1);
    if (base)
        print_comparison(&s, base);
    else
        putchar('\n');
    const unsigned long long impossible = r->impossible, possible = r->mine.count;
    if (impossible)
        printf(
            "Impossible: %llu of %llu tokens, to which the head gives no probability; PPL = inf. "
            "Of the others, the probability of the common tokens being 1: PPL = %.4f +/- %.5f\n",
            impossible, impossible + possible, s.ppl, s.ppl_e);
    else
        printf("Final estimate: PPL = %.4f +/- %.5f\n", s.ppl, s.ppl_e);
}

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

json_t *report_json(const struct ppl_report *r, const struct kl_header *base)
{
    const struct summary s = summarise(r, 1);
    json_t              *root =
        json_pack("{s:o, s:o, s:I, s:f}", "ppl", number(r->impossible ? (double)INFINITY : s.ppl),
                  "ppl_error", number(r->impossible ? (double)INFINITY : s.ppl_e), "impossible",
                  (json_int_t)r->impossible, "possible_ppl", s.ppl);
    if (!root || !base) return root;
    char checksum[32];
    snprintf(checksum, sizeof checksum, "%016llx", (unsigned long long)base->model);
    json_t *kl = json_pack(
        "{s:s, s:s, s:f, s:f, s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:f, s:f, s:f}", "base",
        base->name, "base_checksum", checksum, "base_ppl", s.base, "base_ppl_error", s.base_e,
        "log_ppl_ratio", s.log_ratio, "mean_kld", number(s.kld), "mean_kld_error", number(s.kld_e),
        "mean_kld_lower_bound", number(s.least), "max_kld", number(s.kld_max), "kld_99_9",
        number(s.kld_999), "kld_99", number(s.kld_99), "median_kld", number(s.kld_50), "mean_dp",
        s.dp, "rms_dp", s.rms, "same_top_p", s.same);
    if (!kl || json_object_set_new(root, "kl", kl)) {
        json_decref(root);
        return NULL;
    }
    return root;
}
