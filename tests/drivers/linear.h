/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/linear.h - what the gemv and gemm drivers share: weights, activations, bounds. */
#ifndef EK_DRIVER_LINEAR_H
#define EK_DRIVER_LINEAR_H
#include "tests/driver.h"

enum { DIM_N, DIM_K, DIM_M };
extern const char *const linear_dims[];

/* Columns a kernel sees for a shape. */
size_t linear_k(enum ek_fmt fmt, const struct ek_shape *s);
/* Columns that share an activation scale. */
size_t linear_group(enum ek_fmt fmt);

/* Weights of the case's kind; *mag (if not NULL and not timing): [n][k] of |scale code| + |min|. */
const void *linear_weights(struct ek_case *c, double **mag);

/* m rows of x rounded to 8 bit, as ek_quantize makes them. */
struct linear_x8 {
    int8_t  *q;
    float   *d;
    int32_t *s;
};
struct linear_x8 linear_activations8(struct ek_case *c, enum ek_role role);

/* The bound of a dot product in f32: eps (k + 4) sum |w||x|, for every output. x: [m][k]. */
void linear_bound(struct ek_case *c, const double *mag, const double *x);

size_t linear_items(const struct ek_shape *s);
double linear_ops(enum ek_fmt fmt, const struct ek_shape *s);
size_t linear_stream(enum ek_fmt fmt, const struct ek_shape *s);
double linear_bytes(enum ek_fmt fmt, const struct ek_shape *s);
#endif
