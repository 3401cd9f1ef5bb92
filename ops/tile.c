/* SPDX-License-Identifier: Apache-2.0 */
/* ops/tile.c - activations in the order in which gemm reads them (struct ek_gemm_args). */
#include "ek/kernels.h"
#include "ops/work.h"

#include <string.h>

static size_t tokens_of(size_t tile, size_t m) /* whole tiles of them */
{
    return (m + tile - 1) / tile * tile;
}

size_t ek_tile_f32_bytes(size_t kp, size_t m)
{
    return tokens_of(EK_TILE, m) * kp * sizeof(float);
}

size_t ek_tile_i8_bytes(size_t tile, size_t kp, size_t m)
{
    return tokens_of(tile, m) * kp;
}

void ek_tile_f32(const float *x, size_t ldx, size_t k, size_t kp, size_t m, size_t t0, size_t t1,
                 float *tiled)
{
    for (size_t kb = 0; kb < kp; kb += EK_GEMM_KB_F32) {
        const size_t width = ek_min(EK_GEMM_KB_F32, kp - kb),
                     used  = kb < k ? ek_min(width, k - kb) : 0;
        for (size_t t = t0; t < t1; t += EK_TILE) {
            float       *out    = tiled + kb * tokens_of(EK_TILE, m) + t * width;
            const size_t tokens = ek_min(EK_TILE, m - t);
            if (tokens < EK_TILE || used < width) memset(out, 0, width * EK_TILE * sizeof *out);
            for (size_t c = 0; c < used; c++)
                for (size_t i = 0; i < tokens; i++)
                    out[c * EK_TILE + i] = x[(t + i) * ldx + kb + c];
        }
    }
}

/* Rows of q, tokens of one tile, as [column / run][token][run]. */
static void tile_columns(const int8_t *q, size_t ldq, size_t width, size_t run, size_t tile,
                         size_t tokens, int8_t *out)
{
    if (tokens < tile) memset(out, 0, width * tile);
    for (size_t c = 0; c < width; c += run)
        for (size_t i = 0; i < tokens; i++) memcpy(out + c * tile + i * run, q + i * ldq + c, run);
}

/* NOLINTNEXTLINE(readability-function-size): sizes and strides one by one, as in BLAS */
void ek_tile_i8(size_t tile, const int8_t *q, const float *d, const int32_t *s, size_t kp,
                size_t group, unsigned zero, size_t m, size_t t0, size_t t1, int8_t *tiled,
                float *td, int32_t *ts)
{
    const int32_t factor = zero ? -(int32_t)zero : 1;
    const size_t  all = tokens_of(tile, m), groups = kp / group;
    for (size_t t = t0; t < t1; t += tile) {
        const size_t tokens = ek_min(tile, m - t);
        for (size_t kb = 0; kb < kp; kb += EK_GEMM_KB_I8) {
            const size_t  width = ek_min(EK_GEMM_KB_I8, kp - kb), at = kb * all + t * width;
            const int8_t *from = q + t * kp + kb;
            if (tile == EK_TILE)
                tile_columns(from, kp, width, 4, EK_TILE, tokens, tiled + at);
            else if (group < 64)
                tile_columns(from, kp, width, 32, EK_TILE_AMX, tokens, tiled + at);
            else
                tile_columns(from, kp, width, 64, EK_TILE_AMX, tokens, tiled + at);
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
