/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/rows.h - the rows of a run: which kernel, shape, threads; how one call is made. */
#ifndef EK_ROWS_H
#define EK_ROWS_H
#include "microbench/arena.h"
#include "microbench/bench.h"
#include "microbench/gbench.h"
#include "tests/driver.h"
#include "tools/pool.h"

enum row_kind { ROW_READ, ROW_PEAK, ROW_KERNEL, ROW_PEER };

struct peer;

struct row {
    enum row_kind           kind;
    const struct ek_kernel *k;
    const struct ek_driver *d;
    struct ek_shape         shape;
    size_t                  streams;               /* as in ek_kernels */
    size_t                  threads, thread_index; /* position in options.threads */
    int                     cold;
    char                    name[128];
    /* made by row_prepare */
    struct ek_case  c;
    struct threads *pool;
    struct arena   *arena;
    struct peer    *peer;
    size_t          stream, offset, items, grain;
    struct row     *roof; /* the row that measures what limits this one, or NULL */
};

struct row_list {
    struct row *rows;
    size_t      count, room;
};

/* Every row that the options ask for, roofs first. 0, or -1 with a message on stderr. */
int  rows_select(const struct bench_options *o, struct row_list *list);
void rows_drop(struct row_list *list);

/* Makes the row's case and checks its kernel against the reference on some items. 0, or -1 with a
 * message on stderr. */
int row_prepare(struct row *r, struct threads *pool, struct arena *arena);

/* One timed call: the next copy of the weights when cold. */
void row_call(void *row);

/* Seconds that a call of row would take at the rate of its roof, measured now, on its threads. */
double row_roof(void *row);

double row_bytes(const struct row *r);
double row_ops(const struct row *r);
#endif
