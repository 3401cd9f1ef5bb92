/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_linear.c - ek_linear against dequantised weights in double, and what it refuses. */
#include "ek/linear.h"
#include "tests/driver.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct ek_kernels table;

static void select_kernels(void)
{
    cr_assert_eq(ek_kernels_default(&table), EK_OK);
}
TestSuite(linear, .init = select_kernels);

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    cr_assert_not_null(p);
    return p;
}

struct problem {
    struct ek_weights w;
    float            *dense, *x, *y; /* [n][k], [m][k + 3], [m][n + 2] */
    size_t            m;
    void             *data;
};

static struct problem make_problem(enum ek_fmt fmt, size_t n, size_t k, size_t m)
{
    struct problem p = {.w = {fmt, ek_fmt_info(fmt)->layout, n, k, NULL}, .m = m};
    size_t         bytes;
    uint64_t       seed = 11;
    cr_assert_eq(ek_weights_bytes(fmt, n, k, &bytes, NULL), EK_OK);
    p.dense = malloc(n * k * sizeof *p.dense), p.data = aligned(bytes), p.w.data = p.data;
    p.x = malloc(m * (k + 3) * sizeof *p.x), p.y = malloc(m * (n + 2) * sizeof *p.y);
    for (size_t i = 0; i < n * k; i++) p.dense[i] = ek_randf(&seed) * 0.1f;
    for (size_t i = 0; i < m * (k + 3); i++) p.x[i] = ek_randf(&seed);
    cr_assert_eq(ek_weights_quantize(fmt, p.dense, n, k, p.data, bytes), EK_OK);
    cr_assert_eq(ek_weights_dequantize(&p.w, 0, n, p.dense), EK_OK);
    return p;
}
static void drop_problem(struct problem *p)
{
    free(p->data), free(p->dense), free(p->x), free(p->y);
}

static ek_status run(const struct problem *p, const struct ek_linear_options *o)
{
    size_t bytes;
    cr_assert_eq(ek_linear_work_bytes(&p->w, p->m, NULL, o, &bytes), EK_OK);
    void           *work = aligned(bytes);
    const ek_status s =
        ek_linear(&table, NULL, &p->w, p->x, p->w.k + 3, p->m, p->y, p->w.n + 2, o, work, bytes);
    free(work);
    return s;
}

/* Largest error over the outputs, relative to sum |w||x|. */
static double worst_error(const struct problem *p)
{
    double worst = 0;
    for (size_t t = 0; t < p->m; t++)
        for (size_t r = 0; r < p->w.n; r++) {
            double sum = 0, mag = 0;
            for (size_t c = 0; c < p->w.k; c++) {
                const double v =
                    (double)p->dense[r * p->w.k + c] * (double)p->x[t * (p->w.k + 3) + c];
                sum += v, mag += fabs(v);
            }
            worst = fmax(worst, fabs((double)p->y[t * (p->w.n + 2) + r] - sum) / (mag + 1e-30));
        }
    return worst;
}

/* Every format, both kinds of activations, gemv and gemm, sizes off every tile. */
Test(linear, agrees_with_double)
{
    static const size_t tokens[] = {1, 3, 8, 9, 14, 521};
    for (int i = 0; i < EK_FMT_i8; i++)
        for (size_t j = 0; j < sizeof tokens / sizeof *tokens; j++)
            for (int act = EK_ACTIVATION_I8; act <= EK_ACTIVATION_F32; act++)
                for (int per_token = 0; per_token < 2; per_token++) {
                    const struct ek_linear_options o = {sizeof o, (enum ek_activation)act,
                                                        per_token};
                    struct problem p = make_problem((enum ek_fmt)i, 37, 172, tokens[j]);
                    cr_assert_eq(run(&p, &o), EK_OK);
                    const double e     = worst_error(&p),
                                 bound = act == EK_ACTIVATION_F32 ? 2e-6 : 0.01;
                    cr_assert(e <= bound, "%s m=%zu act=%d per_token=%d: %g",
                              ek_fmt_info(p.w.fmt)->name, p.m, act, per_token, e);
                    drop_problem(&p);
                }
}

