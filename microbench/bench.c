/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/bench.c - one run: threads, memory, rows, timing, roofs. */
#include "microbench/bench.h"

#include "microbench/peers.h"
#include "microbench/rows.h"
#include "tools/topology.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OVER_PCT = 105 };

/* What reports point into, and bench_write needs. */
struct bench_state {
    struct ek_kernels  table; /* of composites */
    struct row_list    list;
    struct gbench_row *timed;
};

int bench_list(const struct bench_options *o, FILE *out)
{
    struct row_list list;
    const int       bad = rows_select(o, &list);
    for (size_t i = 0; !bad && i < list.count; i++) fprintf(out, "%s\n", list.rows[i].name);
    rows_drop(&list);
    return bad;
}

static double rate_of(double amount, const struct gbench_row *g)
{
    return amount / (g->samples[g->sample_count / 2] * 1e-9);
}

/* The fastest way to read, from memory and from cache, and the arithmetic of each kind. */
struct roofs {
    struct row *read[2], *peak_f32, *peak_i8; /* read[cold] */
    double      read_rate[2], peak_f32_rate, peak_i8_rate;
};

static void raise_roof(struct row **best, double *best_rate, struct row *r, double rate)
{
    if (*best && rate <= *best_rate) return;
    *best = r, *best_rate = rate;
}

static void find_roofs(struct row *r, const struct gbench_row *g, struct roofs *out)
{
    struct roofs *at = &out[r->thread_index];
    if (r->kind == ROW_READ)
        raise_roof(&at->read[r->cold], &at->read_rate[r->cold], r, rate_of(g->bytes, g));
    else if (r->k->op == EK_OP_peak)
        raise_roof(&at->peak_f32, &at->peak_f32_rate, r, rate_of(g->ops, g));
    else
        raise_roof(&at->peak_i8, &at->peak_i8_rate, r, rate_of(g->ops, g));
}

/* The roof that takes longer binds. */
static void bind_roof(struct row *r, struct gbench_row *g, const struct roofs *roofs)
{
    const struct roofs *at       = &roofs[r->thread_index];
    const int           is_i8    = r->k && !strcmp(ek_op_info(r->k->op)->act, "i8");
    const double        reading  = g->bytes / at->read_rate[r->cold];
    const double        counting = g->ops / (is_i8 ? at->peak_i8_rate : at->peak_f32_rate);
    const int           memory   = reading >= counting;
    r->roof                      = memory ? at->read[r->cold] : is_i8 ? at->peak_i8 : at->peak_f32;
    g->roof                      = row_roof;
    g->label = memory ? (r->cold ? "memory" : "cache") : is_i8 ? "int8 dot" : "fma";
}

static struct bench_result result_of(const struct row *r, const struct gbench_row *g)
{
    const size_t n = g->sample_count;
    if (!n) return (struct bench_result){.name = r->name};
    return (struct bench_result){.name             = r->name,
                                 .median           = g->samples[n / 2],
                                 .p10              = g->samples[n / 10],
                                 .p90              = g->samples[n - 1 - n / 10],
                                 .bytes_per_second = rate_of(g->bytes, g),
                                 .flops            = rate_of(g->ops, g),
                                 .roofline_pct     = g->roofline_pct,
                                 .roof             = g->label};
}

static void show_progress(void *user, size_t done, size_t total)
{
    enum { WIDTH = 40 };
    (void)user;
    const size_t full = total ? done * WIDTH / total : 0;
    fprintf(stderr, "\r[%-*.*s] %zu/%zu", WIDTH, (int)full,
            "########################################", done, total);
    if (done >= total) fputc('\n', stderr);
}

static void write_context(const struct bench_options *o, const struct topology *t,
                          const struct arena *a)
{
    char text[64];
    snprintf(text, sizeof text, "%zu", a->bytes);
    gbench_context("ek_cold_bytes", text);
    gbench_context("ek_huge_pages", a->huge ? "transparent" : "no");
    gbench_context("ek_cpu", t->model);
    gbench_context("ek_preset", o->preset);
    gbench_context("ek_peer", peer_description());
}

/* Pools of every thread count asked for, pinned. */
static int start_pools(const struct bench_options *o, const struct topology *t,
                       struct threads *pools)
{
    for (size_t i = 0; i < o->thread_count; i++)
        if (threads_start(&pools[i], o->threads[i],
                          o->threads[i] <= t->perf_cores ? t->cpus : NULL)) {
            fprintf(stderr, "ek bench: cannot start %zu pinned threads\n", o->threads[i]);
            return -1;
        }
    return 0;
}

