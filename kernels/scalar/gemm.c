/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/scalar/gemm.c - reference: gemv's sums over tiled activations. Leaves scratch alone. */
#include "kernels/scalar/packed.h"

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Start of the tile of token t in the K block of column c, in elements; *width: its columns. */
static size_t tile_at(size_t block, size_t k, size_t m, size_t c, size_t t, size_t *width)
{
    const size_t kb = c / block * block, tiles = (m + EK_TILE - 1) / EK_TILE;
    *width = min(block, k - kb);
    return kb * tiles * EK_TILE + t / EK_TILE * EK_TILE * *width;
}
static double x_f32(const struct ek_gemm_args *a, size_t t, size_t c)
{
    size_t       width;
    const size_t at = tile_at(EK_GEMM_KB_F32, a->k, a->m, c, t, &width);
    return (double)a->x[at + c % EK_GEMM_KB_F32 * EK_TILE + t % EK_TILE];
}
static int x_i8(const struct ek_gemm_i8_args *a, size_t t, size_t c)
{
    size_t       width;
    const size_t at = tile_at(EK_GEMM_KB_I8, a->k, a->m, c, t, &width);
    return a->x[at + c % EK_GEMM_KB_I8 / 4 * 4 * EK_TILE + t % EK_TILE * 4 + c % 4];
}
/* Index of (token t, group of column c) in td and ts. */
static size_t group_at(const struct ek_gemm_i8_args *a, size_t group, size_t t, size_t c)
{
    size_t       width;
    const size_t at = tile_at(EK_GEMM_KB_I8, a->k, a->m, c, t, &width) / group;
    return at + c % EK_GEMM_KB_I8 / group * EK_TILE + t % EK_TILE;
}

#define GEMM_ROWS(fmt)                                                                             \
    void EK_KERNEL_SYM(gemm, fmt, scalar, )(const struct ek_gemm_args *a, size_t begin,            \
                                            size_t end)                                            \
    {                                                                                              \
        for (size_t t = 0; t < a->m; t++)                                                          \
            for (size_t r = begin; r < end; r++) {                                                 \
                double sum = 0;                                                                    \
                for (size_t c = 0; c < a->k; c++)                                                  \
                    sum += load_##fmt(a->w, r * a->k + c) * x_f32(a, t, c);                        \
                a->y[t * a->ldy + r] = (float)sum;                                                 \
            }                                                                                      \
    }
GEMM_ROWS(f32)
GEMM_ROWS(f16)
GEMM_ROWS(bf16)

static void gemm_packed(const struct ek_geometry *f, const struct ek_gemm_args *a, size_t begin,
                        size_t end)
{
    for (size_t t = 0; t < a->m; t++)
        for (size_t r = begin; r < end; r++) {
            double sum = 0;
            for (size_t c = 0; c < a->k; c += f->group) {
                const struct scalar_group g = scalar_group_at(f, a->w, a->k, r, c);
                for (size_t i = 0; i < f->group; i++)
                    sum += (g.scale * scalar_code(f, &g, i) + g.minimum) * x_f32(a, t, c + i);
            }
            a->y[t * a->ldy + r] = (float)sum;
        }
}

static void gemm_i8_packed(const struct ek_geometry *f, const struct ek_gemm_i8_args *a,
                           size_t begin, size_t end)
{
    for (size_t t = 0; t < a->m; t++)
        for (size_t r = begin; r < end; r++) {
            double sum = 0;
            for (size_t c = 0; c < a->k; c += f->group) {
                const struct scalar_group g   = scalar_group_at(f, a->w, a->k, r, c);
                int32_t                   dot = 0, total = 0;
                for (size_t i = 0; i < f->group; i++) {
                    const int x = x_i8(a, t, c + i);
                    dot += scalar_code(f, &g, i) * x, total += x;
                }
                const double d = (double)a->xd[group_at(a, f->group, t, a->per_token ? 0 : c)];
                sum += d * (g.scale * dot + g.minimum * total);
            }
            a->y[t * a->ldy + r] = (float)sum;
        }
}

#define GEMM_PACKED(fmt)                                                                           \
    void EK_KERNEL_SYM(gemm, fmt, scalar, )(const struct ek_gemm_args *a, size_t begin,            \
                                            size_t end)                                            \
    {                                                                                              \
        gemm_packed(&ek_geometry_##fmt, a, begin, end);                                            \
    }                                                                                              \
    void EK_KERNEL_SYM(gemm_i8, fmt, scalar, )(const struct ek_gemm_i8_args *a, size_t begin,      \
                                               size_t end)                                         \
    {                                                                                              \
        gemm_i8_packed(&ek_geometry_##fmt, a, begin, end);                                         \
    }
GEMM_PACKED(q8g32)
GEMM_PACKED(q4g32)
GEMM_PACKED(q4g64)
GEMM_PACKED(q4g128)
GEMM_PACKED(q4g32m)
GEMM_PACKED(q4k)
