/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/scalar/mask.c - reference for masks: one column, one bit of a rank at a time. */
#include "kernels/order.h"

#include <math.h>

void EK_KERNEL_SYM(mask, f32, scalar, )(const struct ek_mask_args *a, size_t begin, size_t end)
{
    const size_t words = (a->cols + 63) / 64;
    for (size_t i = begin; i < end; i++) {
        const size_t r = i / words, c0 = i % words * 64;
        uint64_t     bits = 0;
        for (size_t c = c0; c < a->cols && c < c0 + 64; c++) {
            const float x = a->x[r * a->ldx + c], t = a->t[r];
            bits |= (uint64_t)(!isnan(x) && !isnan(t) && ek_order(x) >= ek_order(t)) << (c - c0);
        }
        a->mask[i] = bits;
    }
}

/* The rank at place k, bit by bit from the top: of the ranks that agree with it so far, those with
 * a 0 come first. */
void EK_KERNEL_SYM(select, f32, scalar, )(const struct ek_select_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const float *x    = a->x + r * a->ldx;
        size_t       left = a->k;
        uint32_t     rank = 0;
        for (int bit = EK_RANK_BITS - 1; bit >= 0; bit--) {
            size_t zeros = 0;
            for (size_t c = 0; c < a->cols; c++) zeros += ek_rank(x[c]) >> bit == rank >> bit;
            if (zeros >= left) continue;
            left -= zeros, rank |= UINT32_C(1) << bit;
        }
        a->value[r] = ek_rank_value(rank);
        a->equal[r] = (uint32_t)left;
    }
}
