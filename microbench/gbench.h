/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/gbench.h - Google Benchmark for C: timing, repetitions in random order, its JSON. */
#ifndef EK_GBENCH_H
#define EK_GBENCH_H
#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { GBENCH_REPETITIONS_MAX = 64 };

struct gbench_row {
    const char *name;
    void (*call)(void *ctx); /* the operation once */
    void  *ctx;
    double bytes, ops; /* of one call; 0: not counted */
    /* Asked before and after every repetition, untimed: seconds that one call would take at the machine's
     * limit as it is now. NULL: the row has no roof. */
    double (*roof)(void *ctx);
    const char *label; /* of the roof */
    /* results of gbench_run: nanoseconds per call, one sample per repetition, in order of size;
     * median over repetitions of the share of the roof measured beside each, 0: none */
    double samples[GBENCH_REPETITIONS_MAX];
    size_t sample_count;
    double roofline_pct;
};

struct gbench_options {
    double min_time;    /* seconds of one repetition, at least */
    size_t repetitions; /* 1..GBENCH_REPETITIONS_MAX           */
    /* told after every repetition, may be NULL */
    void (*progress)(void *user, size_t done, size_t total);
    void *user;
};

/* Times all rows, their repetitions interleaved at random. 0, or -1 when nothing ran. Rows of
 * several calls may be written together. */
int gbench_run(struct gbench_row *rows, size_t count, const struct gbench_options *o);

/* A key of the "context" object. */
void gbench_context(const char *key, const char *value);

/* Writes what gbench_run measured as Google Benchmark JSON, with the counters bytes_per_second,
 * flops and roofline_pct and the label. 0, or -1 when path cannot be written. */
int gbench_write_json(const struct gbench_row *rows, size_t count, const char *path);

#ifdef __cplusplus
}
#endif
#endif
