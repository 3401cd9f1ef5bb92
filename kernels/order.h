/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/order.h - f32 numbers as integers in the same order. */
#ifndef EK_ORDER_H
#define EK_ORDER_H
#include "kernels/contract.h"

enum {
    EK_ORDER_INFINITY = 0x7F800000, /* ek_order of infinity                    */
    EK_RANK_BITS      = 32,         /* digits of a rank, from the top          */
    EK_DIGIT_1        = 11,         /* sign, exponent and two bits of fraction */
    EK_DIGIT_2        = 11,
};
#define EK_RANK_NAN UINT32_C(0xFF000001) /* one more than the rank of -infinity */

/* Sign and magnitude become a two's complement integer: orders like the numbers, -0 is 0. NaN lies
 * above infinity or below -infinity. */
EK_INLINE int32_t ek_order(float x)
{
    int32_t b;
    memcpy(&b, &x, sizeof b);
    return b < 0 ? -(b & INT32_MAX) : b;
}

/* The smallest ek_order that reaches t; past infinity, that is never, when t is NaN. */
EK_INLINE int32_t ek_order_threshold(float t)
{
    const int32_t o = ek_order(t);
    return o > EK_ORDER_INFINITY || o < -EK_ORDER_INFINITY ? INT32_MAX : o;
}

/* 0 for infinity and growing towards -infinity, then NaN: the numbers from the largest down. */
EK_INLINE uint32_t ek_rank(float x)
{
    const uint32_t u = (uint32_t)EK_ORDER_INFINITY - (uint32_t)ek_order(x);
    return u < EK_RANK_NAN ? u : EK_RANK_NAN; /* NaN has wrapped around, or lies past -infinity */
}

/* The number of a rank: ek_rank's inverse but for the sign of 0 and the bits of NaN. */
EK_INLINE float ek_rank_value(uint32_t rank)
{
    const int32_t o = (int32_t)((uint32_t)EK_ORDER_INFINITY - rank);
    uint32_t      b = o < 0 ? (uint32_t)-o | UINT32_C(0x80000000) : (uint32_t)o;
    float         x;
    if (rank == EK_RANK_NAN) b = UINT32_C(0x7FC00000);
    memcpy(&x, &b, sizeof x);
    return x;
}

/* The digit at which the counts, added from 0 up, reach *left; *left becomes what of it is
 * needed. */
EK_INLINE uint32_t ek_digit_of(const uint32_t *count, size_t *left)
{
    uint32_t d = 0;
    for (; count[d] < *left; d++) *left -= count[d];
    return d;
}
#endif
