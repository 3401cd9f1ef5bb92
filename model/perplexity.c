/* SPDX-License-Identifier: Apache-2.0 */
/* model/perplexity.c - windows over a text, sums and statistics of scores. */
#include "model/perplexity.h"

#include <math.h>

/* ---- windows ---- */

size_t window_count(const struct protocol *p, size_t count)
{
    if (p->context < 2 || p->stride > p->context) return 0;
    if (!p->stride) return p->context < 4 ? 0 : count / p->context;
    if (count < 2) return 0;
    return count <= p->context ? 1 : 1 + (count - p->context + p->stride - 1) / p->stride;
}

struct window window_at(const struct protocol *p, size_t count, size_t i)
{
    const size_t  begin = i * (p->stride ? p->stride : p->context);
    struct window w     = {begin, count - begin < p->context ? count : begin + p->context, 0};
    if (!p->stride)
        w.from = begin + p->context / 2 + 1;
    else
        w.from = i ? begin - p->stride + p->context : begin + 1; /* where the last one ended */
    if (w.from == w.begin) w.from++;                             /* stride = context */
    return w;
}

/* ---- sums ---- */

double log_sum_exp(const float *x, size_t n)
{
    float  most = -INFINITY;
    double sum  = 0;
    for (size_t i = 0; i < n; i++) most = x[i] > most ? x[i] : most;
    for (size_t i = 0; i < n; i++) sum += exp((double)x[i] - (double)most);
    return (double)most + log(sum);
}

void likelihood_add(struct likelihood *l, double nll)
{
    l->sum += nll, l->squares += nll * nll, l->count++;
}

void likelihood_perplexity(const struct likelihood *l, double *ppl, double *error)
{
    const double n = (double)l->count, mean = l->sum / n;
    const double variance = l->squares / n - mean * mean;
    *ppl                  = exp(mean);
    *error                = l->count > 1 && variance > 0 ? *ppl * sqrt(variance / (n - 1)) : 0;
}

void mean_error(const double *v, size_t n, double *mean, double *error)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) sum += v[i];
    *mean = sum / (double)n;
    for (size_t i = 0; i < n; i++) squares += (v[i] - *mean) * (v[i] - *mean);
    *error = n > 1 ? sqrt(squares / (double)n / (double)(n - 1)) : 0;
}

double quantile(const double *sorted, size_t n, double q)
{
    const double at   = q * (double)(n - 1);
    const size_t i    = (size_t)at;
    const double part = at - (double)i;
    return i + 1 < n ? sorted[i] + part * (sorted[i + 1] - sorted[i]) : sorted[n - 1];
}
