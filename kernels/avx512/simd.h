/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/simd.h - the vector vocabulary of kernels/template, sixteen f32 lanes. */
#ifndef EK_AVX512_SIMD_H
#define EK_AVX512_SIMD_H
#include "kernels/contract.h"

#include <immintrin.h>

enum { VL = 16, REGISTERS = 32 };
typedef __m512  vf;
typedef __m512i vi;

EK_INLINE __mmask16 lanes(size_t n) /* the first n lanes, n in 0..16 */
{
    return (__mmask16)((1u << n) - 1);
}
EK_INLINE vf v_set(float x)
{
    return _mm512_set1_ps(x);
}
EK_INLINE vf v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
EK_INLINE vf v_load_n(const float *p, size_t n) /* lanes past n are zero and not read */
{
    return _mm512_maskz_loadu_ps(lanes(n), p);
}
EK_INLINE void v_store(float *p, vf v)
{
    _mm512_storeu_ps(p, v);
}
EK_INLINE void v_store_n(float *p, vf v, size_t n)
{
    _mm512_mask_storeu_ps(p, lanes(n), v);
}
EK_INLINE void v_load2(const float *p, vf *even, vf *odd) /* 2 VL numbers, dealt in turn */
{
    const vi e = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const vf a = _mm512_loadu_ps(p), b = _mm512_loadu_ps(p + 16);
    *even = _mm512_permutex2var_ps(a, e, b);
    *odd  = _mm512_permutex2var_ps(a, _mm512_add_epi32(e, _mm512_set1_epi32(1)), b);
}
EK_INLINE void v_store2(float *p, vf even, vf odd)
{
    const vi lo = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    _mm512_storeu_ps(p, _mm512_permutex2var_ps(even, lo, odd));
    _mm512_storeu_ps(p + 16,
                     _mm512_permutex2var_ps(even, _mm512_add_epi32(lo, _mm512_set1_epi32(8)), odd));
}

EK_INLINE vf v_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
EK_INLINE vf v_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
EK_INLINE vf v_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
EK_INLINE vf v_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}
EK_INLINE vf v_fma(vf a, vf b, vf c) /* a b + c */
{
    return _mm512_fmadd_ps(a, b, c);
}
EK_INLINE vf v_fnma(vf a, vf b, vf c) /* c - a b */
{
    return _mm512_fnmadd_ps(a, b, c);
}
EK_INLINE vf v_max(vf a, vf b) /* b where either is NaN */
{
    return _mm512_max_ps(a, b);
}
EK_INLINE vf v_min(vf a, vf b) /* b where either is NaN */
{
    return _mm512_min_ps(a, b);
}
EK_INLINE vf v_abs(vf a)
{
    return _mm512_abs_ps(a);
}
EK_INLINE vf v_copysign(vf magnitude, vf sign)
{
    const vi m = _mm512_set1_epi32((int)0x80000000);
    return _mm512_castsi512_ps(_mm512_ternarylogic_epi32(m, _mm512_castps_si512(sign),
                                                         _mm512_castps_si512(magnitude), 0xCA));
}
EK_INLINE vf v_round(vf a) /* to nearest even */
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
EK_INLINE vf v_scale(vf a, vf n) /* a 2^n, n integral in [-200, 200] */
{
    return _mm512_scalef_ps(a, n);
}
EK_INLINE float v_hsum(vf a)
{
    return _mm512_reduce_add_ps(a);
}
EK_INLINE float v_hmax(vf a)
{
    return _mm512_reduce_max_ps(a);
}
EK_INLINE unsigned v_gt(vf a, vf b) /* one bit per lane: a > b, false for NaN */
{
    return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}
EK_INLINE vf v_where_gt(vf a, vf b, vf yes, vf no) /* a > b ? yes : no */
{
    return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), yes);
}

EK_INLINE vi i_set(int x)
{
    return _mm512_set1_epi32(x);
}
EK_INLINE vi i_load(const void *p)
{
    return _mm512_loadu_si512(p);
}
EK_INLINE vi i_and(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}
EK_INLINE vi i_xor(vi a, vi b)
{
    return _mm512_xor_si512(a, b);
}
EK_INLINE vi i_or(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}
#define i_srl(a, n) _mm512_srli_epi32(a, n)
#define i_sra(a, n) _mm512_srai_epi32(a, n)
#define i_sll(a, n) _mm512_slli_epi32(a, n)
EK_INLINE vi i_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}
EK_INLINE vi i_sub(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}
EK_INLINE vi i_min_u(vi a, vi b) /* of unsigned numbers */
{
    return _mm512_min_epu32(a, b);
}
EK_INLINE unsigned i_within(vi a, vi lo, vi hi) /* one bit per lane: lo <= a <= hi, signed */
{
    return _mm512_mask_cmple_epi32_mask(_mm512_cmple_epi32_mask(lo, a), a, hi);
}
EK_INLINE vi i_max(vi a, vi b)
{
    return _mm512_max_epi32(a, b);
}
EK_INLINE vi i_iota(void)
{
    return _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}
