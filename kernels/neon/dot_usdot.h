/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/dot_usdot.h - dot products of four bytes by usdot (I8MM): codes stay unsigned. */
#ifndef EK_NEON_DOT_USDOT_H
#define EK_NEON_DOT_USDOT_H
#include "kernels/neon/dot.h"

#define BYTES(w)              vreinterpretq_u8_s32(w)
#define DOT4(acc, w, x, lane) vusdotq_laneq_s32(acc, BYTES(w), x, lane)
#define DOT8                  DOT4
#define DOT4_LANES            dot_in_place
#define DOT8_LANES            dot_in_place
#define DOT8_ZERO             128
EK_INLINE vi codes8_ready(vi w)
{
    return w;
}
EK_INLINE vi dot_in_place(vi acc, vi w, vi x)
{
    return vusdotq_s32(acc, BYTES(w), vreinterpretq_s8_s32(x));
}

/* usmmla multiplies two rows by two tokens over eight columns. unpack_pair() puts the two words of
 * a row, columns 0..3 and 4..7, side by side; dot_columns() does the same for tokens as it goes,
 * and deals the four sums of each product back to their rows at the end. */
#define DOT_BY_MATRIX 1
EK_INLINE void unpack_pair(vi a, vi b, int32_t *first, int32_t *second)
{
    vst1q_s32(first, vzip1q_s32(a, b));  /* rows 0, 1 */
    vst1q_s32(second, vzip2q_s32(a, b)); /* rows 2, 3 */
}
#define KEY_DOT(acc, w, x) dot_in_place(acc, w, x_four(x))
#endif
