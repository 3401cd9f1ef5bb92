/* SPDX-License-Identifier: Apache-2.0 */
/* tools/evaluate.h - a text on its way through a model: likelihoods, predictions kept, or held
 * against kept ones. */
#ifndef EK_TOOLS_EVALUATE_H
#define EK_TOOLS_EVALUATE_H
#include "tools/ppl_report.h"
#include "tools/session_args.h"

struct candidate;

/* What every command that reads a text with a model takes. */
struct evaluation_args {
    struct session_args session;
    const char         *file, *out;
    size_t              chunks;
};

/* Entries of the table of options. a: struct evaluation_args. */
#define EVALUATION_ARGS(a, chunks_help, out_help)                                                  \
    SESSION_ARGS((a).session),                                                                     \
        {.names = "-f, --file",                                                                    \
         .value = "FILE",                                                                          \
         .kind  = ARG_TEXT,                                                                        \
         .to    = &(a).file,                                                                       \
         .help  = "the text; - for standard input"},                                                \
        {.names = "--chunks",                                                                      \
         .value = "N",                                                                             \
         .kind  = ARG_SIZE,                                                                        \
         .to    = &(a).chunks,                                                                     \
         .least = 1,                                                                               \
         .help  = (chunks_help)},                                                                   \
    {                                                                                              \
        .names = "--out", .value = "FILE", .kind = ARG_TEXT, .to = &(a).out, .help = (out_help)    \
    }

/* Parses; contexts are 512 tokens and batches 256 unless given. ARGS_GO, or the exit status. */
int evaluation_parse(struct evaluation_args *a, const struct arg_command *c, const struct arg *list,
                     size_t count, int argc, char **argv);

struct evaluation {
    struct protocol   protocol; /* set before it is opened                   */
    const char       *label;    /* of the bar that shows how far it is; or NULL */
    struct runner    *runner;
    int32_t          *ids;
    size_t            count, windows, vocab;
    int               bos;
    struct kl_header  header; /* of what is written, or must be in the base */
    struct kl_writer *writer; /* set for a run that keeps its predictions   */
    struct kl_base   *base;   /* set for runs that are compared             */
    struct ppl_report report; /* of the last run                            */
    /* rows being scored */
    const float      *logits;
    size_t            first; /* id that row 0 predicts         */
    uint64_t          done;  /* positions before row 0         */
    double           *nll;   /* [batch]                        */
    struct kl_point  *points;
    unsigned char    *records;
    struct candidate *scratch;
};

/* Reads the text ("-": standard input) and cuts it as the protocol says; the first `chunks` windows,
 * or all for 0. top: predictions kept exactly, 0 for the usual. r has its model open. */
ek_status evaluation_open(struct evaluation *p, struct runner *r, const char *file, size_t chunks,
                          size_t top, struct error *e);

/* Called after each window with the number of those that are done. */
typedef void evaluated_fn(const struct evaluation *p, size_t done);

/* The windows through the runner's session; may be run again. A writer is finished with it. */
ek_status evaluation_run(struct evaluation *p, evaluated_fn *after, struct error *e);
/* The same, and what was predicted becomes the base that later runs are compared with. It is kept in a
 * file beside `beside` that is removed before this returns. */
ek_status evaluation_run_base(struct evaluation *p, const char *beside, struct error *e);
void      evaluation_drop(struct evaluation *p);
#endif
