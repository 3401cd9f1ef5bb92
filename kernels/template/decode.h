/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/decode.h - codes to floats by shifts: what any ISA can do. A unit's word holds,
 * for one row, four bytes; a 4-bit byte i holds columns i (low) and i + 4 (high). SYM codes have
 * their top bit flipped once, which turns code - zero into a two's complement number. */
#ifndef EK_TEMPLATE_DECODE_H
#define EK_TEMPLATE_DECODE_H
#include "kernels/packed.h"

EK_INLINE vi decode_ready(const struct ek_geometry *f, vi q)
{
    if (f->kind != EK_FMT_SYM) return q;
    return i_xor(q, i_set(f->bits == 4 ? (int)0x88888888 : (int)0x80808080));
}
/* Where the code of column j starts in its word. */
#define SHIFT4(j) (8 * ((j) % 4) + 4 * ((j) / 4))
#define SHIFT8(j) (8 * (j))
EK_INLINE vf decode_signed(vi at_top, int bits)
{
    return i_to_float(bits == 4 ? i_sra(at_top, 28) : i_sra(at_top, 24));
}
#define DECODE4(f, q, j)                                                                           \
    ((f)->kind == EK_FMT_SYM ? decode_signed(i_sll(q, 28 - SHIFT4(j)), 4)                          \
                             : i_to_float(i_and(i_srl(q, SHIFT4(j)), i_set(15))))
#define DECODE8(f, q, j) decode_signed(i_sll(q, 24 - SHIFT8(j)), 8)
#endif
