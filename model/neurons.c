/* SPDX-License-Identifier: Apache-2.0 */
/* model/neurons.c - matrices made into neurons. */
#include "model/neurons.h"

#include <stdlib.h>

/* Rows [begin, end) of up, and those columns of down. */
struct pack_task {
    const struct rows_reader *up, *down;
    const struct ek_neurons  *to;
    unsigned char            *data;
    size_t                    one;
    float                    *columns; /* down as floats [d][n] */
    ek_status                 bad;
};

static void pack_neurons(void *task, size_t begin, size_t end)
{
    struct pack_task        *t = task;
    const struct ek_neurons *w = t->to;
    const size_t             d = w->d, n = end - begin;
    unsigned char           *out  = t->data + begin * t->one;
    float                   *rows = t->up ? malloc(n * d * sizeof *rows) : NULL;
    ek_status                s    = rows || !t->up ? EK_OK : EK_E_NOMEM;
    if (!s && rows) s = t->up->read(t->up->self, t->up->first + begin, t->up->first + end, rows);
    if (!s && rows) s = ek_neurons_quantize(w->fmt, rows, d, 1, n, d, 2, 0, out, n * t->one);
    if (!s)
        s = ek_neurons_quantize(w->fmt, t->columns + begin, 1, w->n, n, d, w->rows, w->rows - 1,
                                out, n * t->one);
    if (s) t->bad = s; /* any of several will do */
    free(rows);
}

static void read_rows(void *task, size_t begin, size_t end)
{
    struct pack_task         *t = task;
    const struct rows_reader *r = t->down;
    const ek_status           s =
        r->read(r->self, r->first + begin, r->first + end, t->columns + begin * t->to->n);
    if (s) t->bad = s;
}

ek_status neurons_pack(const struct ek_neurons *to, void *data, const struct rows_reader *up,
                       const struct rows_reader *down, const ek_pool *pool)
{
    struct pack_task t = {.up = up, .down = down, .to = to, .data = data};
    size_t           bytes;
    const ek_status  s = ek_neurons_bytes(to->fmt, to->n, to->d, to->rows, &bytes, &t.one);
    if (s) return s;
    t.columns = malloc(to->d * to->n * sizeof *t.columns);
    if (!t.columns) return EK_E_NOMEM;
    ek_parallel(pool, to->d, 64, read_rows, &t);
    if (!t.bad) ek_parallel(pool, to->n, 64, pack_neurons, &t);
    free(t.columns);
    return t.bad;
}
