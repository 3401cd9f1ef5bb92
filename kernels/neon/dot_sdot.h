/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/dot_sdot.h - dot products of four bytes by sdot. Nibbles are positive as they are;
 * 8-bit codes lose their offset of 128 by flipping the top bit. */
#ifndef EK_NEON_DOT_SDOT_H
#define EK_NEON_DOT_SDOT_H
#include "kernels/neon/dot.h"

#define BYTES(w)              vreinterpretq_s8_s32(w)
#define DOT4(acc, w, x, lane) vdotq_laneq_s32(acc, BYTES(w), x, lane)
#define DOT8                  DOT4
#define DOT4_LANES            dot_in_place
#define DOT8_LANES            dot_in_place
#define DOT8_ZERO             0
EK_INLINE vi codes8_ready(vi w) /* code - 128 in two's complement */
{
    return vreinterpretq_s32_s8(flip_top_bit(w));
}
#define DOT4_TOKEN(acc, w, x, t)                                                                   \
    ((t) < 4 ? vdotq_laneq_s32(acc, BYTES(w), (x).a, (t) % 4)                                      \
             : vdotq_lane_s32(acc, BYTES(w), (x).b, (t) % 2))
#define DOT8_TOKEN DOT4_TOKEN

EK_INLINE vi dot_in_place(vi acc, vi w, vi x)
{
    return vdotq_s32(acc, BYTES(w), BYTES(x));
}
#define KEY_DOT(acc, w, x) dot_in_place(acc, w, x_four(x))
#endif
