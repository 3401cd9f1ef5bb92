/* SPDX-License-Identifier: Apache-2.0 */
/* ops/tile.c - activations in the order in which gemm reads them (struct ek_gemm_args). */
#include "ek/kernels.h"

#include <string.h>

static size_t tokens_of(size_t tile, size_t m) /* whole tiles of them */
{
    return (m + tile - 1) / tile * tile;
}

size_t ek_tile_f32_bytes(size_t kp, size_t m)
{
    return tokens_of(EK_TILE, m) * kp * sizeof(float);
}

/* Bytes of an activation: two, bf16, for AMX kernels of formats with groups of 32. */
static size_t bytes_of(size_t tile, size_t group)
{
    return tile == EK_TILE_AMX && group == 32 ? 2 : 1;
}

size_t ek_tile_i8_bytes(size_t tile, size_t group, size_t kp, size_t m)
{
    return tokens_of(tile, m) * kp * bytes_of(tile, group);
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
            float       *out    = tiled + kb * tokens_of(EK_TILE, m) + t * width;
            const size_t tokens = min(EK_TILE, m - t);
            if (tokens < EK_TILE || used < width) memset(out, 0, width * EK_TILE * sizeof *out);
            for (size_t c = 0; c < used; c++)
                for (size_t i = 0; i < tokens; i++)
                    out[c * EK_TILE + i] = x[(t + i) * ldx + kb + c];
        }
    }
}

/* Rows of q, tokens of one tile, as [column / run][token][run]. */
static void tile_bytes(const int8_t *q, size_t ldq, size_t width, size_t run, size_t tile,
                       size_t tokens, int8_t *out)
{
    if (tokens < tile) memset(out, 0, width * tile);
    for (size_t c = 0; c < width; c += run)
        for (size_t i = 0; i < tokens; i++) memcpy(out + c * tile + i * run, q + i * ldq + c, run);
}

/* The same as bf16, the upper half of f32: [column / 32][token][32] of EK_TILE_AMX tokens. */
static void tile_bf16(const int8_t *q, size_t ldq, size_t width, size_t tokens, int8_t *out)
{
    enum { RUN = 32 };
    if (tokens < EK_TILE_AMX) memset(out, 0, 2 * width * EK_TILE_AMX);
    for (size_t c = 0; c < width; c += RUN)
        for (size_t i = 0; i < tokens; i++) {
            float    value[RUN];
            uint32_t bits[RUN];
            uint16_t upper[RUN];
            for (size_t j = 0; j < RUN; j++) value[j] = q[i * ldq + c + j];
            memcpy(bits, value, sizeof bits);
            for (size_t j = 0; j < RUN; j++) upper[j] = (uint16_t)(bits[j] >> 16);
            memcpy(out + 2 * (c * EK_TILE_AMX + i * RUN), upper, sizeof upper);
        }
}

/* NOLINTNEXTLINE(readability-function-size): sizes and strides one by one, as in BLAS */
void ek_tile_i8(size_t tile, const int8_t *q, const float *d, const int32_t *s, size_t kp,
                size_t group, unsigned zero, size_t m, size_t t0, size_t t1, int8_t *tiled,
                float *td, int32_t *ts)
{
    const int32_t factor = zero ? -(int32_t)zero : 1;
    const size_t  all = tokens_of(tile, m), groups = kp / group;
    for (size_t t = t0; t < t1; t += tile) {
        const size_t tokens = min(tile, m - t);
        for (size_t kb = 0; kb < kp; kb += EK_GEMM_KB_I8) {
            const size_t  width = min(EK_GEMM_KB_I8, kp - kb), at = kb * all + t * width;
            const int8_t *from = q + t * kp + kb;
            if (tile == EK_TILE)
                tile_bytes(from, kp, width, 4, EK_TILE, tokens, tiled + at);
            else if (bytes_of(tile, group) == 1)
                tile_bytes(from, kp, width, 64, EK_TILE_AMX, tokens, tiled + at);
            else
                tile_bf16(from, kp, width, tokens, tiled + 2 * at);
            for (size_t g = 0; g < width / group; g++)
                for (size_t i = 0; i < tile; i++) {
                    const size_t cell = (t + i) * groups + kb / group + g;
                    const size_t to   = at / group + g * tile + i;
                    td[to]            = i < tokens ? d[cell] : 0;
                    ts[to]            = i < tokens ? factor * s[cell] : 0;
                }
        }
    }
}
