/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/simd.h - the vector vocabulary of kernels/template, eight f32 lanes. */
#ifndef EK_AVX2_SIMD_H
#define EK_AVX2_SIMD_H
#include "kernels/contract.h"

#include <immintrin.h>

enum { VL = 8, REGISTERS = 16 };
typedef __m256  vf;
typedef __m256i vi;

EK_INLINE vi i_iota(void)
{
    return _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
}
EK_INLINE vf v_set(float x)
{
    return _mm256_set1_ps(x);
}
EK_INLINE vf v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
EK_INLINE vf v_load_n(const float *p, size_t n) /* lanes past n are zero and not read */
{
    float lane[8] = {0}; /* vmaskmovps reads past n in emulators, and is slow to store on AMD */
    memcpy(lane, p, n * sizeof *p);
    return _mm256_loadu_ps(lane);
}
EK_INLINE void v_store(float *p, vf v)
{
    _mm256_storeu_ps(p, v);
}
EK_INLINE void v_store_n(float *p, vf v, size_t n)
{
    float lane[8];
    _mm256_storeu_ps(lane, v);
    memcpy(p, lane, n * sizeof *p);
}
EK_INLINE vf swap_middle(vf a) /* quarters 0 2 1 3 */
{
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(a), 0xD8));
}
EK_INLINE void v_load2(const float *p, vf *even, vf *odd) /* 2 VL numbers, dealt in turn */
{
    const vf a = _mm256_loadu_ps(p), b = _mm256_loadu_ps(p + 8);
    *even = swap_middle(_mm256_shuffle_ps(a, b, 0x88));
    *odd  = swap_middle(_mm256_shuffle_ps(a, b, 0xDD));
}
EK_INLINE void v_store2(float *p, vf even, vf odd)
{
    const vf a = _mm256_unpacklo_ps(even, odd), b = _mm256_unpackhi_ps(even, odd);
    _mm256_storeu_ps(p, _mm256_permute2f128_ps(a, b, 0x20));
    _mm256_storeu_ps(p + 8, _mm256_permute2f128_ps(a, b, 0x31));
}

