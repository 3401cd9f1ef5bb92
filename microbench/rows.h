/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/rows.h - the rows of a run: which kernel, shape, threads; how one call is made. */
#ifndef EK_ROWS_H
#define EK_ROWS_H
#include "microbench/arena.h"
#include "microbench/bench.h"
#include "microbench/composite.h"
#include "microbench/gbench.h"
#include "tests/driver.h"
#include "tools/pool.h"

enum row_kind { ROW_READ, ROW_PEAK, ROW_KERNEL, ROW_PEER, ROW_COMPOSITE };

struct peer;

struct row {
    enum row_kind           kind;
    const struct ek_kernel *k; /* NULL: a composite */
    const struct ek_driver *d;
    const struct composite *composite;
    enum ek_fmt             fmt; /* of a composite */
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
    void           *self; /* of a composite */
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

/* Makes the case of row i and checks its kernel against the reference on some items. Rows before it
 * are prepared. 0, or -1 with a message on stderr. */
int row_prepare(struct row_list *list, size_t i, const struct ek_kernels *t, struct threads *pool,
                struct arena *arena);

/* One timed call: the next copy of the weights when cold. */
void row_call(void *row);

/* Seconds that a call of row would take at the rate of its roof, measured now, on its threads. */
double row_roof(void *row);

double row_bytes(const struct row *r);
double row_ops(const struct row *r);
#endif
