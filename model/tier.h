/* SPDX-License-Identifier: Apache-2.0 */
/* model/tier.h - neurons that stay in the file: a cache of them for each layer, under one budget,
 * filled by reads that go around the page cache ("LLM in a flash", arXiv 2312.11514). */
#ifndef EK_MODEL_TIER_H
#define EK_MODEL_TIER_H
#include "ek/sparse.h"
#include "model/error.h"

#include <stddef.h>
#include <stdint.h>

struct tier;
struct tensor;
struct row_source;

/** The stored neurons of one layer. */
struct tier_layer {
    size_t               layer;
    const struct tensor *neurons; /* n, k, fmt, bytes, begin; all layers alike */
};

struct tier_options {
    const char              *path;   /* the file that holds them                                */
    uint64_t                 budget; /* bytes of all caches; what a token needs beyond its layer's
                                        share is read into one further area of at most a layer  */
    const struct tier_layer *layers;
    size_t                   count;
    const struct row_source *source; /* in place of the file, for tests; NULL                  */
};

/** Since tier_open. */
struct tier_counts {
    uint64_t capacity;    /* neurons that each layer's cache holds                              */
    uint64_t hits;        /* neurons asked for that were there                                  */
    uint64_t rows_read;   /* neurons read because they were not, and of prompts                 */
    uint64_t bytes_read;  /* from the file for them, in whole blocks                            */
    uint64_t bytes_moved; /* written to caches and to the area beyond: rows_read neurons        */
    uint64_t requests;
    double   churn;   /* share of the neurons asked for, by lists, that was not there; or 0     */
    double   stall_s; /* time that MLPs waited for it                                           */
    int      direct;  /* 1: around the page cache                                               */
};

/** EK_OK; EK_E_ARG (a budget below one neuron for each layer, layers unlike each other), EK_E_IO,
 * EK_E_NOMEM. */
ek_status tier_open(struct tier **out, const struct tier_options *o, struct error *e);
void      tier_close(struct tier *t);

/**
 * Makes the neurons of a list ready: reads what the layer's cache does not have, and keeps, as far
 * as the capacity allows, the list and what was used last before it.
 *
 * Shapes   list, slots: [count], ascending; slots may be list
 * Memory   w->data and w->n become those of the slots, valid until the next call; w is otherwise
 *          left alone
 * Returns  EK_OK; EK_E_ARG for a layer without neurons; EK_E_IO: tier_error tells, the layer's cache
 *          is empty then. */
ek_status tier_fetch(struct tier *t, size_t layer, const uint32_t *list, size_t count,
                     uint32_t *slots, struct ek_neurons *w);

/** Reads neurons [first, first + count) past the cache, for steps that take all neurons, piece after
 * piece: w->data and w->n become theirs. */
ek_status tier_stream(struct tier *t, size_t layer, size_t first, size_t count,
                      struct ek_neurons *w);

void tier_count(const struct tier *t, struct tier_counts *c);
/** What the last failure was. */
const struct error *tier_error(const struct tier *t);
#endif
