/* SPDX-License-Identifier: Apache-2.0 */
/* tools/speed_report.h - one measured test of ek speed, and how it is written: llama-bench's columns
 * and keys, ours at the end. */
#ifndef EK_TOOLS_SPEED_REPORT_H
#define EK_TOOLS_SPEED_REPORT_H
#include "model/model.h"
#include "model/tier.h"
#include "tools/topology.h"

#include <jansson.h>

enum { REPETITIONS_MAX = 100 };

struct speed_test {
    size_t prompt, generated, depth;
};

/* What is the same for all tests of one model. */
struct speed_model {
    struct model_facts facts;
    const char        *cpu;
    double             first_token_ms;
    uint64_t           peak_rss;
};

struct speed_result {
    struct speed_test  test;
    size_t             threads, batch, repetitions;
    const char        *kv, *act;
    char               time[32];
    uint64_t           kv_bytes;
    double             kv_read; /* bytes of cache read for one token, mean         */
    double             head;    /* bytes that a certified head read for a token, or 0 */
    double             head_s[REPETITIONS_MAX]; /* of each repetition, in the head */
    double             neurons; /* share that sparse MLPs took                     */
    double             gates;   /* share that was computed where predictors are     */
    struct tier_counts cache;   /* of a weight cache, all repetitions; capacity 0: none */
    double             ns[REPETITIONS_MAX];   /* one repetition                                  */
    double             read[REPETITIONS_MAX]; /* bytes per second read beside it; 0: not measured */
    const char        *note;                  /* why there is no share of the roof, or NULL      */
};

enum speed_format { SPEED_MD, SPEED_JSON, SPEED_CSV, SPEED_JSONL };

/* Columns that show only where they vary. */
struct speed_columns {
    int batch, kv, act;
};

/* "pp512", "tg128", "pp512+tg128", with " @ d4096" */
void speed_test_name(const struct speed_test *t, char *out, size_t size);

/* That one decoded token reads: weights by what was taken of them, and cache. */
double speed_bytes_per_token(const struct speed_result *r, const struct speed_model *m);

/* Share of the read bandwidth, in percent, median over repetitions; 0: none. */
double speed_roofline(const struct speed_result *r, const struct speed_model *m);

/* One result in all keys; NULL when memory runs out. */
json_t *speed_json(const struct speed_result *r, const struct speed_model *m);

void speed_print_md_head(const struct speed_columns *c);
void speed_print_md(const struct speed_columns *c, const struct speed_result *r,
                    const struct speed_model *m);
/* head: print the names of the columns first. */
int speed_print_csv(json_t *result, int head);
#endif
