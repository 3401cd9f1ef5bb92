/* SPDX-License-Identifier: Apache-2.0 */
/* tools/session_args.h - what every command that runs a model takes, and what it opens with it. */
#ifndef EK_TOOLS_SESSION_ARGS_H
#define EK_TOOLS_SESSION_ARGS_H
#include "model/clock.h"
#include "model/model.h"
#include "tools/args.h"
#include "tools/head_log.h"
#include "tools/pool.h"
#include "tools/topology.h"

struct head_args {
    const char *router, *log;
    double      threshold;
    int         mode, verify; /* mode: position in HEAD_NAMES, an enum head_mode */
};

#define HEAD_ARGS_DEFAULT                                                                          \
    {                                                                                              \
        .threshold = 0.5                                                                           \
    }

struct session_args {
    uint64_t             made_for; /* as in model_options */
    const char          *model, *lobotomy, *sparse, *predictor;
    const unsigned char *skip; /* as in session_options */
    tap_fn              *tap;
    void                *tap_self;
    size_t               threads, context, batch, sinks, weight_cache; /* weight_cache: MiB */
    int                  kv, act, verbose; /* kv, act: positions in KV_NAMES, ACT_NAMES */
    struct head_args     head;
};

#define KV_NAMES   "f16|bf16|f32|i8"
#define ACT_NAMES  "auto|i8|f32"
#define HEAD_NAMES "full|sliced|certified|router"

/* Files that change the plan of a model. */
#define PLAN_ARGS(cuts_, sparse_, predictor_)                                                      \
    {.names = "--lobotomy",                                                                        \
     .value = "FILE",                                                                              \
     .kind  = ARG_TEXT,                                                                            \
     .to    = &(cuts_),                                                                            \
     .help  = "leave out the blocks that a file of ek ablate lists"},                               \
        {.names = "--sparse",                                                                      \
         .value = "FILE",                                                                          \
         .kind  = ARG_TEXT,                                                                        \
         .to    = &(sparse_),                                                                      \
         .help  = "leave out what is below the thresholds of ek calibrate;\n"                      \
                  "steps of more than 8 tokens stay whole"},                                        \
    {                                                                                              \
        .names = "--predictor", .value = "FILE", .kind = ARG_TEXT, .to = &(predictor_),            \
        .help = "with --sparse: only neurons that a file of ek train-predictor expects"            \
    }

/* For commands that decode. */
#define WEIGHT_CACHE_ARG(to_)                                                                      \
    {                                                                                              \
        .names = "--weight-cache", .value = "MIB", .kind = ARG_SIZE, .to = &(to_), .least = 1,     \
        .most = 1 << 24,                                                                           \
        .help = "with --sparse on a model of ek convert --neurons: keep so much of\n"              \
                "the MLPs' neurons in memory, read others from the file"                           \
    }

/* Entries of the table of options. a: struct head_args. */
#define HEAD_ARGS(a)                                                                               \
    {.names = "--head",                                                                            \
     .value = HEAD_NAMES,                                                                          \
     .kind  = ARG_CHOICE,                                                                          \
     .to    = &(a).mode,                                                                           \
     .help  = "certified: the same tokens from a 4-bit copy and what it cannot rule out;\n"        \
              "sliced: only the common tokens of --router; router: those, or all\n"                \
              "where the router expects a rare one; default: full"},                                \
        {.names = "--router",                                                                      \
         .value = "DIR",                                                                           \
         .kind  = ARG_TEXT,                                                                        \
         .to    = &(a).router,                                                                     \
         .help  = "what ek train-router wrote"},                                                    \
    {                                                                                              \
        .names = "--router-threshold", .value = "P", .kind = ARG_REAL, .to = &(a).threshold,       \
        .most = 1, .help = "P(rare) above which all tokens are looked at; default: 0.5"            \
    }

