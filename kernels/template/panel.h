/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/panel.h - reading PANEL16 weights with vectors of VL rows: heads, scales,
 * stores. Needs an ISA's simd.h. A panel is NV vectors of rows; vector v holds rows [v VL, v VL +
 * VL). */
#ifndef EK_TEMPLATE_PANEL_H
#define EK_TEMPLATE_PANEL_H
#include "kernels/packed.h"

enum { NV = EK_PANEL_ROWS / VL, VECTOR_BYTES = 4 * VL, HEAD_HALVES = 64 };

/* Half-precision number `array` (0 or 1) of the rows of vector v, from a block's head. */
EK_INLINE vf head_halves(const uint8_t *head, size_t array, size_t v)
{
    const void *p = head + (array * EK_PANEL_ROWS + v * VL) * sizeof(uint16_t);
    return v_load_f16(p);
}

/* The 6-bit scales and minima of four groups at a time, one group to a byte of each row's word. */
struct super_bytes {
    vi sd, sm;
};
EK_INLINE struct super_bytes super_half(const uint8_t *head, size_t v, int second)
{
    const uint8_t *p  = head + HEAD_HALVES + v * VECTOR_BYTES;
    const vi       s0 = i_load(p), s1 = i_load(p + 64), s2 = i_load(p + 128);
    if (!second)
        return (struct super_bytes){i_and(s0, i_set(0x3F3F3F3F)), i_and(s1, i_set(0x3F3F3F3F))};
    const vi low = i_set(0x0F0F0F0F), high = i_set(0x30303030);
    return (struct super_bytes){
        i_or(i_and(s2, low), i_and(i_srl(s0, 2), high)),
        i_or(i_and(i_srl(s2, 4), low), i_and(i_srl(s1, 2), high)),
    };
}
EK_INLINE vf low_byte(vi a)
{
    return i_to_float(i_and(a, i_set(255)));
}

/* Scale and minimum of group j of a block (0 <= j < 8), w = scale (code - zero) + minimum; sb is
 * advanced from group to group and must be kept between calls with rising j. */
EK_INLINE void group_scale(const struct ek_geometry *f, const uint8_t *head, size_t v, size_t j,
                           struct super_bytes *sb, vf *scale, vf *minimum)
{
    switch (f->kind) {
    case EK_FMT_SYM: *scale = head_halves(head, j, v); break;
    case EK_FMT_MIN:
        *scale   = head_halves(head, 0, v);
        *minimum = head_halves(head, 1, v);
        break;
    case EK_FMT_SUPER:
        if (j % 4 == 0) *sb = super_half(head, v, j == 4);
        *scale   = v_mul(head_halves(head, 0, v), low_byte(sb->sd));
        *minimum = v_mul(v_sub(v_set(0.0f), head_halves(head, 1, v)), low_byte(sb->sm));
        sb->sd = i_srl(sb->sd, 8), sb->sm = i_srl(sb->sm, 8);
        break;
    case EK_FMT_ROW:
    case EK_FMT_FLOAT: break;
    }
}

/* Stores the rows of a vector that lie in [begin, end); row is that of its first lane. */
EK_INLINE void store_rows(float *y, vf v, size_t row, size_t begin, size_t end)
{
    if (row >= begin && row + VL <= end) {
        v_store(y + row, v);
        return;
    }
    float lane[VL];
    v_store(lane, v);
    for (size_t i = 0; i < VL; i++)
        if (row + i >= begin && row + i < end) y[row + i] = lane[i];
}
#endif
