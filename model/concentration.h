/* SPDX-License-Identifier: Apache-2.0 */
/* model/concentration.h - how unevenly a quantity is spread over neurons. */
#ifndef EK_MODEL_CONCENTRATION_H
#define EK_MODEL_CONCENTRATION_H
#include <stddef.h>

/** Ascending, for qsort. */
int ascending_double(const void *a, const void *b);

/** Gini coefficient of v >= 0, ascending: 0 all equal, towards 1 all in one. 0 where all are 0.
 * 2 sum_i i v_i / (n sum v) - (n + 1) / n. */
double gini(const double *v, size_t n);

/** Slope of log v against log rank by least squares, rank 1 being the largest; v ascending, zeros
 * left out. Zipf's law: -1. 0 for fewer than two numbers. */
double zipf_slope(const double *v, size_t n);

/** How many of the largest of v (ascending) hold the share q in (0, 1] of the sum; 0 where all are 0. */
size_t count_for_share(const double *v, size_t n, double q);

/** Share of the sum that the largest `count` of v (ascending) hold; 0 where all are 0. */
double share_of_largest(const double *v, size_t n, size_t count);
#endif
