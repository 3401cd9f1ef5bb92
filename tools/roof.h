/* SPDX-License-Identifier: Apache-2.0 */
/* tools/roof.h - how fast this machine reads memory now: what decoding is held against. */
#ifndef EK_TOOLS_ROOF_H
#define EK_TOOLS_ROOF_H
#include "ek/kernels.h"
#include "microbench/arena.h"
#include "tools/pool.h"

struct roof {
    struct arena arena;
    uint32_t    *sums; /* one per block, what the read kernels write */
    size_t       at;   /* block at which the next reading begins     */
};

/* A buffer of at least bytes, filled. 0, or -1 with errno. */
int  roof_open(struct roof *r, size_t bytes);
void roof_close(struct roof *r);

/* The registered read kernel of this CPU that is fastest on these threads. */
const struct ek_kernel *roof_best(struct roof *r, struct threads *t);

/* Bytes per second of reading on for about seconds, round the buffer. */
double roof_measure(struct roof *r, struct threads *t, const struct ek_kernel *k, double seconds);
#endif
