/* SPDX-License-Identifier: Apache-2.0 */
/* ek/linear.h - y = x W^T for any number of tokens and any weight format. */
#ifndef EK_LINEAR_H
#define EK_LINEAR_H
#include "ek/formats.h"
#include "ek/kernels.h"
#include "ek/pool.h"
#include "ek/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** How activations enter the product. */
enum ek_activation {
    EK_ACTIVATION_AUTO = 0, /* I8 for packed formats, F32 for float ones                  */
    EK_ACTIVATION_I8   = 1, /* rounded to 8 bit once per call; float weights: to the same grid */
    EK_ACTIVATION_F32  = 2, /* as they are                                                */
};

/** Zero-initialised means default. */
struct ek_linear_options {
    size_t             struct_size; /* bytes; sizeof(struct ek_linear_options)               */
    enum ek_activation activation;
    int                per_token; /* I8: 1 = one scale per token instead of one per group     */
};

/**
 * Working memory that ek_linear needs for up to m tokens with this pool.
 *
 * Returns  EK_OK; EK_E_ARG for bad weights, m = 0 or bad options; EK_E_OVERFLOW. */
EK_API ek_status ek_linear_work_bytes(const struct ek_weights *w, size_t m, const ek_pool *pool,
                                      const struct ek_linear_options *opt, size_t *bytes);

/**
 * y = x W^T: one row of n outputs per token.
 *
 * Shapes   w: [n][k] in its format     x: [m][ldx] f32, k used     y: [m][ldy] f32, n written
 * Sizes    m >= 1, ldx >= k, ldy >= n, elements. m <= 8 runs gemv, more runs gemm 512 at a time.
 * Memory   work: work_bytes >= ek_linear_work_bytes, 64-byte aligned, one per call in flight. The
 *          caller owns everything; y overlaps nothing. Allocates nothing.
 * Threads  rows of W are split over pool (NULL: serial). The same bits for any pool, and for
 *          m <= 8 the same bits per token as m = 1. Concurrent calls need their own work and y.
 * Accuracy F32: |error| <= 2^-23 (k + 4) sum |w||x|. I8: that of rounding x to d = max|x| / 127
 *          per group (or token), |error| <= sum |w| d / 2, besides; docs/numerics.md has figures.
 *          A NaN or infinity in x makes the outputs of its token NaN; with F32, NaN or infinite.
 * Returns  EK_OK; EK_E_ARG for a null, zero, misaligned or contradictory argument; EK_E_FORMAT
 *          when w->layout is not its format's; EK_E_NOMEM for too little work; EK_E_UNSUPPORTED
 *          when t has no kernel; EK_E_OVERFLOW. On error y is untouched.
 * opt      NULL: defaults. */
EK_API ek_status ek_linear(const struct ek_kernels *t, const ek_pool *pool,
                           const struct ek_weights *w, const float *x, size_t ldx, size_t m,
                           float *y, size_t ldy, const struct ek_linear_options *opt, void *work,
                           size_t work_bytes);

#ifdef __cplusplus
}
#endif
#endif
