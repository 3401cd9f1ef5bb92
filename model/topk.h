/* SPDX-License-Identifier: Apache-2.0 */
/* model/topk.h - the largest of many numbers, in one pass. */
#ifndef EK_MODEL_TOPK_H
#define EK_MODEL_TOPK_H
#include <stddef.h>
#include <stdint.h>

struct candidate {
    float   logit;
    int32_t id;
};

/** Does a come before b? The larger logit; among equals the smaller id. No NaN. */
static inline int candidate_before(struct candidate a, struct candidate b)
{
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

/** The k <= n largest of x [n], largest first, into out [k]. No NaN in x. O(n log k) at worst, a
 * comparison per element as a rule. */
void topk(const float *x, size_t n, size_t k, struct candidate *out);

/** Makes out [n] a heap with the largest at its root; O(n). */
void candidate_heap(struct candidate *out, size_t n);
/** Moves the root behind the heap of n, which is n - 1 long then. */
void candidate_pop(struct candidate *heap, size_t n);
#endif
