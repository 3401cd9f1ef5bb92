/* SPDX-License-Identifier: Apache-2.0 */
/* ek/pool.h - the caller's thread pool, seen through one function pointer. */
#ifndef EK_POOL_H
#define EK_POOL_H
#include <stddef.h>

/** Handles items [begin, end). Called concurrently with disjoint ranges. */
typedef void ek_task_fn(void *task, size_t begin, size_t end);

/**
 * A pool of threads that the caller owns. The library creates no threads; a NULL ek_pool
 * pointer means: run serially on the calling thread. */
typedef struct ek_pool {
    size_t struct_size; /* bytes; sizeof(ek_pool), set by the caller                     */
    size_t threads;     /* how many tasks may run at once, >= 1; decides how work is cut */
    /* Calls fn on disjoint ranges that cover [0, items), each a multiple of grain long but
     * for the last; returns when all are done. What fn wrote is then visible to the caller. */
    void (*run)(void *self, size_t items, size_t grain, ek_task_fn *fn, void *task);
    void *self;
} ek_pool;

/** Runs a task over a pool, or serially without one or where it would be one piece. */
static inline void ek_parallel(const ek_pool *pool, size_t items, size_t grain, ek_task_fn *fn,
                               void *task)
{
    if (pool && pool->threads > 1 && items > grain)
        pool->run(pool->self, items, grain, fn, task);
    else
        fn(task, 0, items);
}
#endif
