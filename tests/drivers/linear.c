/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/linear.c - weights, 8-bit activations and error bounds of the gemv and gemm
 * drivers. */
#include "tests/drivers/linear.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const linear_dims[] = {"n", "k", "m", NULL};

size_t linear_k(enum ek_fmt fmt, const struct ek_shape *s)
{
    return ek_padded_k(fmt, s->d[DIM_K]);
}

size_t linear_group(enum ek_fmt fmt)
{
    const size_t g = ek_fmt_info(fmt)->group;
    return g ? g : 32;
}

/* ---- weights ---- */

static uint16_t random_half(struct ek_case *c)
{
    switch (c->data) {
    case DATA_EXTREME: return ek_f16_from_f32(ek_rand(&c->rng) & 1 ? 4.0f : -4.0f);
    case DATA_ZERO: return 0;
    case DATA_TINY: return (uint16_t)(ek_rand(&c->rng) % 0x500); /* down to subnormal halves */
    case DATA_RANDOM:
    case DATA_OUTLIER:
    case DATA_KINDS: break;
    }
    return ek_f16_from_f32(ek_randf(&c->rng) * (ek_rand(&c->rng) % 50 ? 0.05f : 2.0f));
}

static uint8_t random_code(struct ek_case *c, unsigned max)
{
    if (c->data == DATA_EXTREME) return ek_rand(&c->rng) & 1 ? (uint8_t)max : 0;
    return (uint8_t)(ek_rand(&c->rng) % (max + 1));
}

static void fill_codes(struct ek_case *c, const struct ek_fmt_info *f, struct ek_codes *codes,
                       size_t k)
{
    const size_t n = c->s.d[DIM_N], groups = n * k / f->group;
    const size_t halves = f->kind == EK_FMT_SUPER ? n * k / f->block : groups;
    codes->q = ek_test_alloc(n * k, 1), codes->d = ek_test_alloc(halves, 2),
    codes->m  = ek_test_alloc(halves, 2);
    codes->sd = ek_test_alloc(groups, 1), codes->sm = ek_test_alloc(groups, 1);
    for (size_t i = 0; i < n * k; i++) codes->q[i] = random_code(c, (1u << f->bits) - 1);
    for (size_t i = 0; i < halves; i++) codes->d[i] = random_half(c), codes->m[i] = random_half(c);
    for (size_t i = 0; i < groups; i++)
        codes->sd[i] = random_code(c, 63), codes->sm[i] = random_code(c, 63);
}

static void code_magnitudes(const struct ek_fmt_info *f, const struct ek_codes *codes, size_t n,
                            size_t k, double *mag)
{
    for (size_t i = 0; i < n * k; i++) {
        const size_t g = i / f->group, h = f->kind == EK_FMT_SUPER ? i / f->block : g;
        double       d = (double)ek_f32_from_f16(codes->d[h]);
        double       m = f->kind == EK_FMT_SYM ? 0 : (double)ek_f32_from_f16(codes->m[h]);
        if (f->kind == EK_FMT_SUPER) d *= (double)codes->sd[g], m *= (double)codes->sm[g];
        mag[i] = fabs(d * ((double)codes->q[i] - (double)f->zero)) + fabs(m);
    }
}

static const void *packed_weights(struct ek_case *c, double *mag)
{
    const struct ek_fmt_info *f = ek_fmt_info(c->fmt);
    const size_t              n = c->s.d[DIM_N], k = linear_k(c->fmt, &c->s);
    struct ek_codes           codes;
    size_t                    bytes;
    fill_codes(c, f, &codes, k);
    if (mag) code_magnitudes(f, &codes, n, k, mag);
    if (ek_weights_bytes(c->fmt, n, k, &bytes, NULL)) exit(2);
    void *w = case_buffer(c, bytes, ROLE_IN);
    if (ek_weights_pack(c->fmt, &codes, n, k, w, bytes)) exit(2);
    free(codes.q), free(codes.d), free(codes.m), free(codes.sd), free(codes.sm);
    return w;
}