EK_INLINE vi i_where_gt(vf a, vf b, vi yes, vi no)
{
    return _mm512_mask_mov_epi32(no, _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), yes);
}
EK_INLINE void i_store(int32_t *p, vi v)
{
    _mm512_storeu_si512(p, v);
}
/* The lanes whose bit is set, side by side at p; up to VL are written. Returns how many are
 * meant. */
EK_INLINE size_t i_pack(int32_t *p, vi a, unsigned bits)
{
    i_store(p, _mm512_maskz_compress_epi32((__mmask16)bits, a));
    return (size_t)__builtin_popcount(bits);
}
EK_INLINE int i_hsum(vi a) /* modulo 2^32, which _mm512_reduce_add_epi32 is not in C */
{
    __m256i h = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
    s         = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}
EK_INLINE int i_hmax(vi a)
{
    return _mm512_reduce_max_epi32(a);
}
EK_INLINE vi v_bits(vf a) /* a's own bits as an integer */
{
    return _mm512_castps_si512(a);
}
EK_INLINE vi v_abs_bits(vf a) /* |a| as an integer: orders like |a|, infinity and NaN on top */
{
    return _mm512_castps_si512(_mm512_abs_ps(a));
}
EK_INLINE vi v_to_int(vf a) /* to nearest even */
{
    return _mm512_cvtps_epi32(a);
}
EK_INLINE vf i_to_float(vi a)
{
    return _mm512_cvtepi32_ps(a);
}
EK_INLINE void i_store_i8(int8_t *p, vi a) /* VL lanes in [-128, 127] */
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(a));
}

EK_INLINE void i_store_u8(uint8_t *p, vi a) /* VL lanes in [0, 255] */
{
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(a));
}

EK_INLINE vf v_load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
EK_INLINE vf v_load_f16_n(const uint16_t *p, size_t n)
{
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes(n), p));
}
EK_INLINE vf v_load_bf16(const uint16_t *p)
{
    const __m256i h = _mm256_loadu_si256((const __m256i *)(const void *)p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}
EK_INLINE vf v_load_bf16_n(const uint16_t *p, size_t n)
{
    const __m256i h = _mm256_maskz_loadu_epi16(lanes(n), p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

EK_INLINE void v_store_f16(uint16_t *p, vf a) /* to nearest even */
{
    _mm256_storeu_si256((__m256i *)(void *)p,
                        _mm512_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* Columns become rows: r[i] lane j <-> r[j] lane i. */
EK_INLINE void v_transpose(vf r[VL])
{
    vf t[VL];
    EK_UNROLL
    for (int i = 0; i < VL; i += 4) { /* 4 x 4 blocks inside each 128-bit quarter */
        const vf a = _mm512_unpacklo_ps(r[i], r[i + 1]), b = _mm512_unpackhi_ps(r[i], r[i + 1]);
        const vf c = _mm512_unpacklo_ps(r[i + 2], r[i + 3]);
        const vf d = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i]       = _mm512_shuffle_ps(a, c, 0x44);
        t[i + 1]   = _mm512_shuffle_ps(a, c, 0xEE);
        t[i + 2]   = _mm512_shuffle_ps(b, d, 0x44);
        t[i + 3]   = _mm512_shuffle_ps(b, d, 0xEE);
    }
    EK_UNROLL
    for (int i = 0; i < 4; i++) { /* then the quarters */
        const vf a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88);
        const vf b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xDD);
        const vf c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
        const vf d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xDD);
        r[i]       = _mm512_shuffle_f32x4(a, c, 0x88);
        r[i + 4]   = _mm512_shuffle_f32x4(b, d, 0x88);
        r[i + 8]   = _mm512_shuffle_f32x4(a, c, 0xDD);
        r[i + 12]  = _mm512_shuffle_f32x4(b, d, 0xDD);
    }
}

/* The same value, unknown to the compiler. */
EK_INLINE vf v_opaque(vf a)
{
    __asm__("" : "+v"(a));
    return a;
}
EK_INLINE vi i_opaque(vi a)
{
    __asm__("" : "+v"(a));
    return a;
}

/* Past the caches; p is aligned to a vector. Before other threads read it: stores_done. */
EK_INLINE void i_store_past(void *p, vi a)
{
    _mm512_stream_si512((__m512i *)p, a);
}
EK_INLINE void stores_done(void)
{
    _mm_sfence();
}

EK_INLINE void prefetch(const void *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T0);
}
EK_INLINE void prefetch_far(const void *p) /* into the second level of cache */
{
    _mm_prefetch((const char *)p, _MM_HINT_T1);
}
#endif
