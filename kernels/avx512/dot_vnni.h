/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/dot_vnni.h - dot products of four bytes by vpdpbusd. A lane gains at most
 * 4 * 255 * 127 a step: 2^31 holds 16 thousand steps. */
#ifndef EK_AVX512_DOT_VNNI_H
#define EK_AVX512_DOT_VNNI_H
#include "kernels/avx512/dot.h"

#define DOT4(acc, w, x, lane) _mm512_dpbusd_epi32(acc, w, x_lane(x, lane))
#define DOT8                  DOT4
#define DOT4_LANES(acc, w, x) _mm512_dpbusd_epi32(acc, w, x)
#define DOT8_LANES            DOT4_LANES
#define DOT8_ZERO             128
#define DOT4_NARROW           0
#define DOT4_WIDE             1
EK_INLINE vi dot_sum(vi acc)
{
    return acc;
}
EK_INLINE vi codes8_ready(vi w)
{
    return w;
}

/* In place: with the intrinsic gcc 12 copies accumulators that stay live over a loop. */
EK_INLINE vi dot_in_place(vi acc, vi w, vi x)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x));
    return acc;
}
#define DOT4_TOKEN(acc, w, x, t) dot_in_place(acc, w, x_lane(x, t))
#define DOT8_TOKEN               DOT4_TOKEN
#define KEY_DOT(acc, w, x)       dot_in_place(acc, w, x_lane(x, 0))
#endif