/* Prefill and decode agree: the same rounding of activations, sums in another order. */
Test(linear, gemm_agrees_with_gemv)
{
    for (int i = 0; i < EK_FMT_i8; i++) {
        struct problem p = make_problem((enum ek_fmt)i, 50, 320, 13);
        cr_assert_eq(run(&p, NULL), EK_OK);
        struct problem one = p;
        for (one.m = 1; one.x < p.x + p.m * (p.w.k + 3); one.x += p.w.k + 3, p.y += p.w.n + 2) {
            float y[52];
            one.y = y;
            cr_assert_eq(run(&one, NULL), EK_OK);
            for (size_t r = 0; r < p.w.n; r++)
                cr_assert_float_eq(y[r], p.y[r], 1e-5f, "%s", ek_fmt_info(p.w.fmt)->name);
        }
        p.y -= p.m * (p.w.n + 2);
        drop_problem(&p);
    }
}

Test(linear, streams_change_no_bit)
{
    for (int i = 0; i < EK_FMT_i8; i++)
        for (size_t m = 1; m <= 8; m++) {
            struct problem p     = make_problem((enum ek_fmt)i, 70, 288, m);
            const size_t   bytes = (m - 1) * (p.w.n + 2) * sizeof *p.y + p.w.n * sizeof *p.y;
            float         *kept  = malloc(bytes);
            memset(p.y, 0, bytes);
            table.streams = 0;
            cr_assert_eq(run(&p, NULL), EK_OK);
            memcpy(kept, p.y, bytes);
            table.streams = 1;
            cr_assert_eq(run(&p, NULL), EK_OK);
            cr_assert(!memcmp(kept, p.y, bytes), "%s m=%zu", ek_fmt_info(p.w.fmt)->name, m);
            free(kept);
            drop_problem(&p);
        }
}

Test(linear, a_row_has_the_bits_it_has_alone)
{
    for (int i = 0; i < EK_FMT_i8; i++)
        for (size_t m = 2; m <= 8; m++) {
            struct problem p = make_problem((enum ek_fmt)i, 70, 288, m), one = p;
            float          y[72];
            cr_assert_eq(run(&p, NULL), EK_OK);
            one.m = 1, one.y = y;
            for (size_t t = 0; t < m; t++, one.x += p.w.k + 3) {
                cr_assert_eq(run(&one, NULL), EK_OK);
                cr_assert(!memcmp(y, p.y + t * (p.w.n + 2), p.w.n * sizeof *y), "%s m=%zu t=%zu",
                          ek_fmt_info(p.w.fmt)->name, m, t);
            }
            drop_problem(&p);
        }
}

Test(linear, nan_and_infinity_reach_their_token_only)
{
    for (int i = 0; i < EK_FMT_i8; i++) {
        struct problem p       = make_problem((enum ek_fmt)i, 20, 64, 3);
        p.x[1 * (64 + 3)]      = NAN;
        p.x[2 * (64 + 3) + 40] = INFINITY;
        cr_assert_eq(run(&p, NULL), EK_OK);
        for (size_t r = 0; r < 20; r++) {
            cr_assert(isfinite(p.y[r]));
            cr_assert(isnan(p.y[22 + r]));
            cr_assert(!isfinite(p.y[44 + r]));
        }
        drop_problem(&p);
    }
}

/* Columns past n of y, and y as a whole on every error, stay as they were. */
Test(linear, leaves_the_rest_alone)
{
    struct problem p = make_problem(EK_FMT_q4g32, 37, 64, 2);
    for (size_t i = 0; i < p.m * (p.w.n + 2); i++) p.y[i] = 7.0f;
    cr_assert_eq(run(&p, NULL), EK_OK);
    for (size_t t = 0; t < p.m; t++)
        for (size_t c = p.w.n; c < p.w.n + 2; c++) cr_assert_eq(p.y[t * (p.w.n + 2) + c], 7.0f);
    drop_problem(&p);
}

