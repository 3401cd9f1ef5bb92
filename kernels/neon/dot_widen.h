/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/dot_widen.h - dot products of four bytes on any Armv8: multiply to 16 bits, add
 * pairs, add pairs into 32. A pair is at most 2 * 128 * 127 = 32512 < 32768. */
#ifndef EK_NEON_DOT_WIDEN_H
#define EK_NEON_DOT_WIDEN_H
#include "kernels/neon/dot.h"

EK_INLINE vi dot_four(vi acc, vi w, int8x16_t x) /* x: the four activations, four times */
{
    const int8x16_t b  = vreinterpretq_s8_s32(w);
    const int16x8_t lo = vmull_s8(vget_low_s8(b), vget_low_s8(x)), hi = vmull_high_s8(b, x);
    return vpadalq_s16(acc, vpaddq_s16(lo, hi));
}
EK_INLINE int8x16_t repeated(int8x16_t x, const int lane)
{
    const int32x4_t v = vreinterpretq_s32_s8(x);
    return vreinterpretq_s8_s32(lane == 0   ? vdupq_laneq_s32(v, 0)
                                : lane == 1 ? vdupq_laneq_s32(v, 1)
                                : lane == 2 ? vdupq_laneq_s32(v, 2)
                                            : vdupq_laneq_s32(v, 3));
}
#define DOT4(acc, w, x, lane) dot_four(acc, w, repeated(x, lane))
#define DOT8                  DOT4
#define DOT4_LANES            dot_in_place
#define DOT8_LANES            dot_in_place
#define DOT8_ZERO             0
EK_INLINE vi codes8_ready(vi w) /* code - 128 in two's complement */
{
    return vreinterpretq_s32_s8(flip_top_bit(w));
}
EK_INLINE int8x16_t token_repeated(x6 x, const int t)
{
    return t < 4 ? repeated(x.a, t) : repeated(vcombine_s8(x.b, x.b), t - 4);
}
#define DOT4_TOKEN(acc, w, x, t) dot_four(acc, w, token_repeated(x, t))
#define DOT8_TOKEN               DOT4_TOKEN

EK_INLINE vi dot_in_place(vi acc, vi w, vi x)
{
    return dot_four(acc, w, vreinterpretq_s8_s32(x));
}
#define KEY_DOT(acc, w, x) dot_in_place(acc, w, x_four(x))
#endif
