/* SPDX-License-Identifier: Apache-2.0 */
/* tools/pool.h - ek_pool over pthreadpool, with pinning as the caller's policy. */
#ifndef EK_TOOLS_POOL_H
#define EK_TOOLS_POOL_H
#include "ek/pool.h"

#include <stddef.h>

struct pthreadpool;

struct threads {
    struct pthreadpool *tp;
    size_t              count;
    ek_pool             pool;
};

/* Starts count threads, the caller being the first. cpus: one per thread to pin to, or NULL. Every
 * thread flushes denormals from then on. 0; -1 when threads or affinities could not be had. */
int  threads_start(struct threads *t, size_t count, const int *cpus);
void threads_stop(struct threads *t);
#endif
