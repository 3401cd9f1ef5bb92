/* SPDX-License-Identifier: Apache-2.0 */
/* model/topk.c - binary heaps of candidates. */
#include "model/topk.h"

/* Lets h[i] sink below those that belong above it. sign = 1: the largest is the root; -1: the
 * smallest. */
static void sink(struct candidate *h, size_t n, size_t i, int sign)
{
    const struct candidate c = h[i];
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && candidate_before(h[child + 1], h[child]) == (sign > 0)) child++;
        if (candidate_before(h[child], c) != (sign > 0)) break;
        h[i] = h[child];
    }
    h[i] = c;
}

static void build(struct candidate *h, size_t n, int sign)
{
    for (size_t i = n / 2; i-- > 0;) sink(h, n, i, sign);
}

/* The root changes places with the last. */
static void pop(struct candidate *h, size_t n, int sign)
{
    const struct candidate root = h[0];
    h[0]                        = h[n - 1];
    sink(h, n - 1, 0, sign);
    h[n - 1] = root;
}

void candidate_heap(struct candidate *out, size_t n)
{
    build(out, n, 1);
}

void candidate_pop(struct candidate *heap, size_t n)
{
    pop(heap, n, 1);
}

/* The k best so far with the worst of them at the root: most elements are only compared with it,
 * and as ids ascend, an equal logit never displaces one. */
void topk(const float *x, size_t n, size_t k, struct candidate *out)
{
    if (k == 0) return;
    for (size_t i = 0; i < k; i++) out[i] = (struct candidate){x[i], (int32_t)i};
    build(out, k, -1);
    for (size_t i = k; i < n; i++) {
        if (!(x[i] > out[0].logit)) continue;
        out[0] = (struct candidate){x[i], (int32_t)i};
        sink(out, k, 0, -1);
    }
    for (size_t i = k; i > 1; i--) pop(out, i, -1);
}
