/* SPDX-License-Identifier: Apache-2.0 */
/* model/concentration.c - Gini, Zipf, shares. */
#include "model/concentration.h"

#include <math.h>

int ascending_double(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double total(const double *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += v[i];
    return sum;
}

double gini(const double *v, size_t n)
{
    const double sum      = total(v, n);
    double       weighted = 0;
    if (!(sum > 0)) return 0;
    for (size_t i = 0; i < n; i++) weighted += (double)(i + 1) * v[i];
    return 2 * weighted / ((double)n * sum) - ((double)n + 1) / (double)n;
}

double zipf_slope(const double *v, size_t n)
{
    double x = 0, y = 0, xx = 0, xy = 0;
    size_t rank = 1;
    for (; rank <= n && v[n - rank] > 0; rank++) {
        const double r = log((double)rank), m = log(v[n - rank]);
        x += r, y += m, xx += r * r, xy += r * m;
    }
    const double count = (double)(rank - 1), spread = count * xx - x * x;
    return count >= 2 && spread > 0 ? (count * xy - x * y) / spread : 0;
}

size_t count_for_share(const double *v, size_t n, double q)
{
    const double wanted = q * total(v, n);
    double       sum    = 0;
    if (!(wanted > 0)) return 0;
    for (size_t i = n; i-- > 0;) {
        sum += v[i];
        if (sum >= wanted) return n - i;
    }
    return n;
}

double share_of_largest(const double *v, size_t n, size_t count)
{
    const double all = total(v, n);
    return all > 0 && count ? total(v + n - (count < n ? count : n), count < n ? count : n) / all
                            : 0;
}
