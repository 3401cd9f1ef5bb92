/* SPDX-License-Identifier: Apache-2.0 */
/* model/safetensors.h - the header of a safetensors file: names, types, shapes, places.
 * Source: huggingface/safetensors, README "Format". */
#ifndef EK_MODEL_SAFETENSORS_H
#define EK_MODEL_SAFETENSORS_H
#include "model/error.h"

#include <jansson.h>
#include <stddef.h>

enum { SAFETENSORS_DIMS = 8 };

struct safetensors_entry {
    const char          *name;
    const char          *dtype; /* "BF16" */
    unsigned             dims;
    size_t               shape[SAFETENSORS_DIMS]; /* outermost first; 1 past dims */
    const unsigned char *data;
    size_t               begin, bytes; /* begin: from the start of the data */
};

struct safetensors {
    json_t                   *root;     /* holds the names */
    const json_t             *metadata; /* object of strings, or NULL */
    struct safetensors_entry *entries;  /* in order of their places */
    size_t                    count;
};

/**
 * Parses a file in memory that outlives s. As the format demands, the tensors cover the data
 * without gap or overlap.
 *
 * Returns  EK_OK; EK_E_FORMAT, EK_E_UNSUPPORTED (a type of unknown size), EK_E_NOMEM. */
ek_status safetensors_parse(struct safetensors *s, const void *data, size_t bytes, const char *path,
                            struct error *e);
void      safetensors_free(struct safetensors *s);
#endif
