/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_speed.c - ek speed: its options. */
#include "tools/ek.h"

#include "tools/session_args.h"
#include "tools/speed.h"
#include "tools/speed_report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ---- options ---- */

static int parse_model(void *to, const char *text)
{
    struct names *n = to;
    if (!*text || n->count == MODELS_MAX) return -1;
    n->v[n->count++] = text;
    return 0;
}

/* "f16,i8" */
static int parse_choices(void *to, const char *text)
{
    struct choices *c = to;
    for (;;) {
        const size_t n  = strcspn(text, ",");
        int          at = 0;
        for (const char *p = c->names;; at++) {
            const size_t length = strcspn(p, "|");
            if (n == length && !memcmp(p, text, n)) break;
            if (!p[length]) return -1;
            p += length + 1;
        }
        if (c->count == CHOICES_MAX) return -1;
        c->v[c->count++] = at;
        if (!text[n]) return 0;
        text += n + 1;
    }
}

static int all_positive(const struct arg_sizes *l, size_t most)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->v[i] < 1 || l->v[i] > most) return 0;
    return 1;
}

/* The message of a usage error, or NULL. */
static const char *impossible(const struct speed_args *a)
{
    const size_t most = 1 << 24;
    if (!a->models.count) return "no model: -m PATH, or EK_MODEL in the environment";
    if (a->threads.count > LANES_MAX) return "-t: at most 16 thread counts";
    if (!all_positive(&a->threads, CPUS_MAX)) return "-t: from 1 to 1024";
    if (!all_positive(&a->batch, 1 << 16)) return "-b: from 1 to 65536";
    for (size_t i = 0; i < a->both.count; i++)
        if (!a->both.first[i] || !a->both.second[i] || a->both.first[i] > most ||
            a->both.second[i] > most)
            return "-pg: two numbers from 1 to 16777216";
    const struct arg_sizes *lists[] = {&a->prompt, &a->generated, &a->depth};
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < lists[i]->count; j++)
            if (lists[i]->v[j] > most) return "-p, -n, -d: at most 16777216";
    return NULL;
}

#define LIST_ARG(names_, value_, to_, help_)                                                       \
    {                                                                                              \
        .names = (names_), .value = (value_), .kind = ARG_PARSE, .to = (to_),                      \
        .parse = arg_sizes_parse, .help = (help_)                                                  \
    }

static int parse(struct speed_args *a, int argc, char **argv)
{
    const struct arg list[] = {
        {.names = "-m, --model",
         .value = "PATH",
         .kind  = ARG_PARSE,
         .to    = &a->models,
         .parse = parse_model,
         .help  = "the model; may be repeated"},
        LIST_ARG("-p, --n-prompt", "N,...", &a->prompt, "prefill N tokens; 0: none; default: 512"),
        LIST_ARG("-n, --n-gen", "N,...", &a->generated, "decode N tokens; 0: none; default: 128"),
        {.names = "-pg, --n-prompt-gen",
         .value = "P,N;...",
         .kind  = ARG_PARSE,
         .to    = &a->both,
         .parse = arg_pairs_parse,
         .help  = "prefill P, then decode N, timed as one"},
        LIST_ARG("-d, --n-depth", "N,...", &a->depth,
                 "tokens in the cache beforehand, not timed; default: 0"),
        LIST_ARG("-t, --threads", "N,...", &a->threads,
                 "threads; default: one per usable performance core"),
        LIST_ARG("-b, --batch", "N,...", &a->batch, "tokens of one prefill step; default: 512"),
        {.names = "-ctk, --kv",
         .value = "F,...",
         .kind  = ARG_PARSE,
         .to    = &a->kv,
         .parse = parse_choices,
         .help  = "numbers of the cache: " KV_NAMES "; default: f16"},
        {.names = "--act",
         .value = "A,...",
         .kind  = ARG_PARSE,
         .to    = &a->act,
         .parse = parse_choices,
         .help  = "activations in products: " ACT_NAMES "; default: auto"},
        {.names = "-r, --repetitions",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &a->repetitions,
         .least = 1,
         .most  = REPETITIONS_MAX,
         .help  = "of each test, thread counts taking turns; default: 5"},
        {.names = "-o, --output",
         .value = "md|json|csv|jsonl",
         .kind  = ARG_CHOICE,
         .to    = &a->format,
         .help  = "default: md"},
        {.names = "--out",
         .value = "FILE",
         .kind  = ARG_TEXT,
         .to    = &a->out,
         .help  = "also write all results with machine and build as JSON"},
        {.names = "--memory",
         .value = "MIB",
         .kind  = ARG_SIZE,
         .to    = &a->memory,
         .least = 256,
         .most  = 1 << 20,
         .help  = "buffer whose reading is the roof; default: what a token reads, at least 256"},
        {.names = "--delay",
         .value = "S",
         .kind  = ARG_REAL,
         .to    = &a->delay,
         .most  = 3600,
         .help  = "seconds of rest before each test"},
        {.names = "--no-warmup",
         .kind  = ARG_FLAG,
         .to    = &a->no_warmup,
         .help  = "time the first run too"},
        PLAN_ARGS(a->lobotomy, a->sparse, a->predictor),
        HEAD_ARGS(a->head),
        WEIGHT_CACHE_ARG(a->weight_cache),
        {.names = "-v, --verbose",
         .kind  = ARG_FLAG,
         .to    = &a->verbose,
         .help  = "say more on stderr"},
    };
    const struct arg_command c = {
        .name  = "ek speed",
        .usage = "-m MODEL [OPTIONS]",
        .about = "Times prefill and decoding of fixed random tokens; no tokenizer, no sampling.\n"
                 "Lists: 1,2  1-4  0-4096+1024  16-128*2; every combination is run.",
        .env   = "EK_"};
    const int status = args_parse(&c, list, sizeof list / sizeof *list, argc, argv);
    if (status != ARGS_GO) return status;
    const char *wrong = impossible(a);
    if (wrong) fprintf(stderr, "ek speed: %s\n", wrong);
    return wrong ? EXIT_USAGE : ARGS_GO;
}

static void set_default(struct arg_sizes *l, size_t v)
{
    if (!l->count) l->v[l->count++] = v;
}

static void set_defaults(struct speed_args *a, const struct topology *t)
{
    enum { PROMPT = 512, GENERATED = 128, REPETITIONS = 5 };
    if (!a->prompt.count && !a->generated.count && !a->both.count) {
        set_default(&a->prompt, PROMPT);
        set_default(&a->generated, GENERATED);
    }
    set_default(&a->depth, 0);
    set_default(&a->threads, t->threads);
    set_default(&a->batch, SESSION_BATCH);
    if (!a->kv.count) a->kv.v[a->kv.count++] = 0;
    if (!a->act.count) a->act.v[a->act.count++] = 0;
    if (!a->repetitions) a->repetitions = REPETITIONS;
}

int cmd_speed(int argc, char **argv)
{
    struct speed_args a = {
        .kv = {.names = KV_NAMES}, .act = {.names = ACT_NAMES}, .head = HEAD_ARGS_DEFAULT};
    struct topology t;
    const int       status = parse(&a, argc, argv);
    if (status != ARGS_GO) return status;
    if (topology_read(&t, "", NULL)) {
        fprintf(stderr, "ek speed: topology: %s\n", strerror(errno));
        return EXIT_RUN;
    }
    set_defaults(&a, &t);
    return speed_run(&a, &t);
}
