/* SPDX-License-Identifier: Apache-2.0 */
/* model/matrices.h - float matrices of safetensors files beside a model: of routers, predictors. */
#ifndef EK_MODEL_MATRICES_H
#define EK_MODEL_MATRICES_H
#include "ek/formats.h"
#include "model/error.h"
#include "model/safetensors.h"

/** The format of a safetensors type: F32, F16 or BF16; EK_FMT_COUNT for another. */
enum ek_fmt matrix_format(const char *dtype);

/**
 * A copy of a tensor of one or two dimensions (one: n = 1), 64-byte aligned; free_const(w->data).
 *
 * Returns  EK_OK; EK_E_UNSUPPORTED for another type; EK_E_FORMAT for an empty one, other dimensions
 *          or a value that is not finite; EK_E_NOMEM. */
ek_status matrix_copy(struct ek_weights *w, const struct safetensors_entry *t, const char *path,
                      struct error *e);

/** Frees what is const only to those who read it. */
void free_const(const void *memory);

/** A tensor to be written. fmt: f32, f16 or bf16; dims 1: [k], 2: [n][k]. */
struct matrix {
    char        name[64];
    enum ek_fmt fmt;
    size_t      dims, n, k;
    const void *data;
};

/** Writes a file, whole or not at all. metadata: an object of strings, or NULL; stays the caller's. */
ek_status matrices_write(const char *path, const struct matrix *list, size_t count,
                         json_t *metadata, struct error *e);
#endif
