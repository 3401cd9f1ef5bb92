/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/simd.h - the vector vocabulary of kernels/template, four f32 lanes. */
#ifndef EK_NEON_SIMD_H
#define EK_NEON_SIMD_H
#include "kernels/contract.h"

#include <arm_neon.h>

enum { VL = 4, REGISTERS = 32 };
typedef float32x4_t vf;
typedef int32x4_t   vi;

EK_INLINE vf v_set(float x)
{
    return vdupq_n_f32(x);
}
EK_INLINE vf v_load(const float *p)
{
    return vld1q_f32(p);
}
EK_INLINE vf v_load_n(const float *p, size_t n) /* lanes past n are zero and not read */
{
    float t[VL] = {0};
    memcpy(t, p, n * sizeof *t);
    return vld1q_f32(t);
}
EK_INLINE void v_store(float *p, vf v)
{
    vst1q_f32(p, v);
}
EK_INLINE void v_store_n(float *p, vf v, size_t n)
{
    float t[VL];
    vst1q_f32(t, v);
    memcpy(p, t, n * sizeof *t);
}
EK_INLINE void v_load2(const float *p, vf *even, vf *odd) /* 2 VL numbers, dealt in turn */
{
    const float32x4x2_t t = vld2q_f32(p);
    *even = t.val[0], *odd = t.val[1];
}
EK_INLINE void v_store2(float *p, vf even, vf odd)
{
    const float32x4x2_t t = {{even, odd}};
    vst2q_f32(p, t);
}

EK_INLINE vf v_add(vf a, vf b)
{
    return vaddq_f32(a, b);
}
EK_INLINE vf v_sub(vf a, vf b)
{
    return vsubq_f32(a, b);
}
EK_INLINE vf v_mul(vf a, vf b)
{
    return vmulq_f32(a, b);
}
EK_INLINE vf v_div(vf a, vf b)
{
    return vdivq_f32(a, b);
}
EK_INLINE vf v_fma(vf a, vf b, vf c) /* a b + c */
{
    return vfmaq_f32(c, a, b);
}
EK_INLINE vf v_fnma(vf a, vf b, vf c) /* c - a b */
{
    return vfmsq_f32(c, a, b);
}
EK_INLINE vf v_max(vf a, vf b) /* NaN where b is NaN */
{
    return vmaxq_f32(a, b);
}
EK_INLINE vf v_min(vf a, vf b) /* NaN where b is NaN */
{
    return vminq_f32(a, b);
}
EK_INLINE vf v_abs(vf a)
{
    return vabsq_f32(a);
}
EK_INLINE vf v_copysign(vf magnitude, vf sign)
{
    return vbslq_f32(vdupq_n_u32(0x80000000), sign, magnitude);
}
EK_INLINE vf v_round(vf a) /* to nearest even */
{
    return vrndnq_f32(a);
}
EK_INLINE vf power_of_2(vi n) /* 2^n, n in [-126, 127] */
{
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
}
EK_INLINE vf v_scale(vf a, vf n) /* a 2^n, n integral in [-200, 200]: in two steps */
{
    const vi i = vcvtq_s32_f32(n), half = vshrq_n_s32(i, 1);
    return v_mul(v_mul(a, power_of_2(half)), power_of_2(vsubq_s32(i, half)));
}
EK_INLINE float v_hsum(vf a)
{
    return vaddvq_f32(a);
}
EK_INLINE float v_hmax(vf a)
{
    return vmaxvq_f32(a);
}
EK_INLINE unsigned lane_bits(uint32x4_t all_or_none) /* one bit per lane */
{
    static const uint32_t weight[VL] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(all_or_none, vld1q_u32(weight)));
}
EK_INLINE unsigned v_gt(vf a, vf b) /* one bit per lane: a > b, false for NaN */
{
    return lane_bits(vcgtq_f32(a, b));
}
EK_INLINE vf v_where_gt(vf a, vf b, vf yes, vf no) /* a > b ? yes : no */
{
    return vbslq_f32(vcgtq_f32(a, b), yes, no);
}

