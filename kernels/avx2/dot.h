/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/dot.h - what both ways to multiply bytes share: activations, nibbles, biases. */
#ifndef EK_AVX2_DOT_H
#define EK_AVX2_DOT_H
#include "kernels/avx2/simd.h"

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
    return _mm256_set1_epi32(four);
}
EK_INLINE vi nibbles_low(vi w)
{
    return _mm256_and_si256(w, _mm256_set1_epi8(15));
}
EK_INLINE vi nibbles_high(vi w)
{
    return nibbles_low(_mm256_srli_epi16(w, 4));
}
#define HIGH_IN_PLACE(w) _mm256_and_si256(w, _mm256_set1_epi8((char)0xF0))
EK_INLINE vi dot_start(const int32_t *bias)
{
    return _mm256_set1_epi32(*bias);
}
#endif
