/* SPDX-License-Identifier: Apache-2.0 */
/* ek/vector.h - norms, activations, softmax, rotary embedding, selection.
 *
 * Common to all: arrays are f32, row-major, owned by the caller, element-aligned; nothing is
 * allocated. Rows or elements are split over pool (NULL: serial) and any pool gives the same bits.
 * Returns EK_OK; EK_E_ARG for a null pointer or a zero or impossible size; EK_E_UNSUPPORTED when t
 * has no kernel; EK_E_OVERFLOW when rows * cols does not fit. On error outputs are untouched. What
 * each computes exactly, and what may alias, stands at its argument struct in ek/kernels.h. */
#ifndef EK_VECTOR_H
#define EK_VECTOR_H
#include "ek/kernels.h"
#include "ek/pool.h"
#include "ek/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * y[r] = x[r] * g / sqrt(mean(x[r]^2) + eps).
 *
 * Shapes   x, y: [rows][cols]   g: [cols], NULL for ones. y may be x.
 * Accuracy |error| <= 2^-23 (cols / 8 + 8) |y|.
 * Source   Zhang and Sennrich, Root Mean Square Layer Normalization, 2019. */
EK_API ek_status ek_rmsnorm(const struct ek_kernels *t, const ek_pool *pool, const float *x,
                            const float *g, float *y, size_t rows, size_t cols, float eps);

/**
 * y[r] = (x[r] - mean) * g / sqrt(var + eps) + b, population variance.
 *
 * Shapes   x, y: [rows][cols]   g, b: [cols], NULL for 1 and 0. y may be x.
 * Accuracy of x - mean: 2^-23 (cols / 8 + 8) max|x|, scaled as the formula says.
 * Source   Ba, Kiros and Hinton, Layer Normalization, 2016. */
EK_API ek_status ek_layernorm(const struct ek_kernels *t, const ek_pool *pool, const float *x,
                              const float *g, const float *b, float *y, size_t rows, size_t cols,
                              float eps);

/**
 * y[i] = f(x[i]), times u[i] where u is given: the gated product of an MLP.
 *
 * Shapes   x, u, y: [n]; u may be NULL. y may be x or u.
 * Accuracy in units of 2^-23 |f|: exp 1, sigmoid and tanh 2, SiLU 3, GELU 6 (erf) and 6 + 2 |u|
 *          (tanh, u the argument of its sigmoid); results near 2^-126 may be flushed to 0. See
 *          docs/numerics.md. */
EK_API ek_status ek_act(const struct ek_kernels *t, const ek_pool *pool, enum ek_act_kind kind,
                        const float *x, const float *u, float *y, size_t n);

/** y[r] = softmax(scale * x[r]). x, y: [rows][cols], y may be x; scale > 0. */
EK_API ek_status ek_softmax(const struct ek_kernels *t, const ek_pool *pool, const float *x,
                            float *y, size_t rows, size_t cols, float scale);

/** y[i] = a[i] + b[i]: the residual. Arrays of n; y may be a or b. Exact to one rounding. */
EK_API ek_status ek_add(const struct ek_kernels *t, const ek_pool *pool, const float *a,
                        const float *b, float *y, size_t n);

/** Rotates tokens * heads rows; a is checked, ek_rope_args says what its members are. */
EK_API ek_status ek_rope(const struct ek_kernels *t, const ek_pool *pool,
                         const struct ek_rope_args *a, size_t tokens);

/** Largest element of each row. value may be NULL; cols < 2^32. */
EK_API ek_status ek_argmax(const struct ek_kernels *t, const ek_pool *pool, const float *x,
                           uint32_t *index, float *value, size_t rows, size_t cols);

/** The k largest of each row, in order. index, value: [rows][k]; 1 <= k <= cols < 2^32. */
EK_API ek_status ek_topk(const struct ek_kernels *t, const ek_pool *pool, const float *x,
                         uint32_t *index, float *value, size_t rows, size_t cols, size_t k);

/** Rounds rows to 8 bit; a is checked, ek_quantize_args says what its members are. */
EK_API ek_status ek_quantize(const struct ek_kernels *t, const ek_pool *pool,
                             const struct ek_quantize_args *a, size_t rows);

enum ek_rope_scaling { EK_ROPE_PLAIN, EK_ROPE_LINEAR, EK_ROPE_LLAMA3, EK_ROPE_YARN };

/** The rope_theta and rope_scaling of a model's config. Zero-initialised members mean default. */
struct ek_rope_config {
    size_t               struct_size; /* bytes; sizeof(struct ek_rope_config)                 */
    enum ek_rope_scaling scaling;
    double               theta;  /* base, > 0                                            */
    double               factor; /* LINEAR, LLAMA3, YARN: >= 1                           */
    double               original_context;     /* LLAMA3, YARN: original_max_position_embeddings  */
    double               low_freq, high_freq;  /* LLAMA3: low_freq_factor 1, high_freq_factor 4 */
    double               beta_fast, beta_slow; /* YARN: 32, 1                                 */
    double               attention_factor;     /* YARN: 0 = 0.1 ln(factor) + 1                    */
};

/**
 * Tables of cos and sin for positions [pos0, pos0 + count), computed on the host in double.
 *
 * Shapes   cos, sin: [count][rot / 2] f32       Sizes  rot even, >= 2
 * Accuracy one f32 rounding of the formula.
 * Returns  EK_OK; EK_E_ARG (tables untouched).
 * Source   Su et al., RoFormer, 2021; Chen et al., Position Interpolation, 2023 (LINEAR); Llama 3.1
 *          reference code (LLAMA3); Peng et al., YaRN, 2023, whose attention factor multiplies both
 *          tables. As Hugging Face transformers computes them. */
EK_API ek_status ek_rope_table(const struct ek_rope_config *c, size_t rot, size_t pos0,
                               size_t count, float *cos_table, float *sin_table);

#ifdef __cplusplus
}
#endif
#endif
