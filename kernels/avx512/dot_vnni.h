/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/dot_vnni.h - dot products of four bytes by vpdpbusd. A lane gains at most
 * 4 * 255 * 127 a step: 2^31 holds 16 thousand steps. */
#ifndef EK_AVX512_DOT_VNNI_H
#define EK_AVX512_DOT_VNNI_H
#include "kernels/avx512/simd.h"

typedef const int8_t *xq; /* broadcast from memory */
EK_INLINE xq x_load(const int8_t *x)
{
    return x;
}
EK_INLINE vi x_lane(xq x, int lane)
{
    int32_t four;
    memcpy(&four, x + 4 * lane, sizeof four);
    return _mm512_set1_epi32(four);
}
#define DOT4(acc, w, x, lane) _mm512_dpbusd_epi32(acc, w, x_lane(x, lane))
/* In place: with the intrinsic gcc 12 copies accumulators that stay live over a loop. */
EK_INLINE vi dot_in_place(vi acc, vi w, vi x)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x));
    return acc;
}
#define DOT8 DOT4
#define DOT8_ZERO 128
#define DOT4_NARROW 0
#define DOT4_WIDE 1
EK_INLINE vi dot_sum(vi acc)
{
    return acc;
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
EK_INLINE vi codes8_ready(vi w)
{
    return w;
}

typedef const int8_t *x6;
EK_INLINE x6 x6_load(const int8_t *x)
{
    return x;
}
#define DOT4_TOKEN(acc, w, x, t) dot_in_place(acc, w, x_lane(x, t))
#define DOT8_TOKEN DOT4_TOKEN
/* Sums that start at a bias: each its own load, or gcc would load once and copy. */
EK_INLINE vi dot_start(const int32_t *bias)
{
    vi acc;
    __asm__ volatile("vpbroadcastd %1, %0" : "=v"(acc) : "m"(*bias));
    return acc;
}
#endif
