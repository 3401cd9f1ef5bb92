/* SPDX-License-Identifier: Apache-2.0 */
/* ops/vector.c - norms, activations, softmax, rotary embedding, selection: check, pick, split. */
#include "ek/vector.h"

#include "ops/parallel.h"

#include <stdint.h>

enum { ELEMENT_GRAIN = 4096 }; /* elements of one task of an elementwise op */

static int table_sound(const struct ek_kernels *t, const ek_pool *pool)
{
    return t && t->struct_size == sizeof *t && ek_pool_sound(pool);
}

/* rows x cols elements must be countable in bytes. */
static ek_status check_shape(size_t rows, size_t cols)
{
    size_t bytes;
    if (!rows || !cols) return EK_E_ARG;
    return __builtin_mul_overflow(rows, cols, &bytes) || bytes > SIZE_MAX / sizeof(float)
               ? EK_E_OVERFLOW
               : EK_OK;
}

/* Every op ends alike: run the table's kernel over items with its arguments. */
#define DEFINE_RUN(op)                                                                             \
    struct op##_task {                                                                             \
        ek_##op##_fn                *fn;                                                           \
        const struct ek_##op##_args *a;                                                            \
    };                                                                                             \
    static void op##_range(void *task, size_t begin, size_t end)                                   \
    {                                                                                              \
        const struct op##_task *r = task;                                                          \
        r->fn(r->a, begin, end);                                                                   \
    }                                                                                              \
    static ek_status op##_run(const struct ek_kernels *t, const ek_pool *pool,                     \
                              const struct ek_##op##_args *a, size_t items, size_t grain)          \
    {                                                                                              \
        const struct ek_kernel *k = t->op[EK_FMT_f32];                                             \
        if (!k) return EK_E_UNSUPPORTED;                                                           \
        struct op##_task r = {k->fn.op, a};                                                        \
        ek_parallel(pool, items, grain, op##_range, &r);                                           \
        return EK_OK;                                                                              \
    }
DEFINE_RUN(rmsnorm)
DEFINE_RUN(layernorm)
DEFINE_RUN(act)
DEFINE_RUN(softmax)
DEFINE_RUN(add)
DEFINE_RUN(rope)
DEFINE_RUN(argmax)
DEFINE_RUN(topk)
DEFINE_RUN(quantize)
#undef DEFINE_RUN

ek_status ek_rmsnorm(const struct ek_kernels *t, const ek_pool *pool, const float *x,
                     const float *g, float *y, size_t rows, size_t cols, float eps)
{
    if (!table_sound(t, pool) || !x || !y || !(eps >= 0)) return EK_E_ARG;
    const ek_status s = check_shape(rows, cols);
    if (s) return s;
    const struct ek_rmsnorm_args a = {.x = x, .g = g, .y = y, .cols = cols, .eps = eps};
    return rmsnorm_run(t, pool, &a, rows, 1);
}

/* NOLINTNEXTLINE(readability-function-size): sizes and strides one by one, as in BLAS */
ek_status ek_layernorm(const struct ek_kernels *t, const ek_pool *pool, const float *x,
                       const float *g, const float *b, float *y, size_t rows, size_t cols,
                       float eps)
{
    if (!table_sound(t, pool) || !x || !y || !(eps >= 0)) return EK_E_ARG;
    const ek_status s = check_shape(rows, cols);
    if (s) return s;
    const struct ek_layernorm_args a = {.x = x, .g = g, .b = b, .y = y, .cols = cols, .eps = eps};
    return layernorm_run(t, pool, &a, rows, 1);
}

ek_status ek_act(const struct ek_kernels *t, const ek_pool *pool, enum ek_act_kind kind,
                 const float *x, const float *u, float *y, size_t n)
{
    if (!table_sound(t, pool) || !x || !y || !n || (unsigned)kind >= EK_ACT_KINDS) return EK_E_ARG;
    const struct ek_act_args a = {.x = x, .u = u, .y = y, .kind = kind};
    return act_run(t, pool, &a, n, ELEMENT_GRAIN);
}

ek_status ek_softmax(const struct ek_kernels *t, const ek_pool *pool, const float *x, float *y,
                     size_t rows, size_t cols, float scale)
{
    if (!table_sound(t, pool) || !x || !y || !(scale > 0)) return EK_E_ARG;
    const ek_status s = check_shape(rows, cols);
    if (s) return s;
    const struct ek_softmax_args a = {.x = x, .y = y, .cols = cols, .scale = scale};
    return softmax_run(t, pool, &a, rows, 1);
}

ek_status ek_add(const struct ek_kernels *t, const ek_pool *pool, const float *a, const float *b,
                 float *y, size_t n)
{
    if (!table_sound(t, pool) || !a || !b || !y || !n) return EK_E_ARG;
    const struct ek_add_args args = {.a = a, .b = b, .y = y};
    return add_run(t, pool, &args, n, ELEMENT_GRAIN);
}

ek_status ek_rope(const struct ek_kernels *t, const ek_pool *pool, const struct ek_rope_args *a,
                  size_t tokens)
{
    if (!table_sound(t, pool) || !a || !a->x || !a->y || !a->cos || !a->sin || !a->pos ||
        !a->heads || !a->rot || a->rot % 2 || a->rot > a->dim)
        return EK_E_ARG;
    size_t          rows;
    const ek_status s = check_shape(tokens, a->heads);
    if (s) return s;
    rows              = tokens * a->heads;
    const ek_status r = check_shape(rows, a->dim);
    return r ? r : rope_run(t, pool, a, rows, 8);
}

ek_status ek_argmax(const struct ek_kernels *t, const ek_pool *pool, const float *x,
                    uint32_t *index, float *value, size_t rows, size_t cols)
{
    if (!table_sound(t, pool) || !x || !index || cols > UINT32_MAX) return EK_E_ARG;
    const ek_status s = check_shape(rows, cols);
    if (s) return s;
    const struct ek_argmax_args a = {.x = x, .index = index, .value = value, .cols = cols};
    return argmax_run(t, pool, &a, rows, 1);
}

ek_status ek_topk(const struct ek_kernels *t, const ek_pool *pool, const float *x, uint32_t *index,
                  float *value, size_t rows, size_t cols, size_t k)
{
    if (!table_sound(t, pool) || !x || !index || !value || cols > UINT32_MAX || !k || k > cols)
        return EK_E_ARG;
    const ek_status s = check_shape(rows, cols);
    if (s) return s;
    const struct ek_topk_args a = {.x = x, .index = index, .value = value, .cols = cols, .k = k};
    return topk_run(t, pool, &a, rows, 1);
}

ek_status ek_quantize(const struct ek_kernels *t, const ek_pool *pool,
                      const struct ek_quantize_args *a, size_t rows)
{
    if (!table_sound(t, pool) || !a || !a->x || !a->q || !a->d || !a->s || !a->k || a->ldx < a->k ||
        (a->group != 32 && a->group != 64 && a->group != 128) || a->kp % a->group || a->kp < a->k)
        return EK_E_ARG;
    const ek_status s = check_shape(rows, a->ldx > a->kp ? a->ldx : a->kp);
    return s ? s : quantize_run(t, pool, a, rows, 4);
}