static const void *float_weights(struct ek_case *c, double *mag)
{
    const size_t count = c->s.d[DIM_N] * linear_k(c->fmt, &c->s);
    const size_t size  = ek_fmt_info(c->fmt)->bits / 8;
    void        *w     = case_buffer(c, count * size, ROLE_IN);
    for (size_t i = 0; i < count; i++) {
        const float    v = case_value(c, i);
        const uint16_t h = c->fmt == EK_FMT_f16 ? ek_f16_from_f32(v) : ek_bf16_from_f32(v);
        const float    r = c->fmt == EK_FMT_f32   ? v
                           : c->fmt == EK_FMT_f16 ? ek_f32_from_f16(h)
                                                  : ek_f32_from_bf16(h);
        if (c->fmt == EK_FMT_f32)
            memcpy((char *)w + i * size, &v, size);
        else
            memcpy((char *)w + i * size, &h, size);
        if (mag) mag[i] = fabs((double)r);
    }
    return w;
}

const void *linear_weights(struct ek_case *c, double **mag)
{
    *mag = NULL;
    if (c->stream) return c->stream;
    *mag = ek_test_alloc(c->s.d[DIM_N] * linear_k(c->fmt, &c->s), sizeof **mag);
    return ek_fmt_info(c->fmt)->kind == EK_FMT_FLOAT ? float_weights(c, *mag)
                                                     : packed_weights(c, *mag);
}

/* ---- activations ---- */

struct linear_x8 linear_activations8(struct ek_case *c, enum ek_role role)
{
    const size_t     k = linear_k(c->fmt, &c->s), m = c->s.d[DIM_M], g = linear_group(c->fmt);
    struct linear_x8 x = {.q = case_buffer(c, m * k, role),
                          .d = case_buffer(c, m * k / g * sizeof *x.d, role),
                          .s = case_buffer(c, m * k / g * sizeof *x.s, role)};
    memset(x.s, 0, m * k / g * sizeof *x.s);
    for (size_t i = 0; i < m * k; i++) {
        x.q[i] = c->data == DATA_EXTREME ? (int8_t)(ek_rand(&c->rng) & 1 ? 127 : -127)
                 : c->data == DATA_ZERO  ? 0
                                         : (int8_t)((int)(ek_rand(&c->rng) % 255) - 127);
        x.s[i / g] += x.q[i];
    }
    for (size_t i = 0; i < m * k / g; i++) x.d[i] = fabsf(case_value(c, i)) * 0.01f;
    return x;
}

void linear_bound(struct ek_case *c, const double *mag, const double *x)
{
    const size_t n = c->s.d[DIM_N], m = c->s.d[DIM_M], k = linear_k(c->fmt, &c->s);
    double      *tol = case_tolerance(c, m * n);
    if (!tol) return;
    for (size_t t = 0; t < m; t++)
        for (size_t r = 0; r < n; r++) {
            double sum = 0;
            for (size_t i = 0; i < k; i++) sum += mag[r * k + i] * fabs(x[t * k + i]);
            /* The second term: sums of denormals may be flushed, and f32 has a smallest number. */
            tol[t * n + r] =
                (double)FLT_EPSILON * (double)(k + 4) * sum + (double)(k + 4) * (double)FLT_MIN;
        }
}

/* ---- sizes ---- */

size_t linear_items(const struct ek_shape *s)
{
    return s->d[DIM_N];
}

double linear_ops(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt;
    return 2.0 * (double)s->d[DIM_N] * (double)s->d[DIM_K] * (double)s->d[DIM_M];
}

size_t linear_stream(enum ek_fmt fmt, const struct ek_shape *s)
{
    size_t bytes = 0;
    (void)ek_weights_bytes(fmt, s->d[DIM_N], s->d[DIM_K], &bytes, NULL);
    return bytes;
}

/* Weights once, activations in, results out. */
double linear_bytes(enum ek_fmt fmt, const struct ek_shape *s)
{
    return (double)linear_stream(fmt, s) +
           4.0 * (double)s->d[DIM_M] * (double)(s->d[DIM_N] + s->d[DIM_K]);
}
