/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_formats.c - sizes, rounding, packing: exact round trips, bounds, refusals. */
#include "ek/formats.h"
#include "tests/driver.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    cr_assert_not_null(p);
    return p;
}

static size_t bytes_of(enum ek_fmt fmt, size_t n, size_t k)
{
    size_t bytes = 0;
    cr_assert_eq(ek_weights_bytes(fmt, n, k, &bytes, NULL), EK_OK);
    return bytes;
}

Test(formats, names_and_ids_are_pinned)
{
    static const char *const names[] = {"f32",   "f16",    "bf16",   "q8g32", "q4g32",
                                        "q4g64", "q4g128", "q4g32m", "q4k",   "i8"};
    cr_assert_eq(EK_FMT_COUNT, 10);
    for (int i = 0; i < EK_FMT_COUNT; i++) {
        enum ek_fmt fmt = EK_FMT_COUNT;
        cr_assert_str_eq(ek_fmt_info((enum ek_fmt)i)->name, names[i]);
        cr_assert_eq(ek_fmt_from_name(names[i], &fmt), EK_OK);
        cr_assert_eq((int)fmt, i);
    }
    enum ek_fmt fmt = EK_FMT_q4k;
    cr_assert_eq(ek_fmt_from_name("q5k", &fmt), EK_E_ARG);
    cr_assert_eq(fmt, EK_FMT_q4k);
    cr_assert_null(ek_fmt_info(EK_FMT_COUNT));
}

/* Bits per weight at whole panels and blocks: the price of the scales and nothing else. */
Test(formats, sizes)
{
    cr_assert_eq(bytes_of(EK_FMT_q8g32, 16, 256), 16 * 256 * 34 / 32);
    cr_assert_eq(bytes_of(EK_FMT_q4g32, 16, 256), 16 * 256 * 18 / 32);
    cr_assert_eq(bytes_of(EK_FMT_q4g64, 16, 256), 16 * 256 * 34 / 64);
    cr_assert_eq(bytes_of(EK_FMT_q4g128, 16, 256), 16 * 256 * 66 / 128);
    cr_assert_eq(bytes_of(EK_FMT_q4g32m, 16, 256), 16 * 256 * 20 / 32);
    cr_assert_eq(bytes_of(EK_FMT_q4k, 16, 256), 16 * 144);
    cr_assert_eq(bytes_of(EK_FMT_q4g128, 16, 896), 4 * 64 + 16 * 896 / 2); /* 7 groups: no 8th */
    cr_assert_eq(bytes_of(EK_FMT_bf16, 3, 5), 30);
    cr_assert_eq(ek_padded_k(EK_FMT_q4g32, 33), 64);
    cr_assert_eq(ek_padded_k(EK_FMT_q4k, 33), 256);
    cr_assert_eq(ek_padded_k(EK_FMT_f16, 33), 33);
}

Test(formats, sizes_refuse)
{
    size_t bytes = 7;
    cr_assert_eq(ek_weights_bytes(EK_FMT_q4k, 0, 1, &bytes, NULL), EK_E_ARG);
    cr_assert_eq(ek_weights_bytes(EK_FMT_COUNT, 1, 1, &bytes, NULL), EK_E_ARG);
    cr_assert_eq(ek_weights_bytes(EK_FMT_q4k, 1, 1, NULL, NULL), EK_E_ARG);
    cr_assert_eq(ek_weights_bytes(EK_FMT_f32, SIZE_MAX / 2, 4096, &bytes, NULL), EK_E_OVERFLOW);
    cr_assert_eq(ek_weights_bytes(EK_FMT_q4k, 1, SIZE_MAX, &bytes, NULL), EK_E_OVERFLOW);
    cr_assert_eq(bytes, 7);
}

Test(formats, halves_round_to_nearest_even)
{
    cr_assert_eq(ek_f16_from_f32(1.0f), 0x3C00);
    cr_assert_eq(ek_f16_from_f32(65504.0f), 0x7BFF);
    cr_assert_eq(ek_f16_from_f32(65519.9f), 0x7BFF);
    cr_assert_eq(ek_f16_from_f32(65520.0f), 0x7C00);
    cr_assert_eq(ek_f16_from_f32(-0x1p-24f), 0x8001);
    cr_assert_eq(ek_f16_from_f32(0x1p-25f), 0x0000); /* a tie goes to even */
    cr_assert_eq(ek_f16_from_f32(0x1.8p-24f), 0x0002);
    cr_assert(isnan(ek_f32_from_f16(ek_f16_from_f32(NAN))));
    cr_assert(isnan(ek_f32_from_bf16(ek_bf16_from_f32(NAN))));
    cr_assert_eq(ek_bf16_from_f32(0x1.01p0f), 0x3F80); /* ties */
    cr_assert_eq(ek_bf16_from_f32(0x1.03p0f), 0x3F82);
    for (uint32_t h = 0; h < 0x10000; h++) {
        const float f = ek_f32_from_f16((uint16_t)h), b = ek_f32_from_bf16((uint16_t)h);
        if (!isnan(f)) cr_assert_eq(ek_f16_from_f32(f), h);
        if (!isnan(b)) cr_assert_eq(ek_bf16_from_f32(b), h);
    }
}