/* Roofs first: which way to read is best decides what every other row is held against. */
static int time_rows(const struct bench_options *o, struct bench_report *out)
{
    struct row_list   *list  = &out->state->list;
    struct gbench_row *timed = calloc(list->count, sizeof *timed);
    struct roofs       roofs[BENCH_THREADS_MAX];
    size_t             first = 0; /* row that is no roof */
    memset(roofs, 0, sizeof roofs);
    out->state->timed = timed;
    out->rows         = calloc(list->count, sizeof *out->rows);
    out->count        = list->count;
    if (!timed || !out->rows) {
        fputs("ek bench: out of memory\n", stderr);
        return -1;
    }
    for (size_t i = 0; i < list->count; i++) {
        timed[i] = (struct gbench_row){.name  = list->rows[i].name,
                                       .call  = row_call,
                                       .ctx   = &list->rows[i],
                                       .bytes = row_bytes(&list->rows[i]),
                                       .ops   = row_ops(&list->rows[i])};
        first += list->rows[i].kind == ROW_READ || list->rows[i].kind == ROW_PEAK;
    }
    const struct gbench_options g   = {.min_time    = o->min_time,
                                       .repetitions = o->repetitions,
                                       .progress    = isatty(STDERR_FILENO) ? show_progress : NULL};
    int                         bad = gbench_run(timed, first, &g);
    for (size_t i = 0; !bad && i < first; i++) find_roofs(&list->rows[i], &timed[i], roofs);
    for (size_t i = first; !bad && i < list->count; i++)
        bind_roof(&list->rows[i], &timed[i], roofs);
    if (!bad) bad = gbench_run(timed + first, list->count - first, &g);
    if (bad) fputs("ek bench: nothing was timed\n", stderr);
    for (size_t i = 0; !bad && i < list->count; i++) {
        out->rows[i] = result_of(&list->rows[i], &timed[i]);
        out->over += out->rows[i].roofline_pct > OVER_PCT;
    }
    for (size_t i = 0; i < o->thread_count; i++) {
        out->read[i]     = roofs[i].read_rate[1];
        out->peak_f32[i] = roofs[i].peak_f32_rate, out->peak_i8[i] = roofs[i].peak_i8_rate;
    }
    return bad;
}

int bench_run(const struct bench_options *o, const struct topology *t, struct bench_report *out)
{
    struct threads pools[BENCH_THREADS_MAX] = {{0}};
    struct arena   arena;
    *out =
        (struct bench_report){.peer = peer_description(), .state = calloc(1, sizeof *out->state)};
    if (!out->state) {
        fputs("ek bench: out of memory\n", stderr);
        return -1;
    }
    struct row_list *list = &out->state->list;
    (void)ek_kernels_default(&out->state->table); /* rows_select says when it fails */
    if (rows_select(o, list) || !list->count) return -1;
    if (arena_make(&arena, o->memory)) {
        fprintf(stderr, "ek bench: %zu MiB for cold rows: %s\n", o->memory >> 20, strerror(errno));
        return -1;
    }
    write_context(o, t, &arena);
    int bad = start_pools(o, t, pools);
    for (size_t i = 0; !bad && i < list->count; i++)
        bad = row_prepare(list, i, &out->state->table, &pools[list->rows[i].thread_index], &arena);
    if (!bad) bad = time_rows(o, out);
    for (size_t i = 0; i < o->thread_count; i++)
        if (pools[i].tp) threads_stop(&pools[i]);
    arena_drop(&arena);
    return bad;
}

/* A number, or nothing where there is none. */
static void write_cell(FILE *f, double v)
{
    if (v > 0)
        fprintf(f, ",%.6g", v);
    else
        fputc(',', f);
}

static int write_csv(const struct bench_report *r, const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f) return -1;
    fputs("name,median_ns,p10_ns,p90_ns,bytes_per_second,flops,roofline_pct,roof\n", f);
    for (size_t i = 0; i < r->count; i++) {
        const struct bench_result *b = &r->rows[i];
        fputs(b->name, f);
        write_cell(f, b->median), write_cell(f, b->p10), write_cell(f, b->p90);
        write_cell(f, b->bytes_per_second), write_cell(f, b->flops), write_cell(f, b->roofline_pct);
        fprintf(f, ",%s\n", b->roof ? b->roof : "");
    }
    const int bad = ferror(f);
    return fclose(f) || bad ? -1 : 0;
}

int bench_write(const struct bench_report *r, int csv, const char *path)
{
    errno = 0;
    if (!(csv ? write_csv(r, path) : gbench_write_json(r->state->timed, r->count, path))) return 0;
    fprintf(stderr, "ek bench: %s: %s\n", path, errno ? strerror(errno) : "cannot write");
    return -1;
}

void bench_drop(struct bench_report *r)
{
    if (r->state) rows_drop(&r->state->list), free(r->state->timed);
    free(r->rows), free(r->state);
    *r = (struct bench_report){0};
}
