/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/half.h - 16-bit floats in plain C, for code that cannot assume F16C. */
#ifndef EK_HALF_H
#define EK_HALF_H
#include <stdint.h>
#include <string.h>

static inline uint32_t ek_bits_of(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
static inline float ek_float_of(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static inline float ek_half_load(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, e = h >> 10 & 31, m = h & 0x3FF;
    if (e == 31) return ek_float_of(sign | 0x7F800000 | m << 13);
    if (e) return ek_float_of(sign | (e + 112) << 23 | m << 13);
    return ek_float_of(sign | ek_bits_of((float)m * 0x1p-24f));
}
static inline uint16_t ek_half_round(float x)
{
    const uint32_t u = ek_bits_of(x), sign = u >> 16 & 0x8000, a = u & 0x7FFFFFFF;
    if (a > 0x7F800000) return (uint16_t)(sign | 0x7E00 | (a >> 13 & 0x3FF)); /* NaN */
    if (a >= 0x477FF000) return (uint16_t)(sign | 0x7C00); /* rounds to 65520 or more: infinity */
    if (a >= 0x38800000) return (uint16_t)(sign | (a - 0x38000000 + 0xFFF + (a >> 13 & 1)) >> 13);
    /* Subnormal: adding 0.5 leaves the half's bits, rounded to nearest even, in the mantissa. */
    return (uint16_t)(sign | (ek_bits_of(ek_float_of(a) + 0.5f) - 0x3F000000));
}

static inline float ek_bfloat_load(uint16_t h)
{
    return ek_float_of((uint32_t)h << 16);
}
static inline uint16_t ek_bfloat_round(float x)
{
    const uint32_t u = ek_bits_of(x);
    if ((u & 0x7FFFFFFF) > 0x7F800000) return (uint16_t)(u >> 16 | 0x40);
    return (uint16_t)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
}
#endif
