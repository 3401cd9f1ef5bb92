/* SPDX-License-Identifier: Apache-2.0 */
/* tools/walk.h - what the commands that train take, and the states of a text that they learn from. */
#ifndef EK_TOOLS_WALK_H
#define EK_TOOLS_WALK_H
#include "model/train.h"
#include "tools/evaluate.h"

struct train_args {
    size_t   epochs, batch, patience;
    double   rate;
    uint64_t seed;
};
#define TRAIN_DEFAULTS                                                                             \
    {                                                                                              \
        .epochs = 12, .batch = 128, .patience = 3, .rate = 2e-3, .seed = 1                         \
    }
enum { TRAIN_CHUNKS = 64 };

/* Entries of the table of options. a: struct train_args. */
#define TRAIN_ARGS(a)                                                                              \
    {.names = "--epochs",                                                                          \
     .value = "N",                                                                                 \
     .kind  = ARG_SIZE,                                                                            \
     .to    = &(a).epochs,                                                                         \
     .least = 1,                                                                                   \
     .most  = 1000,                                                                                \
     .help  = "times over the text at most; default: 12"},                                          \
        {.names = "--patience",                                                                    \
         .value = "N",                                                                             \
         .kind  = ARG_SIZE,                                                                        \
         .to    = &(a).patience,                                                                   \
         .least = 1,                                                                               \
         .most  = 1000,                                                                            \
         .help  = "epochs without gain on held-out tokens before the end; default: 3"},             \
        {.names = "--lr",                                                                          \
         .value = "X",                                                                             \
         .kind  = ARG_REAL,                                                                        \
         .to    = &(a).rate,                                                                       \
         .most  = 10,                                                                              \
         .help  = "highest learning rate; default: 0.002"},                                         \
        {.names = "--rows",                                                                        \
         .value = "N",                                                                             \
         .kind  = ARG_SIZE,                                                                        \
         .to    = &(a).batch,                                                                      \
         .least = 1,                                                                               \
         .most  = 4096,                                                                            \
         .help  = "tokens of one step of training; default: 128"},                                  \
    {                                                                                              \
        .names = "--seed", .value = "N", .kind = ARG_U64, .to = &(a).seed,                         \
        .help = "of first weights and order; the same gives the same bytes; default: 1"            \
    }

/* How many of `rows` are learnt; of the others the first half, rounded up, says when to stop and the
 * second is what figures are of. */
struct parts {
    size_t learn, stop, test;
};
ek_status parts_of(size_t rows, struct parts *p, struct error *e);

/* Network and schedule for these arguments; o has widths, activation, weights and threads. t->net
 * is to be closed, whatever is returned. */
ek_status train_net(struct training *t, struct net_options *o, const struct train_args *a,
                    const struct parts *p, struct error *e);

/* Memory of a file beside `beside` that has no name any more: what exceeds memory goes there. */
void *spill(const char *beside, size_t bytes, struct error *e);
void  spill_drop(void *p, size_t bytes);

/* Called behind each step: tokens [first, first + n) of a window that ends at `end`. */
typedef ek_status walk_fn(void *self, size_t first, size_t n, size_t end, const float *logits,
                          struct error *e);

/* All tokens of the windows through the runner's session. */
ek_status walk_text(const struct evaluation *v, enum logits_wanted wanted, walk_fn *after,
                    void *self, struct error *e);
#endif
