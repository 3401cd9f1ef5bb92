/* SPDX-License-Identifier: Apache-2.0 */
/* tools/speed.h - what ek speed is asked for, and its run. */
#ifndef EK_TOOLS_SPEED_H
#define EK_TOOLS_SPEED_H
#include "tools/args.h"
#include "tools/session_args.h"
#include "tools/topology.h"

enum { MODELS_MAX = 16, LANES_MAX = 16, CHOICES_MAX = 4 };

struct names {
    const char *v[MODELS_MAX];
    size_t      count;
};

/* Positions in KV_NAMES or ACT_NAMES. */
struct choices {
    const char *names;
    int         v[CHOICES_MAX];
    size_t      count;
};

struct speed_args {
    struct names     models;
    struct arg_sizes prompt, generated, depth, threads, batch;
    struct arg_pairs both;
    struct choices   kv, act;
    size_t           repetitions, memory, weight_cache; /* the latter two: MiB */
    double           delay;
    int              format, no_warmup, verbose;
    struct head_args head;
    const char      *out, *lobotomy, *sparse, *predictor;
};

/* Times everything asked for and prints it. The exit status. */
int speed_run(const struct speed_args *a, const struct topology *t);
#endif
