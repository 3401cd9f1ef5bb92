/* SPDX-License-Identifier: Apache-2.0 */
/* ops/product.h - the product of a matrix and one token whose activations are ready: ek_linear in
 * pieces, for ops that want some rows, or rows in blocks. Every output has the bits that ek_linear
 * gives it. */
#ifndef EK_PRODUCT_H
#define EK_PRODUCT_H
#include "ek/linear.h"

#define ek_product_make EK_SYM(ek_product_make)
#define ek_product_rows EK_SYM(ek_product_rows)

struct ek_product {
    ek_gemv_fn            *fn; /* one of the two is NULL */
    ek_gemv_i8_fn         *fn_i8;
    struct ek_gemv_args    a;
    struct ek_gemv_i8_args i8;
    size_t                 group;            /* columns that share a scale of i8            */
    size_t                 n;                /* rows of the matrix                          */
    size_t                 step, step_bytes; /* rows that lie together: a panel, or one row */
};

/* Makes x [k] ready in work, which holds ek_linear_work_bytes for one token and stays in use as
 * long as *out. Statuses as ek_linear. */
ek_status ek_product_make(const struct ek_kernels *t, const struct ek_weights *w, const float *x,
                          const struct ek_linear_options *opt, void *work, size_t work_bytes,
                          struct ek_product *out);

/* y[i] = the output of row first + i, i < count; first is a multiple of step. May run at once. */
void ek_product_rows(const struct ek_product *g, size_t first, size_t count, float *y);

/* Activation c as the kernel sees it. */
static inline double ek_product_x(const struct ek_product *g, size_t c)
{
    return g->fn_i8 ? (double)g->i8.xd[c / g->group] * (double)g->i8.xq[c] : (double)g->a.x[c];
}
#endif