struct arrays {
    struct ek_codes c;
    size_t          q, d, m, s; /* bytes of each; s of sd and sm */
};

static struct arrays make_arrays(enum ek_fmt fmt, size_t n, size_t k, uint64_t seed)
{
    const struct ek_fmt_info *f  = ek_fmt_info(fmt);
    const size_t              kp = ek_padded_k(fmt, k), groups = n * kp / f->group;
    const size_t              halves = f->kind == EK_FMT_SUPER ? n * kp / f->block : groups;
    struct arrays a = {.q = n * kp, .d = 2 * halves, .m = f->kind == EK_FMT_SYM ? 0 : 2 * halves};
    if (f->kind == EK_FMT_SUPER) a.s = groups;
    a.c.q = malloc(a.q), a.c.d = malloc(a.d);
    a.c.m  = a.m ? malloc(a.m) : NULL;
    a.c.sd = a.s ? malloc(a.s) : NULL, a.c.sm = a.s ? malloc(a.s) : NULL;
    for (size_t i = 0; i < a.q; i++) a.c.q[i] = (uint8_t)(ek_rand(&seed) & ((1u << f->bits) - 1));
    for (size_t i = 0; i < halves; i++) a.c.d[i] = (uint16_t)ek_rand(&seed);
    for (size_t i = 0; i < a.m / 2; i++) a.c.m[i] = (uint16_t)ek_rand(&seed);
    for (size_t i = 0; i < a.s; i++)
        a.c.sd[i] = (uint8_t)(ek_rand(&seed) & 63), a.c.sm[i] = (uint8_t)(ek_rand(&seed) & 63);
    return a;
}
static void drop_arrays(struct arrays *a)
{
    free(a->c.q), free(a->c.d), free(a->c.m), free(a->c.sd), free(a->c.sm);
}

Test(formats, pack_unpack_is_exact)
{
    static const size_t sizes[][2] = {{1, 1}, {16, 32}, {17, 64}, {5, 100}, {33, 300}, {48, 896}};
    for (int i = EK_FMT_q8g32; i < EK_FMT_i8; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            const enum ek_fmt fmt = (enum ek_fmt)i;
            const size_t      n = sizes[j][0], k = sizes[j][1], bytes = bytes_of(fmt, n, k);
            struct arrays     in = make_arrays(fmt, n, k, j + 1), out = make_arrays(fmt, n, k, 99);
            uint8_t          *w = aligned(bytes + 64);
            memset(w, 0xCC, bytes + 64);
            cr_assert_eq(ek_weights_pack(fmt, &in.c, n, k, w, bytes), EK_OK);
            for (size_t b = 0; b < 64; b++) cr_assert_eq(w[bytes + b], 0xCC, "wrote past the end");
            const struct ek_weights m = {fmt, EK_LAYOUT_PANEL16, n, k, w};
            cr_assert_eq(ek_weights_unpack(&m, &out.c), EK_OK);
            cr_assert(!memcmp(in.c.q, out.c.q, in.q) && !memcmp(in.c.d, out.c.d, in.d));
            cr_assert(!in.m || !memcmp(in.c.m, out.c.m, in.m));
            cr_assert(!in.s ||
                      (!memcmp(in.c.sd, out.c.sd, in.s) && !memcmp(in.c.sm, out.c.sm, in.s)));
            /* and the other way round: packing what was unpacked gives the same bytes */
            uint8_t *again = aligned(bytes);
            cr_assert_eq(ek_weights_pack(fmt, &out.c, n, k, again, bytes), EK_OK);
            cr_assert(!memcmp(w, again, bytes));
            free(w), free(again), drop_arrays(&in), drop_arrays(&out);
        }
}

/* Half a step of the group's grid, and the rounding of the scale to half precision. */
static double step_of(enum ek_fmt fmt, const float *row, size_t k, size_t c)
{
    const struct ek_fmt_info *f = ek_fmt_info(fmt);
    const size_t              b = f->kind == EK_FMT_SUPER ? 256 : f->group, c0 = c / b * b;
    double                    lo = 0, hi = 0;
    for (size_t i = c0; i < c0 + b && i < k; i++) {
        lo = fmin(lo, (double)row[i]);
        hi = fmax(hi, (double)row[i]);
    }
    const double amax = fmax(hi, -lo);
    if (f->kind == EK_FMT_SYM) return amax / (f->bits == 8 ? 127 : 8) * 1.01 + amax * 0x1p-10;
    return (hi - lo) / 15 * (f->kind == EK_FMT_SUPER ? 1.5 : 1.01) + amax * 0x1p-9;
}

