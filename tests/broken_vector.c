/* SPDX-License-Identifier: Apache-2.0 */
/* tests/broken_vector.c - broken on purpose: ops on vectors, masks and selections. */
#include "tests/broken.h"

#include <stdlib.h>
#include <string.h>

static void rmsnorm_forgets_eps(const struct ek_rmsnorm_args *a, size_t begin, size_t end)
{
    struct ek_rmsnorm_args b = *a;
    b.eps                    = 0;
    sound.rmsnorm[EK_FMT_f32]->fn.rmsnorm(&b, begin, end);
}
static void act_wrong_kind(const struct ek_act_args *a, size_t begin, size_t end)
{
    struct ek_act_args b = *a; /* the approximations differ by a thousandth */
    if (b.kind == EK_ACT_GELU_ERF) b.kind = EK_ACT_GELU_TANH;
    sound.act[EK_FMT_f32]->fn.act(&b, begin, end);
}
static void softmax_not_stable(const struct ek_softmax_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        float sum = 0;
        for (size_t c = 0; c < a->cols; c++)
            sum += __builtin_expf(a->scale * a->x[r * a->cols + c]);
        for (size_t c = 0; c < a->cols; c++)
            a->y[r * a->cols + c] = __builtin_expf(a->scale * a->x[r * a->cols + c]) / sum;
    }
}
static void rope_swaps_sign(const struct ek_rope_args *a, size_t begin, size_t end)
{
    struct ek_rope_args b = *a;
    b.cos = a->sin, b.sin = a->cos;
    sound.rope[EK_FMT_f32]->fn.rope(&b, begin, end);
}
static void argmax_takes_last(const struct ek_argmax_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        size_t best = 0;
        for (size_t c = 1; c < a->cols; c++)
            if (a->x[r * a->cols + c] >= a->x[r * a->cols + best]) best = c;
        a->index[r] = (uint32_t)best;
        if (a->value) a->value[r] = a->x[r * a->cols + best];
    }
}
static void quantize_uses_minus_128(const struct ek_quantize_args *a, size_t begin, size_t end)
{
    sound.quantize[EK_FMT_f32]->fn.quantize(a, begin, end);
    for (size_t i = begin * a->kp; i < end * a->kp; i++)
        if (a->q[i] == -127) a->q[i] = -128;
}

static void mask_leaves_out_equals(const struct ek_mask_args *a, size_t begin, size_t end)
{
    const size_t words = (a->cols + 63) / 64;
    for (size_t i = begin; i < end; i++) {
        a->mask[i] = 0;
        for (size_t c = i % words * 64; c < a->cols && c < (i % words + 1) * 64; c++)
            if (a->x[i / words * a->ldx + c] > a->t[i / words]) a->mask[i] |= UINT64_C(1) << c % 64;
    }
}
static void mask_marks_columns_past_the_end(const struct ek_mask_args *a, size_t begin, size_t end)
{
    const size_t words = (a->cols + 63) / 64;
    sound.mask[EK_FMT_f32]->fn.mask(a, begin, end);
    for (size_t i = begin; i < end; i++) /* zeros that a padded load would give reach t */
        if (a->cols % 64 && i % words == words - 1 && a->t[i / words] <= 0)
            a->mask[i] |= UINT64_C(1) << a->cols % 64;
}
static void mask_takes_the_first_threshold(const struct ek_mask_args *a, size_t begin, size_t end)
{
    const size_t words = (a->cols + 63) / 64;
    for (size_t i = begin; i < end; i++) {
        struct ek_mask_args b = *a;
        b.x += i / words * a->ldx, b.mask += i / words * words;
        sound.mask[EK_FMT_f32]->fn.mask(&b, i % words, i % words + 1);
    }
}
static void moments_of_a_sample(const struct ek_moments_args *a, size_t begin, size_t end)
{
    sound.moments[EK_FMT_f32]->fn.moments(a, begin, end);
    for (size_t r = begin; r < end && a->cols > 1; r++)
        a->moments[2 * r + 1] *= __builtin_sqrtf((float)a->cols / (float)(a->cols - 1));
}
/* E[x^2] - E[x]^2 in f32: cancels. */
static void moments_in_one_pass(const struct ek_moments_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        float sum = 0, squares = 0, n = (float)a->cols;
        for (size_t c = 0; c < a->cols; c++) {
            const float x = a->x[r * a->ldx + c];
            sum += x, squares += x * x;
        }
        a->moments[2 * r]     = sum / n;
        a->moments[2 * r + 1] = __builtin_sqrtf(squares / n - sum / n * (sum / n));
    }
}
static void select_counts_all_equals(const struct ek_select_args *a, size_t begin, size_t end)
{
    sound.select[EK_FMT_f32]->fn.select(a, begin, end);
    for (size_t r = begin; r < end; r++) {
        uint32_t equals = 0;
        for (size_t c = 0; c < a->cols; c++) equals += a->x[r * a->ldx + c] == a->value[r];
        if (equals) a->equal[r] = equals;
    }
}
static void select_puts_nan_first(const struct ek_select_args *a, size_t begin, size_t end)
{
    sound.select[EK_FMT_f32]->fn.select(a, begin, end);
    for (size_t r = begin; r < end; r++)
        for (size_t c = 0; c < a->cols; c++)
            if (a->x[r * a->ldx + c] != a->x[r * a->ldx + c]) a->value[r] = a->x[r * a->ldx + c];
}
static void select_leaves_minus_zero(const struct ek_select_args *a, size_t begin, size_t end)
{
    sound.select[EK_FMT_f32]->fn.select(a, begin, end);
    for (size_t r = begin; r < end; r++)
        if (a->value[r] == 0.0f) a->value[r] = -0.0f;
}
static void select_is_one_off(const struct ek_select_args *a, size_t begin, size_t end)
{
    struct ek_select_args b = *a;
    if (b.k < b.cols) b.k++;
    sound.select[EK_FMT_f32]->fn.select(&b, begin, end);
}

static const struct ek_kernel kernels[] = {
    BROKEN(rmsnorm, f32, rmsnorm_forgets_eps),
    BROKEN(act, f32, act_wrong_kind),
    BROKEN(softmax, f32, softmax_not_stable),
    BROKEN(rope, f32, rope_swaps_sign),
    BROKEN(argmax, f32, argmax_takes_last),
    BROKEN(quantize, f32, quantize_uses_minus_128),
    BROKEN(mask, f32, mask_leaves_out_equals),
    BROKEN(mask, f32, mask_marks_columns_past_the_end),
    BROKEN(mask, f32, mask_takes_the_first_threshold),
    BROKEN(moments, f32, moments_of_a_sample),
    BROKEN(moments, f32, moments_in_one_pass),
    BROKEN(select, f32, select_counts_all_equals),
    BROKEN(select, f32, select_puts_nan_first),
    BROKEN(select, f32, select_leaves_minus_zero),
    BROKEN(select, f32, select_is_one_off),
};
const struct broken_kernels broken_vector = {kernels, sizeof kernels / sizeof *kernels};
