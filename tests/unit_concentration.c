/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_concentration.c - Gini, Zipf slope and shares of distributions known by hand. */
#include "model/concentration.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { N = 1000 };

static void near(double got, double want, double by)
{
    cr_assert(fabs(got - want) <= by, "%.12g, not %.12g", got, want);
}

Test(concentration, gini)
{
    double v[N];
    for (size_t i = 0; i < N; i++) v[i] = 3;
    near(gini(v, N), 0, 1e-12);
    for (size_t i = 0; i < N; i++) v[i] = i == N - 1;
    near(gini(v, N), (N - 1.0) / N, 1e-12);
    for (size_t i = 0; i < N; i++) v[i] = (double)(i + 1);
    near(gini(v, N), (N - 1.0) / (3.0 * N), 1e-12);
    for (size_t i = 0; i < N; i++) v[i] = i < N / 2 ? 0 : 1;
    near(gini(v, N), 0.5, 1e-12);
    for (size_t i = 0; i < N; i++) v[i] = 0;
    near(gini(v, N), 0, 0);
}

Test(concentration, zipf_slope)
{
    double v[N];
    for (int power = 0; power < 4; power++) {
        for (size_t i = 0; i < N; i++) v[i] = 5 * pow((double)(N - i), -power / 2.0);
        near(zipf_slope(v, N), -power / 2.0, 1e-10);
    }
    for (size_t i = 0; i < N; i++) v[i] = i < 10 ? 0 : 1.0 / (double)(N - i); /* zeros left out */
    near(zipf_slope(v, N), -1, 1e-10);
    near(zipf_slope(v, 1), 0, 0);
}

Test(concentration, shares)
{
    double v[10];
    for (size_t i = 0; i < 10; i++) v[i] = (double)(i + 1); /* 1..10, sum 55 */
    cr_assert_eq(count_for_share(v, 10, 0.18), 1);          /* 10 of 55: 0.1818 */
    cr_assert_eq(count_for_share(v, 10, 0.19), 2);
    cr_assert_eq(count_for_share(v, 10, 1), 10);
    near(share_of_largest(v, 10, 2), 19.0 / 55, 1e-12);
    near(share_of_largest(v, 10, 0), 0, 0);
    near(share_of_largest(v, 10, 99), 1, 1e-12);
    for (size_t i = 0; i < 10; i++) v[i] = 0;
    cr_assert_eq(count_for_share(v, 10, 0.5), 0);
    near(share_of_largest(v, 10, 5), 0, 0);
}
