/* SPDX-License-Identifier: Apache-2.0 */
/* ek/sparse.h - MLPs and products that read only the neurons, or the columns, of a list. */
#ifndef EK_SPARSE_H
#define EK_SPARSE_H
#include "ek/formats.h"
#include "ek/kernels.h"
#include "ek/linear.h"
#include "ek/pool.h"
#include "ek/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Neurons in the NEURON layout (docs/formats.md): the rows of a neuron stand together, so that it is
 * read, skipped, moved or cached as one. rows 3: gate, up, down (a column of the down matrix); 2:
 * up, down; 1: a column of any matrix, by its input. Formats: f32, f16, bf16, q8g32, q4g32. */
struct ek_neurons {
    enum ek_fmt fmt;
    size_t      n;    /* neurons                                                  */
    size_t      d;    /* elements of a row                                        */
    size_t      rows; /* 1, 2 or 3                                                */
    const void *data; /* ek_neurons_bytes, 64-byte aligned                        */
};

/** Elements that a row holds with its padding; 0 for a format without this layout. */
EK_API size_t ek_neuron_width(enum ek_fmt fmt, size_t d);

/**
 * Size of neurons.
 *
 * Sizes    n, d >= 1; rows 1..3. *one (may be NULL): bytes of one neuron, a multiple of 64.
 * Returns  EK_OK; EK_E_ARG for a zero size or a format without this layout; EK_E_OVERFLOW. */
EK_API ek_status ek_neurons_bytes(enum ek_fmt fmt, size_t n, size_t d, size_t rows, size_t *bytes,
                                  size_t *one);

/**
 * Rounds one row of each of n neurons to the format.
 *
 * Shapes   w: element c of neuron i is w[i * neuron_step + c * column_step], f32: steps d, 1 for the
 *          rows of a matrix, 1, n for its columns.     out: ek_neurons_bytes(fmt, n, d, rows)
 * Memory   only row `row` of the neurons is written, padding as zero values. w and out do not
 *          overlap; out is 64-byte aligned.
 * Accuracy as ek_weights_quantize, groups along the row.
 * Threads  neurons are independent: a caller may split n.
 * Returns  EK_OK; EK_E_ARG; EK_E_NOMEM when out_bytes is too small; EK_E_FORMAT for a value that is
 *          not finite or does not fit. */
EK_API ek_status ek_neurons_quantize(enum ek_fmt fmt, const float *w, size_t neuron_step,
                                     size_t column_step, size_t n, size_t d, size_t rows,
                                     size_t row, void *out, size_t out_bytes);

/**
 * One row of each of n neurons from codes and scales, as ek_weights_unpack gives them: without loss.
 * codes->q [n][k], codes->d [n][k / 32], k = ek_padded_k(fmt, d). The rest as ek_neurons_quantize;
 * EK_E_ARG for a float format. */
EK_API ek_status ek_neurons_pack(enum ek_fmt fmt, const struct ek_codes *codes, size_t n, size_t d,
                                 size_t rows, size_t row, void *out, size_t out_bytes);

/** Row `row` of neurons [n0, n1) as floats, out [n1 - n0][d]. Exact up to one f32 rounding. */
EK_API ek_status ek_neurons_dequantize(const struct ek_neurons *w, size_t row, size_t n0, size_t n1,
                                       float *out);

/**
 * One row of each of neurons [n0, n1) as a matrix for ek_linear, without loss.
 *
 * Shapes   out: ek_weights_bytes(w->fmt, n1 - n0, w->d), row i that of neuron n0 + i, in the format of
 *          w and its layout; packed: 64-byte aligned.
 * Threads  a caller may split the neurons, at multiples of EK_PANEL_ROWS from n0.
 * Returns  EK_OK; EK_E_ARG; EK_E_NOMEM when out_bytes is too small; EK_E_OVERFLOW. */
EK_API ek_status ek_neurons_matrix(const struct ek_neurons *w, size_t row, size_t n0, size_t n1,
                                   void *out, size_t out_bytes);

/**
 * The same with a row for each of the d columns: out [d][ld], n1 - n0 written, ld >= n1 - n0. Of a float
 * format elements as they are; of a packed one f32, with the values of ek_neurons_dequantize. */
EK_API ek_status ek_neurons_transposed(const struct ek_neurons *w, size_t row, size_t n0, size_t n1,
                                       void *out, size_t ld);

/** Zero-initialised means default. */
struct ek_sparse_options {
    size_t             struct_size; /* bytes; sizeof(struct ek_sparse_options)                */
    enum ek_activation activation;  /* of x: AUTO is I8 for packed formats                    */
    enum ek_act_kind   act;         /* of the gate; of up where there is none. Default: ReLU  */
    const float       *gate;        /* rows 2: [m][count], h = gate * up . x; NULL: act(up . x) */
};

/** Working memory of the calls below for up to `count` places of a list and m tokens. */
EK_API ek_status ek_sparse_work_bytes(const struct ek_neurons *w, size_t count, size_t m,
                                      const struct ek_sparse_options *opt, size_t *bytes);

/**
 * y = sum over a list of neurons of act(gate . x) (up . x) down: a gated MLP without the others.
 *
 * Shapes   w: rows 2 or 3    list: [count] neurons    x: [m][ldx] f32, d used    y: [m][ldy], d
 *          written. One list serves all m <= EK_GEMV_MAX_M tokens (the union of theirs); more
 *          tokens are refused: dense products are the faster way then.
 * Memory   work: ek_sparse_work_bytes, 64-byte aligned, one per call in flight. Allocates nothing;
 *          y overlaps nothing.
 * Threads  the list is split over pool (NULL: serial). Bits depend on the weights of the listed
 *          neurons, their order and number, and on x: not on the pool, m, or where neurons stand.
 * Accuracy float sums; I8 rounds x as ek_linear does.
 * Returns  EK_OK; EK_E_ARG for a null, zero, misaligned or contradictory argument, m > 8, or a
 *          neuron >= n; EK_E_NOMEM for too little work; EK_E_UNSUPPORTED; EK_E_OVERFLOW. On error
 *          y is untouched. */
EK_API ek_status ek_sparse_mlp(const struct ek_kernels *t, const ek_pool *pool,
                               const struct ek_neurons *w, const uint32_t *list, size_t count,
                               const float *x, size_t ldx, size_t m, float *y, size_t ldy,
                               const struct ek_sparse_options *opt, void *work, size_t work_bytes);

/**
 * y = sum over a list of columns of x[place] w[column]: a GEMV that skips the inputs that are zero.
 *
 * Shapes   w: rows 1, n columns of d outputs     list: [count] columns     x: [m][ldx], the input of
 *          each place, count used     y: [m][ldy], d written. m <= EK_GEMV_MAX_M.
 * The rest as ek_sparse_mlp; its work is that of opt = NULL. */
EK_API ek_status ek_sparse_gemv(const struct ek_kernels *t, const ek_pool *pool,
                                const struct ek_neurons *w, const uint32_t *list, size_t count,
                                const float *x, size_t ldx, size_t m, float *y, size_t ldy,
                                void *work, size_t work_bytes);

#ifdef __cplusplus
}
#endif
#endif