EK_INLINE vi i_set(int x)
{
    return vdupq_n_s32(x);
}
EK_INLINE vi i_load(const void *p)
{
    return vreinterpretq_s32_u8(vld1q_u8(p));
}
EK_INLINE vi i_and(vi a, vi b)
{
    return vandq_s32(a, b);
}
EK_INLINE vi i_xor(vi a, vi b)
{
    return veorq_s32(a, b);
}
EK_INLINE vi i_or(vi a, vi b)
{
    return vorrq_s32(a, b);
}
#define i_srl(a, n) vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a), n))
#define i_sra(a, n) vshrq_n_s32(a, n)
#define i_sll(a, n) vshlq_n_s32(a, n)
EK_INLINE vi i_add(vi a, vi b)
{
    return vaddq_s32(a, b);
}
EK_INLINE vi i_sub(vi a, vi b)
{
    return vsubq_s32(a, b);
}
EK_INLINE vi i_min_u(vi a, vi b) /* of unsigned numbers */
{
    return vreinterpretq_s32_u32(vminq_u32(vreinterpretq_u32_s32(a), vreinterpretq_u32_s32(b)));
}
EK_INLINE unsigned i_within(vi a, vi lo, vi hi) /* one bit per lane: lo <= a <= hi, signed */
{
    return lane_bits(vandq_u32(vcgeq_s32(a, lo), vcleq_s32(a, hi)));
}
EK_INLINE vi i_max(vi a, vi b)
{
    return vmaxq_s32(a, b);
}
EK_INLINE vi i_iota(void)
{
    static const int32_t iota[VL] = {0, 1, 2, 3};
    return vld1q_s32(iota);
}
EK_INLINE vi i_where_gt(vf a, vf b, vi yes, vi no)
{
    return vbslq_s32(vcgtq_f32(a, b), yes, no);
}
EK_INLINE void i_store(int32_t *p, vi v)
{
    vst1q_s32(p, v);
}
/* The lanes whose bit is set, side by side at p; up to VL are written. Returns how many are
 * meant. */
EK_INLINE size_t i_pack(int32_t *p, vi a, unsigned bits)
{
    int32_t lane[VL];
    size_t  n = 0;
    if (!bits) return 0;
    i_store(lane, a);
    for (; bits; bits &= bits - 1) p[n++] = lane[__builtin_ctz(bits)];
    return n;
}
EK_INLINE int i_hsum(vi a)
{
    return vaddvq_s32(a);
}
EK_INLINE int i_hmax(vi a)
{
    return vmaxvq_s32(a);
}
EK_INLINE vi v_bits(vf a) /* a's own bits as an integer */
{
    return vreinterpretq_s32_f32(a);
}
EK_INLINE vi v_abs_bits(vf a) /* |a| as an integer: orders like |a|, infinity and NaN on top */
{
    return vreinterpretq_s32_f32(vabsq_f32(a));
}
EK_INLINE vi v_to_int(vf a) /* to nearest even */
{
    return vcvtnq_s32_f32(a);
}
EK_INLINE vf i_to_float(vi a)
{
    return vcvtq_f32_s32(a);
}
EK_INLINE void i_store_i8(int8_t *p, vi a) /* VL lanes in [-128, 127] */
{
    const int16x4_t w = vmovn_s32(a);
    const int8x8_t  b = vmovn_s16(vcombine_s16(w, w));
    memcpy(p, &b, VL);
}

EK_INLINE void i_store_u8(uint8_t *p, vi a) /* VL lanes in [0, 255] */
{
    const uint16x4_t w = vmovn_u32(vreinterpretq_u32_s32(a));
    const uint8x8_t  b = vmovn_u16(vcombine_u16(w, w));
    memcpy(p, &b, VL);
}

EK_INLINE vf v_load_f16(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
EK_INLINE vf v_load_bf16(const uint16_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
}
EK_INLINE vf v_load_f16_n(const uint16_t *p, size_t n)
{
    uint16_t t[VL] = {0};
    memcpy(t, p, n * sizeof *t);
    return v_load_f16(t);
}
EK_INLINE vf v_load_bf16_n(const uint16_t *p, size_t n)
{
    uint16_t t[VL] = {0};
    memcpy(t, p, n * sizeof *t);
    return v_load_bf16(t);
}

EK_INLINE void v_store_f16(uint16_t *p, vf a) /* to nearest even */
{
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(a)));
}

/* Columns become rows: r[i] lane j <-> r[j] lane i. */
EK_INLINE void v_transpose(vf r[VL])
{
    const float32x4x2_t a = vtrnq_f32(r[0], r[1]), b = vtrnq_f32(r[2], r[3]);
    r[0] = vcombine_f32(vget_low_f32(a.val[0]), vget_low_f32(b.val[0]));
    r[1] = vcombine_f32(vget_low_f32(a.val[1]), vget_low_f32(b.val[1]));
    r[2] = vcombine_f32(vget_high_f32(a.val[0]), vget_high_f32(b.val[0]));
    r[3] = vcombine_f32(vget_high_f32(a.val[1]), vget_high_f32(b.val[1]));
}

/* The same value, unknown to the compiler. */
EK_INLINE vf v_opaque(vf a)
{
    __asm__("" : "+w"(a));
    return a;
}
EK_INLINE vi i_opaque(vi a)
{
    __asm__("" : "+w"(a));
    return a;
}

/* Past the caches elsewhere: here a store like any other. */
EK_INLINE void i_store_past(void *p, vi a)
{
    vst1q_u8(p, vreinterpretq_u8_s32(a));
}
EK_INLINE void stores_done(void) {}

EK_INLINE void prefetch(const void *p)
{
    __builtin_prefetch(p, 0, 3);
}
EK_INLINE void prefetch_far(const void *p) /* into the second level of cache */
{
    __builtin_prefetch(p, 0, 2);
}
#endif
