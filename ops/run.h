/* SPDX-License-Identifier: Apache-2.0 */
/* ops/run.h - what ops share: checks of the pool, the table and shapes; the run over rows of f32. */
#ifndef EK_RUN_H
#define EK_RUN_H
#include "ek/kernels.h"
#include "ek/pool.h"

#include <stdint.h>

static inline int ek_pool_sound(const ek_pool *pool)
{
    return !pool || (pool->struct_size >= sizeof *pool && pool->run && pool->threads);
}

static inline int ek_table_sound(const struct ek_kernels *t, const ek_pool *pool)
{
    return t && t->struct_size == sizeof *t && ek_pool_sound(pool);
}

/* rows x cols elements must be countable in bytes. */
static inline ek_status ek_check_shape(size_t rows, size_t cols)
{
    size_t bytes;
    if (!rows || !cols) return EK_E_ARG;
    return __builtin_mul_overflow(rows, cols, &bytes) || bytes > SIZE_MAX / sizeof(float)
               ? EK_E_OVERFLOW
               : EK_OK;
}

/* Every op of f32 rows ends alike: run the table's kernel over items with its arguments. */
#define EK_DEFINE_RUN(op)                                                                          \
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
#endif
