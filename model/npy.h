/* SPDX-License-Identifier: Apache-2.0 */
/* model/npy.h - arrays as NumPy saves them: ids of common tokens, reference values of tests. */
#ifndef EK_MODEL_NPY_H
#define EK_MODEL_NPY_H
#include "model/error.h"

#include <stddef.h>
#include <stdint.h>

enum { NPY_DIMS = 8 };

struct npy {
    size_t  dims, shape[NPY_DIMS];
    size_t  count; /* product of the shape; 1 for a scalar */
    int     whole; /* the file holds integers; beyond 2^53 data rounds them */
    double *data;
};

/**
 * Reads .npy bytes (versions 1 to 3): little-endian float32, float64, int32 or int64 in C
 * order.
 *
 * Returns  EK_OK; EK_E_FORMAT for what is malformed, cut off or followed by something;
 *          EK_E_UNSUPPORTED for other element types, Fortran order, versions and more than NPY_DIMS
 *          dimensions; EK_E_NOMEM. Then *a is empty. path is for messages. */
ek_status npy_parse(struct npy *a, const char *path, const void *data, size_t bytes,
                    struct error *e);

/** The same from a file; also EK_E_IO. */
ek_status npy_read(struct npy *a, const char *path, struct error *e);

void npy_free(struct npy *a);

/** Writes a vector of ids, each < 2^31, as int32. */
ek_status npy_write_ids(const char *path, const uint32_t *ids, size_t count, struct error *e);
#endif
