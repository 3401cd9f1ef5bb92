/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/dot.h - what all ways to multiply bytes share: activations, nibbles, biases. */
#ifndef EK_NEON_DOT_H
#define EK_NEON_DOT_H
#include "kernels/neon/simd.h"

typedef int8x16_t xq;
typedef struct {
    int8x16_t a; /* tokens 0..3 */
    int8x8_t  b; /* tokens 4, 5 */
} x6;
EK_INLINE xq x_load(const int8_t *x)
{
    return vld1q_s8(x);
}
EK_INLINE x6 x6_load(const int8_t *x)
{
    return (x6){vld1q_s8(x), vld1_s8(x + 16)};
}
EK_INLINE vi nibbles_low(vi w)
{
    return vreinterpretq_s32_u8(vandq_u8(vreinterpretq_u8_s32(w), vdupq_n_u8(15)));
}
EK_INLINE vi nibbles_high(vi w)
{
    return vreinterpretq_s32_u8(vshrq_n_u8(vreinterpretq_u8_s32(w), 4));
}
#define HIGH_IN_PLACE(w) nibbles_high(w) /* never used: shifting costs no more than masking */
#define DOT4_WIDE        0
#define DOT4_NARROW      0
EK_INLINE vi dot_sum(vi acc)
{
    return acc;
}
EK_INLINE vi x_four(const int8_t *x) /* four activations in every lane */
{
    int32_t four;
    memcpy(&four, x, sizeof four);
    return vdupq_n_s32(four);
}
EK_INLINE vi dot_start(const int32_t *bias)
{
    return vdupq_n_s32(*bias);
}
EK_INLINE int8x16_t flip_top_bit(vi w)
{
    return veorq_s8(vreinterpretq_s8_s32(w), vdupq_n_s8(-128));
}
#endif
