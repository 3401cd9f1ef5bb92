/* SPDX-License-Identifier: Apache-2.0 */
/* model/neurons.h - matrices made into neurons. */
#ifndef EK_MODEL_NEURONS_H
#define EK_MODEL_NEURONS_H
#include "ek/sparse.h"

/** Where the rows of a matrix come from: rows [row0, row1) as floats. */
struct rows_reader {
    ek_status (*read)(const void *self, size_t row0, size_t row1, float *out);
    const void *self;
    size_t      first; /* the matrix' row 0 among those that read knows */
};

/**
 * Packs every neuron.
 *
 * Shapes   to: what it becomes; its data is not looked at. rows = 2: up [n][d], down [d][n]; rows = 1, up
 *          NULL: the columns of down
 * Memory   data: ek_neurons_bytes; takes [d][n] floats while it works
 * Threads  split over pool (NULL: serial); the readers must bear it
 * Returns  EK_OK; EK_E_NOMEM; EK_E_FORMAT for a value that is not finite or does not fit; what the
 *          readers return. */
ek_status neurons_pack(const struct ek_neurons *to, void *data, const struct rows_reader *up,
                       const struct rows_reader *down, const ek_pool *pool);
#endif
