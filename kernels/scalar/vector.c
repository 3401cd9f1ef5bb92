/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/scalar/vector.c - reference for the vector kernels: formulas in double. */
#include "kernels/contract.h"
#include "kernels/scalar/math.h"

#include <math.h>

void EK_KERNEL_SYM(quantize, f32, scalar, )(const struct ek_quantize_args *a, size_t begin,
                                            size_t end)
{
    const size_t groups = a->kp / a->group;
    for (size_t r = begin; r < end; r++) {
        const float *x = a->x + r * a->ldx;
        for (size_t g = 0; g < groups; g++) {
            const size_t c0 = g * a->group, c1 = c0 + a->group;
            /* columns whose largest magnitude sets the scale */
            const size_t m0 = a->per_token ? 0 : c0, m1 = a->per_token || c1 > a->k ? a->k : c1;
            float        amax   = 0;
            int          finite = 1;
            for (size_t c = m0; c < m1; c++) {
                finite &= isfinite(x[c]) != 0;
                if (fabsf(x[c]) > amax) amax = fabsf(x[c]);
            }
            const int   live = finite && amax >= 0x1p-100f;
            const float inv  = live ? 127.0f / amax : 0.0f;
            int32_t     sum  = 0;
            for (size_t c = c0; c < c1; c++) {
                const int q         = live && c < a->k ? (int)rintf(x[c] * inv) : 0;
                a->q[r * a->kp + c] = (int8_t)q;
                sum += q;
            }
            a->d[r * groups + g] = !finite ? NAN : live ? amax / 127.0f : 0.0f;
            a->s[r * groups + g] = sum;
        }
    }
}

void EK_KERNEL_SYM(rmsnorm, f32, scalar, )(const struct ek_rmsnorm_args *a, size_t begin,
                                           size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const float *x  = a->x + r * a->cols;
        float       *y  = a->y + r * a->cols;
        double       ss = 0;
        for (size_t c = 0; c < a->cols; c++) ss += (double)x[c] * (double)x[c];
        const double k = 1 / sqrt(ss / (double)a->cols + (double)a->eps);
        for (size_t c = 0; c < a->cols; c++)
            y[c] = (float)((double)x[c] * k * (a->g ? (double)a->g[c] : 1.0));
    }
}

void EK_KERNEL_SYM(layernorm, f32, scalar, )(const struct ek_layernorm_args *a, size_t begin,
                                             size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const float *x    = a->x + r * a->cols;
        float       *y    = a->y + r * a->cols;
        double       mean = 0, var = 0;
        for (size_t c = 0; c < a->cols; c++) mean += (double)x[c];
        mean /= (double)a->cols;
        for (size_t c = 0; c < a->cols; c++) var += ((double)x[c] - mean) * ((double)x[c] - mean);
        const double k = 1 / sqrt(var / (double)a->cols + (double)a->eps);
        for (size_t c = 0; c < a->cols; c++)
            y[c] = (float)(((double)x[c] - mean) * k * (a->g ? (double)a->g[c] : 1.0) +
                           (a->b ? (double)a->b[c] : 0.0));
    }
}

void EK_KERNEL_SYM(moments, f32, scalar, )(const struct ek_moments_args *a, size_t begin,
                                           size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const float *x   = a->x + r * a->ldx;
        double       sum = 0, squares = 0;
        for (size_t c = 0; c < a->cols; c++) sum += (double)x[c];
        const double mean = sum / (double)a->cols;
        for (size_t c = 0; c < a->cols; c++)
            squares += ((double)x[c] - mean) * ((double)x[c] - mean);
        a->moments[2 * r]     = (float)mean;
        a->moments[2 * r + 1] = (float)sqrt(squares / (double)a->cols);
    }
}

void EK_KERNEL_SYM(act, f32, scalar, )(const struct ek_act_args *a, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        const double f = scalar_activation(a->kind, (double)a->x[i]);
        a->y[i]        = (float)(a->u ? f * (double)a->u[i] : f);
    }
}

void EK_KERNEL_SYM(softmax, f32, scalar, )(const struct ek_softmax_args *a, size_t begin,
                                           size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const float *x   = a->x + r * a->cols;
        float       *y   = a->y + r * a->cols;
        const double s   = (double)a->scale;
        double       max = -(double)INFINITY, sum = 0;
        for (size_t c = 0; c < a->cols; c++) max = (double)x[c] > max ? (double)x[c] : max;
        for (size_t c = 0; c < a->cols; c++) sum += exp(s * ((double)x[c] - max));
        for (size_t c = 0; c < a->cols; c++) y[c] = (float)(exp(s * ((double)x[c] - max)) / sum);
    }
}

void EK_KERNEL_SYM(add, f32, scalar, )(const struct ek_add_args *a, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) a->y[i] = a->a[i] + a->b[i];
}

void EK_KERNEL_SYM(rope, f32, scalar, )(const struct ek_rope_args *a, size_t begin, size_t end)
{
    const size_t half = a->rot / 2;
    for (size_t r = begin; r < end; r++) {
        const size_t p = (size_t)a->pos[r / a->heads] * half;
        const float *x = a->x + r * a->dim;
        float       *y = a->y + r * a->dim;
        for (size_t i = 0; i < half; i++) {
            const size_t ia = a->interleaved ? 2 * i : i,
                         ib = a->interleaved ? 2 * i + 1 : i + half;
            const double c = (double)a->cos[p + i], s = (double)a->sin[p + i];
            const double va = (double)x[ia], vb = (double)x[ib];
            y[ia] = (float)(va * c - vb * s);
            y[ib] = (float)(vb * c + va * s);
        }
        for (size_t i = a->rot; i < a->dim; i++) y[i] = x[i];
    }
}

void EK_KERNEL_SYM(argmax, f32, scalar, )(const struct ek_argmax_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const float *x    = a->x + r * a->cols;
        size_t       best = 0;
        for (size_t c = 1; c < a->cols; c++)
            if (x[c] > x[best] || (isnan(x[best]) && !isnan(x[c]))) best = c;
        a->index[r] = (uint32_t)best;
        if (a->value) a->value[r] = x[best];
    }
}

/* Insertion into a sorted list: k is small beside cols. */
void EK_KERNEL_SYM(topk, f32, scalar, )(const struct ek_topk_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const float *x     = a->x + r * a->cols;
        uint32_t    *index = a->index + r * a->k;
        float       *value = a->value + r * a->k;
        size_t       have  = 0;
        for (size_t c = 0; c < a->cols; c++) {
            if (have == a->k && !(x[c] > value[have - 1])) continue;
            size_t at = have < a->k ? have++ : have - 1;
            for (; at && x[c] > value[at - 1]; at--)
                value[at] = value[at - 1], index[at] = index[at - 1];
            value[at] = x[c], index[at] = (uint32_t)c;
        }
    }
}
