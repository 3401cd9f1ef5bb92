/* SPDX-License-Identifier: Apache-2.0 */
/* ops/tile.c - activations in the order in which gemm reads them (struct ek_gemm_args). */
#include "ek/kernels.h"

#include <string.h>

static size_t tiles_of(size_t m)
{
    return (m + EK_TILE - 1) / EK_TILE;
}

size_t ek_tile_f32_bytes(size_t kp, size_t m)
{
    return tiles_of(m) * EK_TILE * kp * sizeof(float);
}

size_t ek_tile_i8_bytes(size_t kp, size_t m)
{
    return tiles_of(m) * EK_TILE * kp;
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

void ek_tile_f32(const float *x, size_t ldx, size_t k, size_t kp, size_t m, size_t t0, size_t t1,
                 float *tiled)
{
    for (size_t kb = 0; kb < kp; kb += EK_GEMM_KB_F32) {
        const size_t width = min(EK_GEMM_KB_F32, kp - kb), used = kb < k ? min(width, k - kb) : 0;
        for (size_t t = t0; t < t1; t += EK_TILE) {
            float       *out    = tiled + kb * tiles_of(m) * EK_TILE + t * width;
            const size_t tokens = min(EK_TILE, m - t);
            if (tokens < EK_TILE || used < width) memset(out, 0, width * EK_TILE * sizeof *out);
            for (size_t c = 0; c < used; c++)
                for (size_t i = 0; i < tokens; i++)
                    out[c * EK_TILE + i] = x[(t + i) * ldx + kb + c];
        }
    }
}

/* [K block][tile][group][token]: where group g of a row lies. */
static size_t group_index(size_t kp, size_t group, size_t m, size_t t, size_t g)
{
    const size_t kb     = g * group / EK_GEMM_KB_I8 * EK_GEMM_KB_I8;
    const size_t groups = min(EK_GEMM_KB_I8, kp - kb) / group;
    return (kb / group * tiles_of(m) + t / EK_TILE * groups + g - kb / group) * EK_TILE;
}

/* NOLINTNEXTLINE(readability-function-size): sizes and strides one by one, as in BLAS */
void ek_tile_i8(const int8_t *q, const float *d, const int32_t *s, size_t kp, size_t group,
                unsigned zero, size_t m, size_t t0, size_t t1, int8_t *tiled, float *td,
                int32_t *ts)
{
    const int32_t factor = zero ? -(int32_t)zero : 1;
    for (size_t t = t0; t < t1; t += EK_TILE) {
        const size_t tokens = min(EK_TILE, m - t);
        for (size_t kb = 0; kb < kp; kb += EK_GEMM_KB_I8) {
            const size_t width = min(EK_GEMM_KB_I8, kp - kb);
            int8_t      *out   = tiled + kb * tiles_of(m) * EK_TILE + t * width;
            if (tokens < EK_TILE) memset(out, 0, width * EK_TILE);
            for (size_t c = 0; c < width; c += 4)
                for (size_t i = 0; i < tokens; i++)
                    memcpy(out + c * EK_TILE + 4 * i, q + (t + i) * kp + kb + c, 4);
        }
        for (size_t g = 0; g < kp / group; g++) {
            const size_t at = group_index(kp, group, m, t, g);
            for (size_t i = 0; i < EK_TILE; i++) {
                td[at + i] = i < tokens ? d[(t + i) * (kp / group) + g] : 0;
                ts[at + i] = i < tokens ? factor * s[(t + i) * (kp / group) + g] : 0;
            }
        }
    }
}
