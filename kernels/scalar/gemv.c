/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/scalar/gemv.c - reference: weights as they are defined, sums in double. */
#include "kernels/scalar/packed.h"

#define GEMV_ROWS(fmt)                                                                             \
    void EK_KERNEL_SYM(gemv, fmt, scalar, )(const struct ek_gemv_args *a, size_t begin,            \
                                            size_t end)                                            \
    {                                                                                              \
        for (size_t t = 0; t < a->m; t++)                                                          \
            for (size_t r = begin; r < end; r++) {                                                 \
                double sum = 0;                                                                    \
                for (size_t c = 0; c < a->k; c++)                                                  \
                    sum += load_##fmt(a->w, r * a->k + c) * (double)a->x[t * a->ldx + c];          \
                a->y[t * a->ldy + r] = (float)sum;                                                 \
            }                                                                                      \
    }
GEMV_ROWS(f32)
GEMV_ROWS(f16)
GEMV_ROWS(bf16)

static void gemv_packed(const struct ek_geometry *f, const struct ek_gemv_args *a, size_t begin,
                        size_t end)
{
    for (size_t t = 0; t < a->m; t++)
        for (size_t r = begin; r < end; r++) {
            const float *x   = a->x + t * a->ldx;
            double       sum = 0;
            for (size_t c = 0; c < a->k; c += f->group) {
                const struct scalar_group g = scalar_group_at(f, a->w, a->k, r, c);
                for (size_t i = 0; i < f->group; i++)
                    sum += (g.scale * scalar_code(f, &g, i) + g.minimum) * (double)x[c + i];
            }
            a->y[t * a->ldy + r] = (float)sum;
        }
}

static void gemv_i8_packed(const struct ek_geometry *f, const struct ek_gemv_i8_args *a,
                           size_t begin, size_t end)
{
    const size_t groups = a->k / f->group;
    for (size_t t = 0; t < a->m; t++)
        for (size_t r = begin; r < end; r++) {
            double sum = 0;
            for (size_t j = 0; j < groups; j++) {
                const struct scalar_group g   = scalar_group_at(f, a->w, a->k, r, j * f->group);
                const int8_t             *x   = a->xq + t * a->k + j * f->group;
                int32_t                   dot = 0, total = 0;
                for (size_t i = 0; i < f->group; i++)
                    dot += scalar_code(f, &g, i) * x[i], total += x[i];
                const double d = (double)a->xd[t * groups + j];
                sum += d * (g.scale * dot + g.minimum * total);
            }
            a->y[t * a->ldy + r] = (float)sum;
        }
}

#define GEMV_PACKED(fmt)                                                                           \
    void EK_KERNEL_SYM(gemv, fmt, scalar, )(const struct ek_gemv_args *a, size_t begin,            \
                                            size_t end)                                            \
    {                                                                                              \
        gemv_packed(&ek_geometry_##fmt, a, begin, end);                                            \
    }                                                                                              \
    void EK_KERNEL_SYM(gemv_i8, fmt, scalar, )(const struct ek_gemv_i8_args *a, size_t begin,      \
                                               size_t end)                                         \
    {                                                                                              \
        gemv_i8_packed(&ek_geometry_##fmt, a, begin, end);                                         \
    }
GEMV_PACKED(q8g32)
GEMV_PACKED(q4g32)
GEMV_PACKED(q4g64)
GEMV_PACKED(q4g128)
GEMV_PACKED(q4g32m)
GEMV_PACKED(q4k)
