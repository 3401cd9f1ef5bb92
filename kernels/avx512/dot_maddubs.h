/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/dot_maddubs.h - dot products of four bytes without VNNI. vpmaddubsw adds pairs
 * in 16 bits with saturation:
 *   4 bit: 2 * 15 * 127 = 3810 a pair, eight 30480 < 32768: summed in 16 bits, eight at most;
 *   8 bit: as |w| <= 128 times x with the sign of w, 2 * 128 * 127 = 32512: one at a time. */
#ifndef EK_AVX512_DOT_MADDUBS_H
#define EK_AVX512_DOT_MADDUBS_H
#include "kernels/avx512/dot.h"

EK_INLINE vi dot4_pairs(vi acc, vi w, vi x)
{
    return _mm512_add_epi16(acc, _mm512_maddubs_epi16(w, x));
}
EK_INLINE vi dot_sum(vi acc) /* of 16-bit pairs */
{
    return _mm512_madd_epi16(acc, _mm512_set1_epi16(1));
}
EK_INLINE vi dot8_signed(vi acc, vi w, vi x)
{
    const __mmask64 negative = _mm512_movepi8_mask(w);
    const vi        signed_x = _mm512_mask_sub_epi8(x, negative, _mm512_setzero_si512(), x);
    const vi        pairs    = _mm512_maddubs_epi16(_mm512_abs_epi8(w), signed_x);
    return _mm512_add_epi32(acc, dot_sum(pairs));
}
#define DOT4(acc, w, x, lane) dot4_pairs(acc, w, x_lane(x, lane))
#define DOT8(acc, w, x, lane) dot8_signed(acc, w, x_lane(x, lane))
#define DOT4_LANES            dot4_pairs
#define DOT8_LANES            dot8_signed
#define DOT8_ZERO             0
#define DOT4_NARROW           1
#define DOT4_WIDE             0
EK_INLINE vi codes8_ready(vi w) /* code - 128 in two's complement */
{
    return _mm512_xor_si512(w, _mm512_set1_epi8((char)0x80));
}

/* One step of the roof that this instruction set allows. */
EK_INLINE vi dot_in_place(vi acc, vi w, vi x)
{
    return _mm512_add_epi32(acc, dot_sum(i_opaque(_mm512_maddubs_epi16(w, x))));
}
#define DOT4_TOKEN         DOT4
#define DOT8_TOKEN         DOT8
#define KEY_DOT(acc, w, x) dot8_signed(acc, w, x_lane(x, 0))
#endif
