/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_vector.c - arguments of the vector ops; the rotary tables against their formulas. */
#include "ek/vector.h"

#include <criterion/criterion.h>
#include <math.h>

static struct ek_kernels table;

static void select_kernels(void)
{
    cr_assert_eq(ek_kernels_default(&table), EK_OK);
}
TestSuite(vector, .init = select_kernels);

#define UNTOUCHED(y)                                                                               \
    for (size_t i_ = 0; i_ < 8; i_++) cr_assert_eq((y)[i_], 7)

Test(vector, refuse_and_leave_outputs_alone)
{
    const float x[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    float       y[8] = {7, 7, 7, 7, 7, 7, 7, 7};
    uint32_t    n[8] = {7, 7, 7, 7, 7, 7, 7, 7};
    cr_assert_eq(ek_rmsnorm(&table, NULL, NULL, NULL, y, 2, 4, 1e-5f), EK_E_ARG);
    cr_assert_eq(ek_rmsnorm(&table, NULL, x, NULL, y, 0, 4, 1e-5f), EK_E_ARG);
    cr_assert_eq(ek_rmsnorm(&table, NULL, x, NULL, y, 2, 4, NAN), EK_E_ARG);
    cr_assert_eq(ek_rmsnorm(&table, NULL, x, NULL, y, SIZE_MAX, 4, 0), EK_E_OVERFLOW);
    cr_assert_eq(ek_layernorm(NULL, NULL, x, NULL, NULL, y, 2, 4, 1e-5f), EK_E_ARG);
    cr_assert_eq(ek_layernorm(&table, NULL, x, NULL, NULL, y, 2, 0, 1e-5f), EK_E_ARG);
    cr_assert_eq(ek_act(&table, NULL, EK_ACT_KINDS, x, NULL, y, 8), EK_E_ARG);
    cr_assert_eq(ek_act(&table, NULL, EK_ACT_SILU, x, NULL, y, 0), EK_E_ARG);
    cr_assert_eq(ek_softmax(&table, NULL, x, y, 2, 4, 0), EK_E_ARG);
    cr_assert_eq(ek_softmax(&table, NULL, x, y, 2, SIZE_MAX / 2, 1), EK_E_OVERFLOW);
    cr_assert_eq(ek_add(&table, NULL, x, NULL, y, 8), EK_E_ARG);
    cr_assert_eq(ek_argmax(&table, NULL, x, NULL, y, 1, 8), EK_E_ARG);
    cr_assert_eq(ek_argmax(&table, NULL, x, n, y, 1, (size_t)1 << 33), EK_E_ARG);
    cr_assert_eq(ek_topk(&table, NULL, x, n, y, 1, 8, 9), EK_E_ARG);
    cr_assert_eq(ek_topk(&table, NULL, x, n, y, 1, 8, 0), EK_E_ARG);
    cr_assert_eq(ek_rope(&table, NULL, NULL, 1), EK_E_ARG);
    const struct ek_rope_args odd = {x, y, x, x, (const int32_t *)n, 1, 8, 3, 0};
    cr_assert_eq(ek_rope(&table, NULL, &odd, 1), EK_E_ARG);
    const struct ek_quantize_args q = {x, (int8_t *)y, y, (int32_t *)n, 8, 40, 32, 8, 0};
    cr_assert_eq(ek_quantize(&table, NULL, &q, 1), EK_E_ARG);
    const struct ek_kernels empty = {.struct_size = sizeof empty};
    cr_assert_eq(ek_add(&empty, NULL, x, x, y, 8), EK_E_UNSUPPORTED);
    const ek_pool bad = {.struct_size = sizeof bad, .threads = 2};
    cr_assert_eq(ek_add(&table, &bad, x, x, y, 8), EK_E_ARG);
    UNTOUCHED(y);
    UNTOUCHED(n);
}

Test(vector, small_answers)
{
    const float x[4] = {3, -1, 3, 0};
    float       y[4], v[2];
    uint32_t    n[2];
    cr_assert_eq(ek_argmax(&table, NULL, x, n, v, 1, 4), EK_OK);
    cr_assert(n[0] == 0 && v[0] == 3.0f);
    cr_assert_eq(ek_topk(&table, NULL, x, n, v, 1, 4, 2), EK_OK);
    cr_assert(n[0] == 0 && n[1] == 2 && v[1] == 3.0f);
    cr_assert_eq(ek_softmax(&table, NULL, x, y, 1, 4, 1), EK_OK);
    cr_assert_float_eq(y[0] + y[1] + y[2] + y[3], 1.0f, 1e-6f);
    cr_assert_eq(ek_act(&table, NULL, EK_ACT_RELU, x, x, y, 4), EK_OK);
    cr_assert(y[0] == 9.0f && y[1] == 0.0f);
}

/* Frequencies written out once more, as the papers and Hugging Face's code have them. */
static double expected(const struct ek_rope_config *c, double rot, double i)
{
    const double pi = acos(-1), f = 1 / pow(c->theta, 2 * i / rot);
    if (c->scaling == EK_ROPE_LINEAR) return f / c->factor;
    if (c->scaling == EK_ROPE_LLAMA3) {
        const double wavelength = 2 * pi / f, old = c->original_context;
        if (wavelength < old / 4) return f;
        if (wavelength > old / 1) return f / c->factor;
        const double smooth = (old / wavelength - 1) / (4.0 - 1);
        return (1 - smooth) * f / c->factor + smooth * f;
    }
    if (c->scaling == EK_ROPE_YARN) {
        const double to   = rot / (2 * log(c->theta));
        const double low  = fmax(floor(to * log(c->original_context / (32 * 2 * pi))), 0);
        const double high = fmin(ceil(to * log(c->original_context / (1 * 2 * pi))), rot - 1);
        const double ramp = fmin(fmax((i - low) / (high - low), 0), 1);
        return f / c->factor * ramp + f * (1 - ramp);
    }
    return f;
}

Test(vector, rope_tables)
{
    enum { ROT = 128, HALF = ROT / 2, POS0 = 5000, COUNT = 3 };
    for (int s = EK_ROPE_PLAIN; s <= EK_ROPE_YARN; s++) {
        const struct ek_rope_config c = {.struct_size      = sizeof c,
                                         .scaling          = (enum ek_rope_scaling)s,
                                         .theta            = 500000,
                                         .factor           = 8,
                                         .original_context = 8192};
        float                       cos_table[COUNT * HALF], sin_table[COUNT * HALF];
        cr_assert_eq(ek_rope_table(&c, ROT, POS0, COUNT, cos_table, sin_table), EK_OK);
        const double scale = s == EK_ROPE_YARN ? 0.1 * log(8) + 1 : 1;
        for (int p = 0; p < COUNT; p++)
            for (int i = 0; i < HALF; i++) {
                const double a = (POS0 + p) * expected(&c, ROT, i);
                cr_assert_float_eq((double)cos_table[p * HALF + i], scale * cos(a), 1e-6);
                cr_assert_float_eq((double)sin_table[p * HALF + i], scale * sin(a), 1e-6);
            }
    }
}

Test(vector, rope_table_refuses)
{
    float                 t[4] = {7, 7, 7, 7};
    struct ek_rope_config c    = {.struct_size = sizeof c, .theta = 10000};
    cr_assert_eq(ek_rope_table(NULL, 4, 0, 1, t, t + 2), EK_E_ARG);
    cr_assert_eq(ek_rope_table(&c, 3, 0, 1, t, t + 2), EK_E_ARG);
    cr_assert_eq(ek_rope_table(&c, 4, 0, 0, t, t + 2), EK_E_ARG);
    c.scaling = EK_ROPE_LINEAR; /* factor missing */
    cr_assert_eq(ek_rope_table(&c, 4, 0, 1, t, t + 2), EK_E_ARG);
    c.scaling = EK_ROPE_YARN, c.factor = 4; /* original context missing */
    cr_assert_eq(ek_rope_table(&c, 4, 0, 1, t, t + 2), EK_E_ARG);
    c.struct_size--;
    cr_assert_eq(ek_rope_table(&c, 4, 0, 1, t, t + 2), EK_E_ARG);
    cr_assert(t[0] == 7 && t[3] == 7);
}