Test(formats, quantize_is_within_a_step)
{
    enum { N = 19, K = 333 };
    static float w[N * K], back[N * K];
    uint64_t     seed = 3;
    for (size_t i = 0; i < N * K; i++) w[i] = ek_randf(&seed) * (i % 50 ? 1.0f : 4.0f);
    for (size_t i = 0; i < 32; i++) w[i] = 0; /* a group of zeros */
    for (int i = 0; i < EK_FMT_i8; i++) {
        const enum ek_fmt fmt   = (enum ek_fmt)i;
        const size_t      bytes = bytes_of(fmt, N, K);
        void             *p     = aligned(bytes);
        cr_assert_eq(ek_weights_quantize(fmt, w, N, K, p, bytes), EK_OK);
        const struct ek_weights m = {fmt, ek_fmt_info(fmt)->layout, N, K, p};
        cr_assert_eq(ek_weights_dequantize(&m, 0, N, back), EK_OK);
        for (size_t j = 0; j < N * K; j++) {
            const double e     = fabs((double)back[j] - (double)w[j]);
            const double bound = fmt == EK_FMT_f32    ? 0
                                 : fmt == EK_FMT_f16  ? fabs((double)w[j]) * 0x1p-11 + 0x1p-25
                                 : fmt == EK_FMT_bf16 ? fabs((double)w[j]) * 0x1p-8
                                                      : step_of(fmt, w + j / K * K, K, j % K);
            cr_assert(e <= bound, "%s element %zu: %g is %g, step %g", ek_fmt_info(fmt)->name, j,
                      (double)w[j], (double)back[j], bound);
        }
        free(p);
    }
}

Test(formats, quantize_refuses)
{
    float w[32] = {1};
    void *p     = aligned(4096);
    cr_assert_eq(ek_weights_quantize(EK_FMT_q4g32, w, 1, 32, p, 10), EK_E_NOMEM);
    cr_assert_eq(ek_weights_quantize(EK_FMT_q4g32, NULL, 1, 32, p, 4096), EK_E_ARG);
    cr_assert_eq(ek_weights_quantize(EK_FMT_q4g32, w, 1, 32, (char *)p + 32, 4000), EK_E_ARG);
    w[3] = NAN;
    cr_assert_eq(ek_weights_quantize(EK_FMT_q4g32, w, 1, 32, p, 4096), EK_E_FORMAT);
    cr_assert_eq(ek_weights_quantize(EK_FMT_f32, w, 1, 32, p, 4096), EK_E_FORMAT);
    w[3] = 1e9f; /* its scale does not fit half precision */
    cr_assert_eq(ek_weights_quantize(EK_FMT_q4g32, w, 1, 32, p, 4096), EK_E_FORMAT);
    cr_assert_eq(ek_weights_quantize(EK_FMT_f16, w, 1, 32, p, 4096), EK_E_FORMAT);
    cr_assert_eq(ek_weights_quantize(EK_FMT_bf16, w, 1, 32, p, 4096), EK_OK);
    free(p);
}

Test(formats, pack_refuses)
{
    struct arrays a = make_arrays(EK_FMT_q4k, 1, 256, 1);
    void         *p = aligned(4096);
    cr_assert_eq(ek_weights_pack(EK_FMT_f32, &a.c, 1, 256, p, 4096), EK_E_ARG);
    struct ek_codes part = a.c;
    part.sm              = NULL;
    cr_assert_eq(ek_weights_pack(EK_FMT_q4k, &part, 1, 256, p, 4096), EK_E_ARG);
    cr_assert_eq(ek_weights_pack(EK_FMT_q4k, &a.c, 1, 256, p, 2303), EK_E_NOMEM);
    a.c.q[5] = 16;
    cr_assert_eq(ek_weights_pack(EK_FMT_q4k, &a.c, 1, 256, p, 4096), EK_E_FORMAT);
    a.c.q[5] = 0, a.c.sd[2] = 64;
    cr_assert_eq(ek_weights_pack(EK_FMT_q4k, &a.c, 1, 256, p, 4096), EK_E_FORMAT);
    a.c.sd[2] = 0;
    cr_assert_eq(ek_weights_pack(EK_FMT_q4k, &a.c, 1, 256, p, 4096), EK_OK);
    const struct ek_weights other = {EK_FMT_q4k, EK_LAYOUT_ROWS, 1, 256, p};
    float                   row[256];
    cr_assert_eq(ek_weights_dequantize(&other, 0, 1, row), EK_E_FORMAT);
    cr_assert_eq(ek_weights_unpack(&other, &a.c), EK_E_FORMAT);
    free(p), drop_arrays(&a);
}