EK_INLINE vf v_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
EK_INLINE vf v_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
EK_INLINE vf v_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
EK_INLINE vf v_div(vf a, vf b)
{
    return _mm256_div_ps(a, b);
}
EK_INLINE vf v_fma(vf a, vf b, vf c) /* a b + c */
{
    return _mm256_fmadd_ps(a, b, c);
}
EK_INLINE vf v_fnma(vf a, vf b, vf c) /* c - a b */
{
    return _mm256_fnmadd_ps(a, b, c);
}
EK_INLINE vf v_max(vf a, vf b) /* b where either is NaN */
{
    return _mm256_max_ps(a, b);
}
EK_INLINE vf v_min(vf a, vf b) /* b where either is NaN */
{
    return _mm256_min_ps(a, b);
}
EK_INLINE vf sign_mask(void)
{
    return _mm256_set1_ps(-0.0f);
}
EK_INLINE vf v_abs(vf a)
{
    return _mm256_andnot_ps(sign_mask(), a);
}
EK_INLINE vf v_copysign(vf magnitude, vf sign)
{
    return _mm256_or_ps(_mm256_and_ps(sign_mask(), sign), v_abs(magnitude));
}
EK_INLINE vf v_round(vf a) /* to nearest even */
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
EK_INLINE vf power_of_2(vi n) /* 2^n, n in [-126, 127] */
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}
EK_INLINE vf v_scale(vf a, vf n) /* a 2^n, n integral in [-200, 200]: in two steps */
{
    const vi i = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(i, 1);
    return v_mul(v_mul(a, power_of_2(half)), power_of_2(_mm256_sub_epi32(i, half)));
}
EK_INLINE __m128 fold(vf a)
{
    return _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
}
EK_INLINE float v_hsum(vf a)
{
    __m128 s = fold(a);
    s        = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
EK_INLINE float v_hmax(vf a)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    s        = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
EK_INLINE unsigned v_gt(vf a, vf b) /* one bit per lane: a > b, false for NaN */
{
    return (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
EK_INLINE vf v_where_gt(vf a, vf b, vf yes, vf no) /* a > b ? yes : no */
{
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}

EK_INLINE vi i_set(int x)
{
    return _mm256_set1_epi32(x);
}
EK_INLINE vi i_load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}
EK_INLINE vi i_and(vi a, vi b)
{
    return _mm256_and_si256(a, b);
}
EK_INLINE vi i_xor(vi a, vi b)
{
    return _mm256_xor_si256(a, b);
}
EK_INLINE vi i_or(vi a, vi b)
{
    return _mm256_or_si256(a, b);
}
#define i_srl(a, n) _mm256_srli_epi32(a, n)
#define i_sra(a, n) _mm256_srai_epi32(a, n)
#define i_sll(a, n) _mm256_slli_epi32(a, n)
EK_INLINE vi i_add(vi a, vi b)
{
    return _mm256_add_epi32(a, b);
}
EK_INLINE vi i_sub(vi a, vi b)
{
    return _mm256_sub_epi32(a, b);
}
EK_INLINE vi i_min_u(vi a, vi b) /* of unsigned numbers */
{
    return _mm256_min_epu32(a, b);
}
EK_INLINE unsigned i_within(vi a, vi lo, vi hi) /* one bit per lane: lo <= a <= hi, signed */
{
    const vi out = _mm256_or_si256(_mm256_cmpgt_epi32(lo, a), _mm256_cmpgt_epi32(a, hi));
    return (unsigned)_mm256_movemask_ps(_mm256_castsi256_ps(out)) ^ 0xFFu;
}
EK_INLINE vi i_max(vi a, vi b)
{
    return _mm256_max_epi32(a, b);
}
EK_INLINE vi i_where_gt(vf a, vf b, vi yes, vi no)
{
    return _mm256_blendv_epi8(no, yes, _mm256_castps_si256(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
}
EK_INLINE void i_store(int32_t *p, vi v)
{
    _mm256_storeu_si256((__m256i *)(void *)p, v);
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
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s         = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}
EK_INLINE int i_hmax(vi a)
{
    __m128i s = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    s         = _mm_max_epi32(s, _mm_shuffle_epi32(s, 0x4E));
    return _mm_cvtsi128_si32(_mm_max_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}
EK_INLINE vi v_bits(vf a) /* a's own bits as an integer */
{
    return _mm256_castps_si256(a);
}
EK_INLINE vi v_abs_bits(vf a) /* |a| as an integer: orders like |a|, infinity and NaN on top */
{
    return _mm256_castps_si256(v_abs(a));
}
EK_INLINE vi v_to_int(vf a) /* to nearest even */
{
    return _mm256_cvtps_epi32(a);
}
EK_INLINE vf i_to_float(vi a)
{
    return _mm256_cvtepi32_ps(a);
}
EK_INLINE void i_store_i8(int8_t *p, vi a) /* VL lanes in [-128, 127] */
{
    const __m128i w = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packs_epi16(w, w));
}

EK_INLINE void i_store_u8(uint8_t *p, vi a) /* VL lanes in [0, 255] */
{
    const __m128i w = _mm_packs_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packus_epi16(w, w));
}

EK_INLINE vf v_load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
EK_INLINE vf bf16_to_float(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}
EK_INLINE vf v_load_bf16(const uint16_t *p)
{
    return bf16_to_float(_mm_loadu_si128((const __m128i *)(const void *)p));
}
EK_INLINE __m128i load_u16_n(const uint16_t *p, size_t n)
{
    uint16_t t[VL] = {0};
    memcpy(t, p, n * sizeof *t);
    return _mm_loadu_si128((const __m128i *)(const void *)t);
}
EK_INLINE vf v_load_f16_n(const uint16_t *p, size_t n)
{
    return _mm256_cvtph_ps(load_u16_n(p, n));
}
EK_INLINE vf v_load_bf16_n(const uint16_t *p, size_t n)
{
    return bf16_to_float(load_u16_n(p, n));
}

EK_INLINE void v_store_f16(uint16_t *p, vf a) /* to nearest even */
{
    _mm_storeu_si128((__m128i *)(void *)p,
                     _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

/* Columns become rows: r[i] lane j <-> r[j] lane i. */
EK_INLINE void v_transpose(vf r[VL])
{
    vf t[VL];
    EK_UNROLL
    for (int i = 0; i < VL; i += 4) { /* 4 x 4 blocks inside each half */
        const vf a = _mm256_unpacklo_ps(r[i], r[i + 1]), b = _mm256_unpackhi_ps(r[i], r[i + 1]);
        const vf c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]);
        const vf d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i]       = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1]   = _mm256_shuffle_ps(a, c, 0xEE);
        t[i + 2]   = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3]   = _mm256_shuffle_ps(b, d, 0xEE);
    }
    EK_UNROLL
    for (int i = 0; i < 4; i++) { /* then the halves */
        r[i]     = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}

/* The same value, unknown to the compiler. */
EK_INLINE vf v_opaque(vf a)
{
    __asm__("" : "+x"(a));
    return a;
}
EK_INLINE vi i_opaque(vi a)
{
    __asm__("" : "+x"(a));
    return a;
}

/* Past the caches; p is aligned to a vector. Before other threads read it: stores_done. */
EK_INLINE void i_store_past(void *p, vi a)
{
    _mm256_stream_si256((__m256i *)p, a);
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
