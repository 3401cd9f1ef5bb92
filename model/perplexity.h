/* SPDX-License-Identifier: Apache-2.0 */
/* model/perplexity.h - how well a model predicts a text: which tokens are scored, and the sums. */
#ifndef EK_MODEL_PERPLEXITY_H
#define EK_MODEL_PERPLEXITY_H
#include <stddef.h>
#include <stdint.h>

/**
 * How a text is cut. stride = 0, llama.cpp's way: disjoint chunks of context tokens (a rest is left
 * out); each chunk's first token is replaced by BOS where the tokenizer adds one, and tokens from
 * context / 2 + 1 on are scored. stride > 0, Hugging Face's way: windows of context tokens, each
 * stride behind the last; every token is scored once, with as much before it as the window has. */
struct protocol {
    size_t context, stride;
};

/** Tokens [begin, end) are evaluated, [from, end) scored, each by the logits of the one before. */
struct window {
    size_t begin, end, from;
};

/** Windows of a text of count tokens. 0 where it is too short or the protocol senseless. */
size_t window_count(const struct protocol *p, size_t count);
/** Window i < window_count. */
struct window window_at(const struct protocol *p, size_t count, size_t i);

/** log(sum(exp(x))) [n], in double; NaN where an x is NaN. */
double log_sum_exp(const float *x, size_t n);

/** Sums of negative log likelihoods. */
struct likelihood {
    double   sum, squares;
    uint64_t count;
};
void likelihood_add(struct likelihood *l, double nll);
/** exp of the mean, and its standard error (as llama.cpp reckons it; 0 below two tokens). */
void likelihood_perplexity(const struct likelihood *l, double *ppl, double *error);

/** Mean, and standard error of the mean, of n values. */
void mean_error(const double *v, size_t n, double *mean, double *error);
/** The value below which the share q of the sorted v [n] lies, interpolated; n >= 1. */
double quantile(const double *sorted, size_t n, double q);
#endif
