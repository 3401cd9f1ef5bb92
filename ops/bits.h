/* SPDX-License-Identifier: Apache-2.0 */
/* ops/bits.h - words of masks; the layout is that of ek/mask.h. */
#ifndef EK_BITS_H
#define EK_BITS_H
#include <stddef.h>
#include <stdint.h>

/* Are the bits past n all 0? */
static inline int ek_bits_sound(const uint64_t *mask, size_t n)
{
    return n % 64 == 0 || mask[n / 64] >> n % 64 == 0;
}

/* The set bits of word w, ascending, to list. Returns how many. */
static inline size_t ek_bits_list(uint64_t bits, size_t w, uint32_t *list)
{
    size_t n = 0;
    for (; bits; bits &= bits - 1) list[n++] = (uint32_t)(w * 64 + (size_t)__builtin_ctzll(bits));
    return n;
}

/* Bits in a word. Spelled out: without an instruction for it compilers call a function that is
 * slower. */
static inline size_t ek_bits_count(uint64_t v)
{
    v = v - (v >> 1 & UINT64_C(0x5555555555555555));
    v = (v & UINT64_C(0x3333333333333333)) + (v >> 2 & UINT64_C(0x3333333333333333));
    v = (v + (v >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    return (size_t)(v * UINT64_C(0x0101010101010101) >> 56);
}
#endif
