/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/dot.h - what both ways to multiply bytes share: activations, nibbles, biases. */
#ifndef EK_AVX512_DOT_H
#define EK_AVX512_DOT_H
#include "kernels/avx512/simd.h"

typedef const int8_t *xq; /* broadcast from memory */
typedef const int8_t *x6;
EK_INLINE xq          x_load(const int8_t *x)
{
    return x;
}
EK_INLINE x6 x6_load(const int8_t *x)
{
    return x;
}
EK_INLINE vi x_lane(const int8_t *x, int lane)
{
    int32_t four;
    memcpy(&four, x + 4 * lane, sizeof four);
    return _mm512_set1_epi32(four);
}
EK_INLINE vi nibbles_low(vi w)
{
    return _mm512_and_si512(w, _mm512_set1_epi8(15));
}
EK_INLINE vi nibbles_high(vi w)
{
    return nibbles_low(_mm512_srli_epi16(w, 4));
}
#define HIGH_IN_PLACE(w) _mm512_and_si512(w, _mm512_set1_epi8((char)0xF0))
/* Sums that start at a bias: each its own load, or gcc would load once and copy. */
EK_INLINE vi dot_start(const int32_t *bias)
{
    vi acc;
    __asm__ volatile("vpbroadcastd %1, %0" : "=v"(acc) : "m"(*bias));
    return acc;
}
#endif
