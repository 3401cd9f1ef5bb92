/* SPDX-License-Identifier: Apache-2.0 */
/* ops/parallel.h - runs a task over a caller's pool, or serially without one. */
#ifndef EK_PARALLEL_H
#define EK_PARALLEL_H
#include "ek/pool.h"

static inline void ek_parallel(const ek_pool *pool, size_t items, size_t grain, ek_task_fn *fn,
                               void *task)
{
    if (pool && pool->threads > 1 && items > grain)
        pool->run(pool->self, items, grain, fn, task);
    else
        fn(task, 0, items);
}

static inline int ek_pool_sound(const ek_pool *pool)
{
    return !pool || (pool->struct_size >= sizeof *pool && pool->run && pool->threads);
}
#endif
