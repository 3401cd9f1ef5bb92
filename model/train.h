/* SPDX-License-Identifier: Apache-2.0 */
/* model/train.h - a network's epochs: shuffled batches, a rate that rises and falls, an end when
 * held-out rows gain nothing any more. */
#ifndef EK_MODEL_TRAIN_H
#define EK_MODEL_TRAIN_H
#include "model/net.h"

/** Rows of a data set by their numbers, into inputs and answers of a network. */
typedef void train_fill_fn(void *self, const uint32_t *rows, size_t m, float *inputs,
                           float *answers);

struct training {
    struct net    *net;
    size_t         batch;      /* rows of a step, at most the network's      */
    size_t         rows, held; /* rows [0, rows) are learnt, [rows, rows + held) held out */
    train_fill_fn *fill;
    void          *self;
    size_t         epochs;   /* at most                                     */
    size_t         patience; /* epochs without a gain before the end        */
    double         rate;     /* the highest                                 */
    double         warmup;   /* share of all steps in which it rises; then it falls to 0 */
    uint64_t       seed;     /* of the order                                */
    /* out */
    size_t ran, best_epoch; /* from 1; 0: the first weights were the best */
    double loss;            /* of held-out rows, per row, at its best     */
};

/** Trains; the network has the weights that did best on the held-out rows then. The same bits for
 * any pool. */
ek_status train(struct training *t, struct error *e);
#endif