/* The same, for commands that run one text: a log of what the head decides. */
#define HEAD_LOG_ARGS(a)                                                                           \
    HEAD_ARGS(a),                                                                                  \
        {.names = "--head-log",                                                                    \
         .value = "FILE",                                                                          \
         .kind  = ARG_TEXT,                                                                        \
         .to    = &(a).log,                                                                        \
         .help  = "a line of JSON for each token: how its logits were found"},                      \
    {                                                                                              \
        .names = "--head-verify", .kind = ARG_FLAG, .to = &(a).verify,                             \
        .help = "run the full head beside --head and tell how often they agree"                    \
    }

/* Entries of the table of options. a: struct session_args. */
#define SESSION_ARGS(a)                                                                            \
    {.names = "-m, --model",                                                                       \
     .value = "PATH",                                                                              \
     .kind  = ARG_TEXT,                                                                            \
     .to    = &(a).model,                                                                          \
     .help  = "the model: a directory (Hugging Face's or ek convert's) or a GGUF file"},            \
        {.names = "-t, --threads",                                                                 \
         .value = "N",                                                                             \
         .kind  = ARG_SIZE,                                                                        \
         .to    = &(a).threads,                                                                    \
         .least = 1,                                                                               \
         .most  = CPUS_MAX,                                                                        \
         .help  = "threads; default: one per usable performance core"},                             \
        {.names = "-c, --ctx",                                                                     \
         .value = "N",                                                                             \
         .kind  = ARG_SIZE,                                                                        \
         .to    = &(a).context,                                                                    \
         .least = 1,                                                                               \
         .most  = 1 << 30,                                                                         \
         .help  = "context in tokens; default: the model's, at most 4096"},                         \
        {.names = "-b, --batch",                                                                   \
         .value = "N",                                                                             \
         .kind  = ARG_SIZE,                                                                        \
         .to    = &(a).batch,                                                                      \
         .least = 1,                                                                               \
         .most  = 1 << 16,                                                                         \
         .help  = "tokens of one prefill step; default: 512; ek ppl: 256,\n"                       \
                  "1 with --sparse"},                                                               \
        {.names = "--kv",                                                                          \
         .value = KV_NAMES,                                                                        \
         .kind  = ARG_CHOICE,                                                                      \
         .to    = &(a).kv,                                                                         \
         .help  = "numbers of the key and value cache; default: f16"},                              \
        {.names = "--act",                                                                         \
         .value = ACT_NAMES,                                                                       \
         .kind  = ARG_CHOICE,                                                                      \
         .to    = &(a).act,                                                                        \
         .help  = "how activations enter products; auto: 8 bit for packed weights"},                \
        {.names = "--sinks",                                                                       \
         .value = "N",                                                                             \
         .kind  = ARG_SIZE,                                                                        \
         .to    = &(a).sinks,                                                                      \
         .most  = 1 << 20,                                                                         \
         .help  = "with a sliding window: first tokens that stay visible"},                         \
        PLAN_ARGS((a).lobotomy, (a).sparse, (a).predictor),                                        \
    {                                                                                              \
        .names = "-v, --verbose", .kind = ARG_FLAG, .to = &(a).verbose,                            \
        .help = "say more on stderr"                                                               \
    }

/* Threads, model and session of one command. */
struct runner {
    const char     *command; /* "ek run" */
    struct topology topology;
    struct threads  threads;
    struct model   *model;
    struct session *session;
    struct head_log head;
};

/* The cache format and activation of a choice. */
enum ek_fmt        kv_format(int choice);
enum ek_activation act_kind(int choice);
const char        *act_name(int choice);

/* Each: 0, or the exit status, the error having been printed as one line. */
int runner_open_model(struct runner *r, const char *command, const struct session_args *a);
int runner_open_session(struct runner *r, const struct session_args *a);
/* Pool of count threads, pinned where there are cores enough. */
int runner_threads(const struct runner *r, struct threads *t, size_t count);

void runner_close(struct runner *r);

/* Prints "ek run: line" on stderr; EXIT_RUN. */
int runner_fail(const struct runner *r, const struct error *e);

/* What the weight cache did, one line on stderr; nothing where there is none. */
void weight_cache_print(const struct session *s);

/* Most memory that this process ever had resident, in bytes. */
uint64_t peak_resident(void);
#endif
