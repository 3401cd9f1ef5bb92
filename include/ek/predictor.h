/* SPDX-License-Identifier: Apache-2.0 */
/* ek/predictor.h - which neurons of an MLP a token will need, from a low-rank guess. */
#ifndef EK_PREDICTOR_H
#define EK_PREDICTOR_H
#include "ek/linear.h"
#include "ek/mask.h"

#ifdef __cplusplus
extern "C" {
#endif

/** scores = up (down x), no bias and nothing between the two; active are those the rule picks. */
struct ek_predictor {
    size_t                          struct_size; /* bytes; sizeof(struct ek_predictor)           */
    const struct ek_weights        *down;        /* [r][d], any weight format                    */
    const struct ek_weights        *up;          /* [n][r], any weight format; n < 2^32          */
    const struct ek_linear_options *options;     /* of both products; NULL: defaults             */
    struct ek_mask_rule             rule;        /* over the n scores of a token                 */
};

/**
 * Working memory that ek_predict needs for up to m tokens with this pool: no more for many than for
 * 8 tokens.
 *
 * Returns  EK_OK; EK_E_ARG for bad weights, shapes that do not fit each other, a bad rule, bad
 *          options or m = 0; EK_E_FORMAT; EK_E_OVERFLOW. */
EK_API ek_status ek_predict_work_bytes(const struct ek_predictor *p, size_t m, const ek_pool *pool,
                                       size_t *bytes);

/**
 * The neurons that any of m tokens needs.
 *
 * Shapes   x: [m][ldx] f32, d used     mask: [ek_mask_words(n)], the union over the tokens
 * Sizes    m >= 1, ldx >= d, elements
 * Memory   work: work_bytes >= ek_predict_work_bytes, 64-byte aligned, one per call in flight. The
 *          caller owns everything; mask overlaps nothing. Allocates nothing.
 * Threads  as ek_linear and ek_mask_scores. The same bits for any pool; and m tokens give the union
 *          of what each gives alone, for any m: they go through gemv, 8 at a time.
 * Accuracy scores as ek_linear; the rule on them as ek_mask_scores. NaN in a token's x leaves it
 *          without neurons, but with TOPK: k of them.
 * Returns  EK_OK; EK_E_ARG for a null, zero, misaligned or contradictory argument; EK_E_FORMAT when
 *          a layout is not its format's; EK_E_NOMEM for too little work; EK_E_UNSUPPORTED when t
 *          has no kernel; EK_E_OVERFLOW. On error mask is untouched.
 * Source   Liu et al., Deja Vu, 2023; NimbleEdge's sparse_transformers, whose predictors have this
 *          shape. */
EK_API ek_status ek_predict(const struct ek_kernels *t, const ek_pool *pool,
                            const struct ek_predictor *p, const float *x, size_t ldx, size_t m,
                            uint64_t *mask, void *work, size_t work_bytes);

#ifdef __cplusplus
}
#endif
#endif
