/* SPDX-License-Identifier: Apache-2.0 */
/* tools/roof.c - read bandwidth through the kernel table. */
#include "tools/roof.h"

#include "tools/session_args.h"

#include <stdlib.h>
#include <string.h>

int roof_open(struct roof *r, size_t bytes)
{
    *r = (struct roof){.at = 0};
    if (arena_make(&r->arena, bytes)) return -1;
    r->sums = malloc(r->arena.bytes / EK_READ_BLOCK * sizeof *r->sums);
    if (r->sums) return 0;
    arena_drop(&r->arena);
    return -1;
}

void roof_close(struct roof *r)
{
    if (r->sums) arena_drop(&r->arena);
    free(r->sums);
    r->sums = NULL;
}

struct reading {
    struct ek_read_args     args;
    const struct ek_kernel *k;
};

static void read_blocks(void *task, size_t begin, size_t end)
{
    struct reading *d = task;
    d->k->fn.read(&d->args, begin, end);
}

double roof_measure(struct roof *r, struct threads *t, const struct ek_kernel *k, double seconds)
{
    enum { CALL_BLOCKS = 8192, TASKS_PER_THREAD = 4 }; /* 32 MiB a call, as in ek bench */
    const size_t blocks = r->arena.bytes / EK_READ_BLOCK;
    const size_t call   = blocks < CALL_BLOCKS ? blocks : CALL_BLOCKS;
    const size_t tasks  = TASKS_PER_THREAD * t->count;
    const double start  = seconds_now();
    double       bytes  = 0, taken;
    do {
        if (r->at + call > blocks) r->at = 0;
        struct reading d = {{.p = r->arena.data + r->at * EK_READ_BLOCK, .sum = r->sums + r->at},
                            k};
        t->pool.run(t->pool.self, call, call / tasks + 1, read_blocks, &d);
        r->at += call;
        bytes += (double)call * EK_READ_BLOCK;
        taken = seconds_now() - start;
    } while (taken < seconds);
    return bytes / taken;
}

const struct ek_kernel *roof_best(struct roof *r, struct threads *t)
{
    enum { ROUNDS = 3 };
    const double      once = 0.03;
    struct ek_kernels table;
    if (ek_kernels_default(&table)) return NULL;
    const struct ek_kernel *best      = table.read[EK_FMT_f32];
    double                  best_rate = 0;
    for (size_t i = 0; i < ek_kernel_count(); i++) {
        const struct ek_kernel *k = ek_kernel_at(i);
        if (k->op != EK_OP_read || strcmp(k->isa, best->isa) != 0 ||
            (k->needs & table.cpu) != k->needs)
            continue;
        double rate = 0;
        for (int j = 0; j < ROUNDS; j++) {
            const double now = roof_measure(r, t, k, once);
            rate             = now > rate ? now : rate;
        }
        if (rate > best_rate) best_rate = rate, best = k;
    }
    return best;
}
