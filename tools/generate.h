/* SPDX-License-Identifier: Apache-2.0 */
/* tools/generate.h - prompt in, tokens out one by one: what run and chat share. */
#ifndef EK_TOOLS_GENERATE_H
#define EK_TOOLS_GENERATE_H
#include "model/model.h"
#include "model/sampler.h"
#include "tools/args.h"
#include "tools/session_args.h"

/* ---- options ---- */

/* As given; what was not given (-1, SIZE_MAX) comes from generation_config or from llama.cpp's
 * habits. */
struct sampling_args {
    double   temperature, top_p, min_p, penalty;
    size_t   top_k, window;
    uint64_t seed;
    int      seeded;
};
extern const struct sampling_args sampling_unset;

/* "123", or "-1" for a random one. to: struct sampling_args. */
int sampling_parse_seed(void *to, const char *text);

/* Entries of the table of options. a: struct sampling_args. */
#define SAMPLING_ARGS(a)                                                                           \
    {.names = "-s, --seed",                                                                        \
     .value = "N",                                                                                 \
     .kind  = ARG_PARSE,                                                                           \
     .to    = &(a),                                                                                \
     .parse = sampling_parse_seed,                                                                 \
     .help  = "the same seed gives the same text; default: random (-v tells)"},                     \
        {.names = "--temp",                                                                        \
         .value = "T",                                                                             \
         .kind  = ARG_REAL,                                                                        \
         .to    = &(a).temperature,                                                                \
         .most  = 1e6,                                                                             \
         .help  = "temperature; 0: greedy; default: the model's own, or 0.8"},                      \
        {.names = "--top-k",                                                                       \
         .value = "N",                                                                             \
         .kind  = ARG_SIZE,                                                                        \
         .to    = &(a).top_k,                                                                      \
         .most  = 1 << 30,                                                                         \
         .help  = "only the N likeliest; 0: off; default: the model's own, or 40"},                 \
        {.names = "--top-p",                                                                       \
         .value = "P",                                                                             \
         .kind  = ARG_REAL,                                                                        \
         .to    = &(a).top_p,                                                                      \
         .least = 1e-6,                                                                            \
         .most  = 1,                                                                               \
         .help  = "only the likeliest that make up P; 1: off; default: the model's own, or 0.95"},  \
        {.names = "--min-p",                                                                       \
         .value = "P",                                                                             \
         .kind  = ARG_REAL,                                                                        \
         .to    = &(a).min_p,                                                                      \
         .most  = 1,                                                                               \
         .help  = "only those at least P times as likely as the likeliest; default: 0.05"},         \
        {.names = "--repeat-penalty",                                                              \
         .value = "R",                                                                             \
         .kind  = ARG_REAL,                                                                        \
         .to    = &(a).penalty,                                                                    \
         .least = 1e-3,                                                                            \
         .most  = 1e3,                                                                             \
         .help  = "makes recent tokens less likely; 1: off; default: the model's own, or 1"},       \
    {                                                                                              \
        .names = "--repeat-last-n", .value = "N", .kind = ARG_SIZE, .to = &(a).window, .least = 1, \
        .most = 1 << 20, .help = "how many tokens are recent; default: 64"                         \
    }

/* All options decided; a random seed drawn where none was given. */
struct sampler_options sampling_options(const struct sampling_args *a, const struct config *c);

/* ---- generation ---- */

struct stops {
    int32_t ids[EOS_MAX + 4];
    size_t  count;
};
/* Every eos of the config, and the tokenizer's. */
void stops_init(struct stops *s, const struct config *c, const struct tokenizer *t);
void stops_add(struct stops *s, int32_t id);

/* Ctrl-C sets a flag that generate sees; once: a second one kills, as by default. */
void interrupt_catch(int once);
void interrupt_release(void);
int  interrupted(void);

enum reply_end { REPLY_EOS, REPLY_LIMIT, REPLY_CONTEXT, REPLY_INTERRUPTED };
/* "eos", "limit", "context", "interrupted" */
const char *reply_end_name(enum reply_end end);

struct generator {
    struct session         *session;
    const struct tokenizer *tokenizer;
    struct sampler         *sampler;
    struct stops            stops;
    size_t                  batch; /* tokens between looks at the interrupt flag */
    /* Text of one more token; id = -1: what the decoder still held at the end. */
    void (*emit)(void *self, int32_t id, const char *bytes, size_t n);
    void *self;
};

struct reply {
    enum reply_end end;
    size_t         prompt_tokens, tokens;
    double         prefill_s, decode_s; /* decode: from the first token to the last */
    int32_t        pending;             /* last token, not evaluated yet; -1: none      */
};

/* Evaluates ids and generates until a stop, limit tokens (0: none) or the end of the context. On an
 * error r tells how far it came. */
ek_status generate(const struct generator *g, const int32_t *ids, size_t n, size_t limit,
                   struct reply *r, struct error *e);

/* "12 tokens, 15.3 tok/s" and more; what -v and chat print. */
void reply_print(const struct reply *r, const struct session *s, int verbose);
#endif
