/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/bench.h - times registered kernels against the machine's measured roofs. */
#ifndef EK_BENCH_H
#define EK_BENCH_H
#include "ek/kernels.h"

#include <regex.h>
#include <stddef.h>
#include <stdio.h>

struct topology;

enum { BENCH_THREADS_MAX = 8 };

struct bench_options {
    const char *filter; /* POSIX extended regular expression, or NULL       */
    const char *isa;    /* level, level_variant, "all" or NULL: as dispatch */
    const char *preset; /* or "all"                                         */
    size_t      threads[BENCH_THREADS_MAX], thread_count;
    int         cold, hot; /* both 0: as the preset says                                      */
    int         quick;
    double      min_time;
    size_t      repetitions;
    size_t      memory; /* bytes that cold rows rotate through, at most                       */
};

/* Names of the rows that the options select, one a line. 0, or -1 with a message on stderr. */
int bench_list(const struct bench_options *o, FILE *out);

/* One timed row, for reports. */
struct bench_result {
    const char *name;
    double      median, p10, p90; /* ns */
    double      bytes_per_second, flops;
    double      roofline_pct; /* 0: no roof */
    const char *roof;
};

struct bench_report {
    struct bench_result *rows;
    size_t               count;
    double               read[BENCH_THREADS_MAX]; /* bytes/s, by position in options.threads */
    double               peak_f32[BENCH_THREADS_MAX], peak_i8[BENCH_THREADS_MAX];
    size_t               over; /* rows above 105 % of their roof                              */
    const char          *peer; /* what peer rows run, or why there are none                   */
    struct bench_state  *state;
};

/* Runs; keeps what bench_write needs until bench_drop. 0, or -1 with a message on stderr. */
int  bench_run(const struct bench_options *o, const struct topology *t, struct bench_report *out);
int  bench_write(const struct bench_report *r, int csv, const char *path);
void bench_drop(struct bench_report *r);

/* Medians of r against those in a Google Benchmark JSON file: rows slower by more than pct percent
 * beyond both runs' spread are printed. Their number, or -1 with a message on stderr. */
int bench_compare(const struct bench_report *r, const char *path, double pct, FILE *out);
#endif