static void expect(const struct problem *p, ek_status want, const struct ek_kernels *t,
                   const struct ek_weights *w, const float *x, size_t ldx, size_t m, float *y,
                   size_t ldy, const struct ek_linear_options *o, void *work, size_t bytes)
{
    for (size_t i = 0; i < p->m * (p->w.n + 2); i++) p->y[i] = 7.0f;
    const ek_status got = ek_linear(t, NULL, w, x, ldx, m, y, ldy, o, work, bytes);
    cr_assert_eq(got, want, "got %s", ek_status_text(got));
    for (size_t i = 0; i < p->m * (p->w.n + 2); i++) cr_assert_eq(p->y[i], 7.0f);
}

Test(linear, refuses)
{
    struct problem    p = make_problem(EK_FMT_q4g32, 37, 64, 2);
    struct ek_weights w = p.w;
    size_t            bytes, x = 67, y = 39;
    cr_assert_eq(ek_linear_work_bytes(&w, p.m, NULL, NULL, &bytes), EK_OK);
    char *work = aligned(bytes + 64);

    expect(&p, EK_E_ARG, NULL, &w, p.x, x, 2, p.y, y, NULL, work, bytes);
    expect(&p, EK_E_ARG, &table, NULL, p.x, x, 2, p.y, y, NULL, work, bytes);
    expect(&p, EK_E_ARG, &table, &w, NULL, x, 2, p.y, y, NULL, work, bytes);
    expect(&p, EK_E_ARG, &table, &w, p.x, x, 2, NULL, y, NULL, work, bytes);
    expect(&p, EK_E_ARG, &table, &w, p.x, x, 0, p.y, y, NULL, work, bytes);
    expect(&p, EK_E_ARG, &table, &w, p.x, 63, 2, p.y, y, NULL, work, bytes);
    expect(&p, EK_E_ARG, &table, &w, p.x, x, 2, p.y, 36, NULL, work, bytes);
    expect(&p, EK_E_ARG, &table, &w, p.x, x, 2, p.y, y, NULL, NULL, bytes);
    expect(&p, EK_E_ARG, &table, &w, p.x, x, 2, p.y, y, NULL, work + 4, bytes);
    expect(&p, EK_E_NOMEM, &table, &w, p.x, x, 2, p.y, y, NULL, work, bytes - 1);
    const struct ek_linear_options small = {.struct_size = 4};
    expect(&p, EK_E_ARG, &table, &w, p.x, x, 2, p.y, y, &small, work, bytes);
    const struct ek_linear_options odd = {sizeof odd, (enum ek_activation)9, 0};
    expect(&p, EK_E_ARG, &table, &w, p.x, x, 2, p.y, y, &odd, work, bytes);
    w.layout = EK_LAYOUT_ROWS;
    expect(&p, EK_E_FORMAT, &table, &w, p.x, x, 2, p.y, y, NULL, work, bytes);
    w = p.w, w.data = (char *)p.data + 16;
    expect(&p, EK_E_ARG, &table, &w, p.x, x, 2, p.y, y, NULL, work, bytes);
    w = p.w, w.n = 0;
    expect(&p, EK_E_ARG, &table, &w, p.x, x, 2, p.y, y, NULL, work, bytes);
    w = p.w, w.k = SIZE_MAX / 2;
    expect(&p, EK_E_OVERFLOW, &table, &w, p.x, SIZE_MAX, 2, p.y, y, NULL, work, bytes);
    w = p.w, w.fmt = EK_FMT_COUNT;
    expect(&p, EK_E_ARG, &table, &w, p.x, x, 2, p.y, y, NULL, work, bytes);
    struct ek_kernels empty = {.struct_size = sizeof empty};
    expect(&p, EK_E_UNSUPPORTED, &empty, &p.w, p.x, x, 2, p.y, y, NULL, work, bytes);
    struct ek_kernels other = table;
    other.struct_size--;
    expect(&p, EK_E_ARG, &other, &p.w, p.x, x, 2, p.y, y, NULL, work, bytes);
    free(work), drop_problem(&p);
}
