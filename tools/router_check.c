/* SPDX-License-Identifier: Apache-2.0 */
/* tools/router_check.c - agreement, calls and loss of a routed head over thresholds. */
#include "tools/router_check.h"

#include <math.h>
#include <stdio.h>

struct outcome {
    size_t full, agree, missed;
    double nll, whole; /* sums over the tested rows */
};

/* The whole head where P(rare) > threshold. Rare tokens that the slice cannot give share, evenly,
 * the share of its calls in which they come: else they would cost infinitely much. */
static struct outcome outcome_of(const struct router_check *t, double threshold)
{
    struct outcome o      = {0};
    size_t         sliced = 0;
    for (size_t i = 0; i < t->count; i++) {
        const int full = (double)t->p_rare[i] > threshold;
        const int met  = t->is_common[t->said->next[t->first + i]];
        o.full += (size_t)full, sliced += (size_t)!full;
        o.agree += (size_t)(full || t->is_common[t->said->top[t->first + i]]);
        o.missed += (size_t)(!full && !met);
        o.whole += t->said->whole[t->first + i];
        o.nll += full ? t->said->whole[t->first + i] : met ? t->said->common[t->first + i] : 0;
    }
    const double rare = sliced ? (double)o.missed / (double)sliced : 0;
    const double left = (double)(t->vocab - t->common_count);
    if (o.missed) o.nll -= (double)o.missed * log(rare / left);
    if (o.missed < sliced) o.nll -= (double)(sliced - o.missed) * log1p(-rare);
    return o;
}

void router_table(const struct router_check *t)
{
    static const double thresholds[] = {-1,  0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4,
                                        0.5, 0.6,  0.7,  0.75, 0.8, 0.9, 1};
    const double        n = (double)t->count, v = (double)t->vocab;
    printf("\n%9s %10s %10s %10s %10s %10s\n", "threshold", "full head", "agreement", "missed",
           "delta NLL", "head rows");
    for (size_t i = 0; i < sizeof thresholds / sizeof *thresholds; i++) {
        const struct outcome o    = outcome_of(t, thresholds[i]);
        const double         full = (double)o.full / n;
        const double         rows = full + (1 - full) * (double)t->common_count / v;
        printf("%9g %9.2f%% %9.2f%% %9.2f%% %10.4f %9.2f%%\n", thresholds[i], 100 * full,
               100 * (double)o.agree / n, 100 * (double)o.missed / n, (o.nll - o.whole) / n,
               100 * rows);
    }
}
