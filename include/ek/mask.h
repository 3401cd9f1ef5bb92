/* SPDX-License-Identifier: Apache-2.0 */
/* ek/mask.h - which neurons are active: bitsets, and the rules that make them from scores.
 *
 * A mask over n neurons is ek_mask_words(n) words of 64 bits: neuron i is bit i % 64 of word i /
 * 64. Bits past n are 0; functions that take a mask refuse one where they are not. Lists of neurons
 * are ascending and without repeats, each < n < 2^32.
 *
 * Common to all: the caller owns everything, nothing is allocated. Rows or words are split over
 * pool (NULL: serial) and any pool gives the same bits. Returns EK_OK; EK_E_ARG for a null pointer,
 * a zero or impossible size, a misaligned or contradictory argument; EK_E_NOMEM for too little
 * room; EK_E_UNSUPPORTED when t has no kernel; EK_E_OVERFLOW when a size does not fit. On error
 * outputs are untouched. */
#ifndef EK_MASK_H
#define EK_MASK_H
#include "ek/kernels.h"
#include "ek/pool.h"
#include "ek/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- bitsets ---- */

/** Words of a mask over n neurons: ceil(n / 64). */
EK_API size_t ek_mask_words(size_t n);

/** Neurons that are active, of a sound mask. */
EK_API size_t ek_mask_count(const uint64_t *mask, size_t n);

/** mask = the neurons of a list. list: [count], each < n, in any order; NULL when count is 0. */
EK_API ek_status ek_mask_set(uint64_t *mask, size_t n, const uint32_t *list, size_t count);

/** The active neurons, ascending. list: [room], *count of it written. */
EK_API ek_status ek_mask_list(const uint64_t *mask, size_t n, uint32_t *list, size_t room,
                              size_t *count);

/** out = the neurons active in any of m masks. masks: [m][words]; out: [words], may be a row of
 * them. */
EK_API ek_status ek_mask_union(const uint64_t *masks, size_t m, size_t n, uint64_t *out);

/** Neurons that one mask has and another has not, as ascending lists. */
struct ek_mask_diff {
    uint32_t *added, *removed;            /* [room] each; overlap nothing        */
    size_t    room;                       /* entries of each list                */
    size_t    added_count, removed_count; /* out: entries written           */
};

/** added = now & ~before, removed = before & ~now. EK_E_NOMEM when a list would exceed room. */
EK_API ek_status ek_mask_diff(const uint64_t *before, const uint64_t *now, size_t n,
                              struct ek_mask_diff *diff);

/* ---- the kernels ---- */

/** Bits of x >= t; a is checked, ek_mask_args says what its members are. */
EK_API ek_status ek_mask(const struct ek_kernels *t, const ek_pool *pool,
                         const struct ek_mask_args *a, size_t rows);

/** Mean and standard deviation of rows; ek_moments_args has the bound. */
EK_API ek_status ek_moments(const struct ek_kernels *t, const ek_pool *pool,
                            const struct ek_moments_args *a, size_t rows);

/** Working memory of ek_select, 64-byte aligned. */
EK_API ek_status ek_select_work_bytes(size_t rows, size_t cols, const ek_pool *pool, size_t *bytes);

/** The k-th largest of rows; a->scratch is not looked at, work takes its place. */
EK_API ek_status ek_select(const struct ek_kernels *t, const ek_pool *pool,
                           const struct ek_select_args *a, size_t rows, void *work,
                           size_t work_bytes);

/* ---- rules ---- */

enum ek_rule_kind {
    EK_RULE_THRESHOLD = 0, /* score >= value; zero-initialised: score >= 0                     */
    EK_RULE_TOPK,          /* the k largest, exactly k bits; the lower index first among equals */
    EK_RULE_GAUSS,         /* score >= mean + deviation * ek_inverse_normal(value)              */
    EK_RULE_SIGMA,         /* score >= mean + deviation * value                                 */
};

/** How scores become a mask. Mean and deviation are the row's; cutoffs are rounded to f32. */
struct ek_mask_rule {
    size_t            struct_size; /* bytes; sizeof(struct ek_mask_rule)                        */
    enum ek_rule_kind kind;
    double            value; /* THRESHOLD: the threshold; GAUSS: share of neurons to leave out, in
                                (0, 1); SIGMA: deviations above the mean. Not NaN               */
    size_t            k;     /* TOPK: 1..n                                                      */
};

/** Working memory of ek_mask_scores for up to m rows with this pool. */
EK_API ek_status ek_mask_scores_work_bytes(const struct ek_mask_rule *rule, size_t m, size_t n,
                                           const ek_pool *pool, size_t *bytes);

/**
 * The mask of each row of scores.
 *
 * Shapes   x: [m][ldx] f32, n used     mask: [m][ek_mask_words(n)]
 * Sizes    m >= 1, 1 <= n < 2^32, ldx >= n, elements
 * Memory   work: work_bytes >= ek_mask_scores_work_bytes, 64-byte aligned, one per call in flight;
 *          mask overlaps nothing
 * Threads  words (thresholds) and rows (moments, top-k) are split over pool; any pool gives the
 *          same bits, and m rows those of each row alone
 * Accuracy THRESHOLD and TOPK exact, on every ISA; the cutoffs of GAUSS and SIGMA carry the errors
 *          of ek_moments_args, so that a score at the cutoff may fall on either side
 * NaN      as a score: 0, but TOPK takes NaN after all else. In a row of GAUSS or SIGMA, as
 *          infinity there: no bit.
 * Source   top-k and mean + deviation * inverse normal over a row: the activation sparsity of
 *          Gemma 3n; mean + 2 deviations: NimbleEdge's sparse_transformers. */
EK_API ek_status ek_mask_scores(const struct ek_kernels *t, const ek_pool *pool,
                                const struct ek_mask_rule *rule, const float *x, size_t ldx,
                                size_t m, size_t n, uint64_t *mask, void *work, size_t work_bytes);

/**
 * z with P(Z <= z) = p for a standard normal Z: -infinity at 0, infinity at 1, NaN outside.
 *
 * Accuracy relative error about 2^-52, as its source says; tests hold it to 1e-13.
 * Source   Wichura, Algorithm AS 241: The Percentage Points of the Normal Distribution, Applied
 *          Statistics 37, 1988: PPND16. */
EK_API double ek_inverse_normal(double p);

#ifdef __cplusplus
}
#endif
#endif
