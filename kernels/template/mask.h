/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/mask.h - bits of what reaches a threshold, and the k-th largest, once for every
 * ISA. The including file has its simd.h and defines FN(op), the symbol of its kernel for f32.
 *
 * Numbers are compared as integers, so that no mode of the floating-point unit counts. */
#include "kernels/order.h"
#include "kernels/template/span.h"

/* ek_order of each lane. */
EK_INLINE vi order(vf x)
{
    const vi sign = i_sra(v_bits(x), 31);
    return i_sub(i_xor(v_abs_bits(x), sign), sign);
}

/* ---- mask ---- */

/* Bits of lo <= order(x) <= hi of 64 columns, or of the n < 64 that are left. */
EK_INLINE uint64_t bits_within(const float *x, size_t n, vi lo, vi hi)
{
    uint64_t bits = 0;
    if (n == 64) {
        EK_UNROLL
        for (size_t c = 0; c < 64; c += VL)
            bits |= (uint64_t)i_within(order(v_load(x + c)), lo, hi) << c;
        return bits;
    }
    FOR_VECTORS(c, w, 0, n) bits |= (uint64_t)i_within(order(load_at(x + c, w)), lo, hi) << c;
    return bits & ((UINT64_C(1) << n) - 1);
}

void FN(mask)(const struct ek_mask_args *a, size_t begin, size_t end)
{
    const size_t words = (a->cols + 63) / 64;
    const vi     hi    = i_set(EK_ORDER_INFINITY);
    for (size_t i = begin; i < end;) {
        const size_t r = i / words, stop = end < (r + 1) * words ? end : (r + 1) * words;
        const float *x  = a->x + r * a->ldx;
        const vi     lo = i_set(ek_order_threshold(a->t[r]));
        for (; i < stop; i++) {
            const size_t c = (i - r * words) * 64, left = a->cols - c;
            a->mask[i] = bits_within(x + c, left < 64 ? left : 64, lo, hi);
        }
    }
}

/* ---- select ---- */

enum { LOW_1 = EK_RANK_BITS - EK_DIGIT_1, LOW_2 = LOW_1 - EK_DIGIT_2, COPIES = 4 };

/* ek_rank of each lane. */
EK_INLINE vi rank_of(vf x)
{
    return i_min_u(i_sub(i_set(EK_ORDER_INFINITY), order(x)), i_set((int)EK_RANK_NAN));
}

/* Counts the first digits. Neighbours are often alike and an addition to memory has to wait for the
 * one before it: lanes take turns among four sets of counts. */
EK_INLINE void count_first(const float *x, size_t n, uint32_t *count)
{
    enum { DIGITS = 1 << EK_DIGIT_1 };
    memset(count, 0, COPIES * DIGITS * sizeof *count);
    FOR_VECTORS(c, w, 0, n)
    {
        int32_t digit[VL];
        i_store(digit, i_srl(rank_of(load_at(x + c, w)), LOW_1));
        if (w == VL) {
            EK_UNROLL
            for (size_t i = 0; i < VL; i++) count[i % COPIES * DIGITS + (size_t)digit[i]]++;
        } else {
            for (size_t i = 0; i < w; i++) count[(size_t)digit[i]]++;
        }
    }
    for (size_t d = 0; d < DIGITS; d += VL) {
        vi sum = i_load(count + d);
        EK_UNROLL
        for (size_t i = 1; i < COPIES; i++) sum = i_add(sum, i_load(count + i * DIGITS + d));
        i_store((int32_t *)count + d, sum);
    }
}

/* The ranks whose first digit it is, in order, to list; room for all columns and a vector. */
EK_INLINE size_t list_first(const float *x, size_t n, uint32_t digit, uint32_t *list)
{
    const vi d    = i_set((int)digit);
    size_t   have = 0;
    FOR_VECTORS(c, w, 0, n)
    {
        const vi u    = rank_of(load_at(x + c, w));
        unsigned hits = i_within(i_srl(u, LOW_1), d, d);
        if (w < VL) hits &= (1u << w) - 1;
        have += i_pack((int32_t *)list + have, u, hits);
    }
    return have;
}

void FN(select)(const struct ek_select_args *a, size_t begin, size_t end)
{
    uint32_t *count = a->scratch, *list = count + (COPIES << EK_DIGIT_1);
    for (size_t r = begin; r < end; r++) {
        const float *x    = a->x + r * a->ldx;
        size_t       left = a->k; /* how many are to be taken of those that begin with rank */
        count_first(x, a->cols, count);
        uint32_t     rank = ek_digit_of(count, &left);
        const size_t n    = list_first(x, a->cols, rank, list);
        memset(count, 0, sizeof *count << EK_DIGIT_2);
        for (size_t i = 0; i < n; i++) count[list[i] >> LOW_2 & ((1u << EK_DIGIT_2) - 1)]++;
        rank = rank << EK_DIGIT_2 | ek_digit_of(count, &left);
        memset(count, 0, sizeof *count << LOW_2);
        for (size_t i = 0; i < n; i++)
            if (list[i] >> LOW_2 == rank) count[list[i] & ((1u << LOW_2) - 1)]++;
        rank        = rank << LOW_2 | ek_digit_of(count, &left);
        a->value[r] = ek_rank_value(rank);
        a->equal[r] = (uint32_t)left;
    }
}
