/* SPDX-License-Identifier: Apache-2.0 */
/* ek/head.h - the next token from the last state: the largest of y = W h without keeping y, over
 * all rows, over some that were gathered, or over those that can be the largest at all. */
#ifndef EK_HEAD_H
#define EK_HEAD_H
#include "ek/formats.h"
#include "ek/kernels.h"
#include "ek/linear.h"
#include "ek/pool.h"
#include "ek/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    EK_HEAD_BLOCK   = 1024, /* rows whose logits exist at one time in one task */
    EK_HEAD_TOP_MAX = 256,  /* most tokens that a call returns                 */
};

/** How a head is read. A head of gathered rows (a slice) takes the same modes. */
enum ek_head_mode {
    EK_HEAD_FULL      = 0, /* every row                                                     */
    EK_HEAD_CERTIFIED = 1, /* a small copy of every row, and the rows that it cannot rule out */
};

/** A low-bit copy of a head and, row by row, how far its products may be from the head's. Plain
 * data, made by ek_head_screen_build; immutable, shared by threads. */
struct ek_head_screen {
    size_t            struct_size; /* bytes; sizeof(struct ek_head_screen)              */
    struct ek_weights q;           /* [n][k] the copy                                   */
    const uint16_t   *error;       /* [n] bf16 >= ||w_r - q_r||                         */
    const uint16_t   *norm;        /* [n] bf16 >= ||q_r||                               */
    float             largest;     /* >= ||w_r - q_r|| + ||q_r|| of every row           */
};

struct ek_head {
    size_t                          struct_size; /* bytes; sizeof(struct ek_head)                */
    struct ek_weights               w;           /* [n][k], n < 2^32                             */
    const uint32_t                 *ids;         /* [n] token id of each row, ascending; NULL: r */
    const struct ek_linear_options *opt;         /* as ek_linear; NULL: defaults                 */
    const struct ek_head_screen    *screen;      /* of w; NULL where CERTIFIED is not used       */
};

/** What calls did; each adds to it. */
struct ek_head_counts {
    uint64_t screened;   /* rows whose copy was read                                   */
    uint64_t recomputed; /* rows computed exactly after that                           */
    uint64_t bytes;      /* of weights, copies and bounds that were read               */
    uint64_t fallbacks;  /* CERTIFIED calls that ran as FULL: the state is not finite, or near the
                            end of f32's range; or the screen is seen to be another head's */
};

/** One question. Zero-initialised members mean default. */
struct ek_head_call {
    size_t                struct_size; /* bytes; sizeof(struct ek_head_call)                     */
    const struct ek_head *head;
    enum ek_head_mode     mode;
    const float          *x;      /* [k] the state, after the model's last norm                  */
    size_t                top;    /* tokens wanted, 1..EK_HEAD_TOP_MAX, <= n                      */
    uint32_t             *id;     /* [top] token ids                                             */
    float                *value;  /* [top] their logits                                          */
    float                *logits; /* FULL: NULL or [n], every row's; CERTIFIED: NULL             */
};

/**
 * Working memory of a call with this pool. x, id, value and logits need not be there yet.
 *
 * Returns  EK_OK; EK_E_ARG, EK_E_FORMAT, EK_E_UNSUPPORTED, EK_E_OVERFLOW as ek_head. */
EK_API ek_status ek_head_work_bytes(const struct ek_head_call *c, const ek_pool *pool,
                                    size_t *bytes);

/**
 * The `top` largest logits, largest first; among equals the lower row, hence the lower id.
 *
 * Exact    Logits have the bits that ek_linear gives with m = 1 and the head's options. FULL and
 *          CERTIFIED give the same ids and values: those of ek_topk over all of them (and of
 *          ek_argmax for top = 1).
 *          NaN never wins: such logits come after all others, lower id first.
 * Memory   work: work_bytes >= ek_head_work_bytes, 64-byte aligned, one per call in flight. The
 *          caller owns everything; outputs overlap nothing. Allocates nothing.
 * Threads  blocks of EK_HEAD_BLOCK rows are split over pool (NULL: serial). The same bits and the
 *          same counts for any pool.
 * Returns  EK_OK; EK_E_ARG for a null, zero, misaligned or contradictory argument, or a screen of
 *          another head; EK_E_FORMAT for a layout that is not the format's; EK_E_NOMEM for too
 *          little work; EK_E_UNSUPPORTED when t has no kernel; EK_E_OVERFLOW. On error outputs are
 *          untouched.
 * counts   NULL, or what the call did is added. */
EK_API ek_status ek_head(const struct ek_kernels *t, const ek_pool *pool,
                         const struct ek_head_call *c, struct ek_head_counts *counts, void *work,
                         size_t work_bytes);

/**
 * Logits of some rows: y[i] = row rows[i] of the head (not its id), with the bits of ek_linear.
 *
 * Sizes    rows: [count] each < n, any order; count >= 1. Of packed formats whole panels of 16 rows
 *          are computed; neighbours in the list that share one share the work.
 * Memory   work: ek_linear_work_bytes for one token, 64-byte aligned. Allocates nothing.
 * Threads  the list is split over pool; the same bits for any pool.
 * Returns  as ek_head. */
EK_API ek_status ek_head_rows(const struct ek_kernels *t, const ek_pool *pool,
                              const struct ek_head *head, const float *x, const uint32_t *rows,
                              size_t count, float *y, void *work, size_t work_bytes);

/**
 * Bytes of weights that one token reads.
 *
 * FULL     the matrix. CERTIFIED: the copy with its bounds, and `rows` rows of the matrix (packed:
 *          as many panels, or all of them).
 * Returns  EK_OK; EK_E_ARG; EK_E_OVERFLOW. */
EK_API ek_status ek_head_bytes(const struct ek_head *head, enum ek_head_mode mode, size_t rows,
                               uint64_t *bytes);

/**
 * Sizes of a screen in format fmt and of the working memory that building it takes.
 *
 * Formats  w: f32, f16, bf16 or a symmetric one; fmt: a symmetric one with fewer bits a weight.
 *          q4g32 reads 28 % of bf16.
 * Returns  EK_OK; EK_E_ARG; EK_E_UNSUPPORTED for other formats; EK_E_OVERFLOW (k above 2^20). */
EK_API ek_status ek_head_screen_bytes(const struct ek_weights *w, enum ek_fmt fmt,
                                      const ek_pool *pool, size_t *bytes, size_t *work_bytes);

/**
 * Rounds w to fmt and bounds the rounding of every row.
 *
 * Memory   mem, work: 64-byte aligned; mem stays in use with *out, work does not.
 * Threads  panels are split over pool; the same bytes for any pool.
 * Returns  EK_OK; statuses of ek_head_screen_bytes; EK_E_NOMEM; EK_E_FORMAT for a weight that is
 *          not finite or does not fit fmt (mem is unspecified then, *out untouched). */
EK_API ek_status ek_head_screen_build(const ek_pool *pool, const struct ek_weights *w,
                                      enum ek_fmt fmt, void *mem, size_t bytes, void *work,
                                      size_t work_bytes, struct ek_head_screen *out);

#ifdef __cplusplus
}
#endif
#endif
