/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/decode.h - codes to floats. 4 bit: vpermps looks at the low four bits of an index
 * only, so a shift and a look-up give the float; 8 bit: shifts. */
#ifndef EK_AVX512_DECODE_H
#define EK_AVX512_DECODE_H
#include "kernels/avx512/simd.h"
#include "kernels/template/decode.h"

EK_INLINE vf look_up(const struct ek_geometry *f, vi index)
{
    const vf up = _mm512_set_ps(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    /* the codes' top bit was flipped: code - 8 in the order 8..15, 0..7 */
    const vf turned = _mm512_set_ps(-1, -2, -3, -4, -5, -6, -7, -8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm512_permutexvar_ps(index, f->kind == EK_FMT_SYM ? turned : up);
}
#undef DECODE4
#define DECODE4(f, q, j) look_up(f, i_srl(q, SHIFT4(j)))
#endif
