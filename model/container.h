/* SPDX-License-Identifier: Apache-2.0 */
/* model/container.h - our own model directory: a safetensors file whose packed tensors are U8 and
 * described in its metadata. docs/formats.md, "Container". */
#ifndef EK_MODEL_CONTAINER_H
#define EK_MODEL_CONTAINER_H
#include "model/source.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

/** Is a file with this metadata (may be NULL) ours? EK_E_UNSUPPORTED: of a later version. */
ek_status container_version(const json_t *metadata, const char *file, int *own, struct error *e);

/** Completes t (name, file, data and bytes are set) from its metadata entry: checksum, and for a
 * packed one type, format and shape, checked against its bytes. */
ek_status container_describe(struct tensor *t, const json_t *metadata, int packed, struct error *e);

/* ---- writing ---- */

/** A tensor to be written. */
struct container_tensor {
    const char *name;
    enum ek_fmt fmt;
    int         vector;  /* stored with the shape [k]         */
    int         neurons; /* up and down of n neurons of k elements, in the NEURON layout */
    size_t      n, k;
    size_t      begin, bytes; /* set by container_begin */
    uint64_t    checksum;     /* set by container_put   */
};

/** Sets t->bytes from the rest. */
ek_status container_measure(struct container_tensor *t);

struct container;

/**
 * Starts a directory beside path, which takes its place when all is done.
 *
 * tensors stays the caller's and is put into file order. An existing path is replaced only if it
 * is one of our own directories, or an empty one, or with force. */
ek_status container_begin(struct container **c, const char *path, int force,
                          struct container_tensor *tensors, size_t count, struct error *e);
/** Writes the next bytes of tensor i; pieces but the last are multiples of 8 bytes. */
ek_status container_put(struct container *c, size_t i, const void *data, size_t bytes,
                        struct error *e);
/** Writes a whole further file of the directory. */
ek_status container_file(struct container *c, const char *name, const void *data, size_t bytes,
                         struct error *e);
/** Writes the header, syncs, and puts the directory in its place. */
ek_status container_end(struct container *c, struct error *e);
/** Frees; removes what was not ended. */
void container_close(struct container *c);
#endif
