/* SPDX-License-Identifier: Apache-2.0 */
/* ops/vector.c - norms, activations, softmax, rotary embedding, selection: check, pick, split. */
#include "ek/vector.h"

#include "ops/run.h"

#include <stdint.h>

enum { ELEMENT_GRAIN = 4096 }; /* elements of one task of an elementwise op */

EK_DEFINE_RUN(rmsnorm)
EK_DEFINE_RUN(layernorm)
EK_DEFINE_RUN(act)
EK_DEFINE_RUN(softmax)
EK_DEFINE_RUN(add)
EK_DEFINE_RUN(rope)
EK_DEFINE_RUN(argmax)
EK_DEFINE_RUN(topk)
EK_DEFINE_RUN(quantize)
#undef EK_DEFINE_RUN

ek_status ek_rmsnorm(const struct ek_kernels *t, const ek_pool *pool, const float *x,
                     const float *g, float *y, size_t rows, size_t cols, float eps)
{
    if (!ek_table_sound(t, pool) || !x || !y || !(eps >= 0)) return EK_E_ARG;
    const ek_status s = ek_check_shape(rows, cols);
    if (s) return s;
    const struct ek_rmsnorm_args a = {.x = x, .g = g, .y = y, .cols = cols, .eps = eps};
    return rmsnorm_run(t, pool, &a, rows, 1);
}

/* NOLINTNEXTLINE(readability-function-size): sizes and strides one by one, as in BLAS */
ek_status ek_layernorm(const struct ek_kernels *t, const ek_pool *pool, const float *x,
                       const float *g, const float *b, float *y, size_t rows, size_t cols,
                       float eps)
{
    if (!ek_table_sound(t, pool) || !x || !y || !(eps >= 0)) return EK_E_ARG;
    const ek_status s = ek_check_shape(rows, cols);
    if (s) return s;
    const struct ek_layernorm_args a = {.x = x, .g = g, .b = b, .y = y, .cols = cols, .eps = eps};
    return layernorm_run(t, pool, &a, rows, 1);
}

ek_status ek_act(const struct ek_kernels *t, const ek_pool *pool, enum ek_act_kind kind,
                 const float *x, const float *u, float *y, size_t n)
{
    if (!ek_table_sound(t, pool) || !x || !y || !n || (unsigned)kind >= EK_ACT_KINDS)
        return EK_E_ARG;
    const struct ek_act_args a = {.x = x, .u = u, .y = y, .kind = kind};
    return act_run(t, pool, &a, n, ELEMENT_GRAIN);
}

ek_status ek_softmax(const struct ek_kernels *t, const ek_pool *pool, const float *x, float *y,
                     size_t rows, size_t cols, float scale)
{
    if (!ek_table_sound(t, pool) || !x || !y || !(scale > 0)) return EK_E_ARG;
    const ek_status s = ek_check_shape(rows, cols);
    if (s) return s;
    const struct ek_softmax_args a = {.x = x, .y = y, .cols = cols, .scale = scale};
    return softmax_run(t, pool, &a, rows, 1);
}

ek_status ek_add(const struct ek_kernels *t, const ek_pool *pool, const float *a, const float *b,
                 float *y, size_t n)
{
    if (!ek_table_sound(t, pool) || !a || !b || !y || !n) return EK_E_ARG;
    const struct ek_add_args args = {.a = a, .b = b, .y = y};
    return add_run(t, pool, &args, n, ELEMENT_GRAIN);
}

ek_status ek_rope(const struct ek_kernels *t, const ek_pool *pool, const struct ek_rope_args *a,
                  size_t tokens)
{
    if (!ek_table_sound(t, pool) || !a || !a->x || !a->y || !a->cos || !a->sin || !a->pos ||
        !a->heads || !a->rot || a->rot % 2 || a->rot > a->dim)
        return EK_E_ARG;
    size_t          rows;
    const ek_status s = ek_check_shape(tokens, a->heads);
    if (s) return s;
    rows              = tokens * a->heads;
    const ek_status r = ek_check_shape(rows, a->dim);
    return r ? r : rope_run(t, pool, a, rows, 8);
}

ek_status ek_argmax(const struct ek_kernels *t, const ek_pool *pool, const float *x,
                    uint32_t *index, float *value, size_t rows, size_t cols)
{
    if (!ek_table_sound(t, pool) || !x || !index || cols > UINT32_MAX) return EK_E_ARG;
    const ek_status s = ek_check_shape(rows, cols);
    if (s) return s;
    const struct ek_argmax_args a = {.x = x, .index = index, .value = value, .cols = cols};
    return argmax_run(t, pool, &a, rows, 1);
}

ek_status ek_topk(const struct ek_kernels *t, const ek_pool *pool, const float *x, uint32_t *index,
                  float *value, size_t rows, size_t cols, size_t k)
{
    if (!ek_table_sound(t, pool) || !x || !index || !value || cols > UINT32_MAX || !k || k > cols)
        return EK_E_ARG;
    const ek_status s = ek_check_shape(rows, cols);
    if (s) return s;
    const struct ek_topk_args a = {.x = x, .index = index, .value = value, .cols = cols, .k = k};
    return topk_run(t, pool, &a, rows, 1);
}

ek_status ek_quantize(const struct ek_kernels *t, const ek_pool *pool,
                      const struct ek_quantize_args *a, size_t rows)
{
    if (!ek_table_sound(t, pool) || !a || !a->x || !a->q || !a->d || !a->s || !a->k ||
        a->ldx < a->k || (a->group != 32 && a->group != 64 && a->group != 128) ||
        a->kp % a->group || a->kp < a->k)
        return EK_E_ARG;
    const ek_status s = ek_check_shape(rows, a->ldx > a->kp ? a->ldx : a->kp);
    return s ? s : quantize_run(t, pool, a, rows, 4);
}
