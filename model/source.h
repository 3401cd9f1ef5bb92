/* SPDX-License-Identifier: Apache-2.0 */
/* model/source.h - an opened model, whatever it is stored as: its config and its tensors by their
 * Hugging Face names. A directory (Hugging Face's or ours) or one GGUF or llama2.c file. */
#ifndef EK_MODEL_SOURCE_H
#define EK_MODEL_SOURCE_H
#include "ek/formats.h"
#include "ek/pool.h"
#include "model/config.h"
#include "model/error.h"

#include <stddef.h>
#include <stdint.h>

/** Element types as files hold them. PACKED is ours: data lies in the layout of fmt. */
enum tensor_type {
    TENSOR_F32,
    TENSOR_F16,
    TENSOR_BF16,
    TENSOR_Q8_0, /* GGUF blocks, row-major */
    TENSOR_Q4_0,
    TENSOR_Q4_1,
    TENSOR_Q5_0,
    TENSOR_Q4_K,
    TENSOR_Q5_K,
    TENSOR_Q6_K,
    TENSOR_PACKED,
    TENSOR_NEURONS, /* ours: up and down of an MLP in the NEURON layout of fmt */
    TENSOR_TYPES
};

struct tensor {
    const char      *name; /* Hugging Face's: "model.layers.0.self_attn.q_proj.weight"          */
    enum tensor_type type;
    enum ek_fmt      fmt;  /* PACKED; for float types the format of the same name                */
    size_t           n, k; /* rows, columns; a vector has n = 1; NEURONS: neurons, elements of a
                              row. Both >= 1                                                     */
    const void      *data; /* mapped; PACKED: 64-byte aligned, others: at least element-aligned  */
    size_t           bytes;
    uint64_t         checksum; /* in our own directories: as stored; else 0                      */
    const char      *file;     /* where it lies                                                  */
    uint64_t         begin;    /* NEURONS: where in the file                                     */
};

enum source_kind { SOURCE_HF, SOURCE_EK, SOURCE_GGUF, SOURCE_LLAMA2C };

struct source {
    enum source_kind kind;
    char            *path;
    struct config    config;
    struct tensor   *tensors; /* sorted by name, names unique */
    size_t           count;
    uint64_t         bytes; /* of the weight files */
    struct gguf     *gguf;  /* GGUF: for its tokenizer; else NULL */
    void            *own;   /* mappings and strings, source.c's */
};

/**
 * Opens a model and checks everything that can be checked without reading weights: sizes by
 * division, offsets against the file, overlaps, types, shapes against the config.
 *
 * Returns  EK_OK; EK_E_IO, EK_E_FORMAT, EK_E_UNSUPPORTED (names the architecture or type),
 *          EK_E_NOMEM, with *e filled and nothing left open. */
ek_status source_open(struct source **s, const char *path, struct error *e);
void      source_close(struct source *s);

/** The tensor called name, or NULL. */
const struct tensor *source_find(const struct source *s, const char *name);

/** Rows [row0, row1) of any tensor as f32 [row1 - row0][k]. */
ek_status tensor_floats(const struct tensor *t, size_t row0, size_t row1, float *out,
                        struct error *e);

/** The format that keeps a tensor without loss (Q4_0 -> q4g32), or the best below it (Q6_K ->
 * q8g32); *exact (may be NULL) tells which. */
enum ek_fmt tensor_format(const struct tensor *t, int *exact);

/**
 * A tensor as weights for ek_linear, in format fmt.
 *
 * Data that is already in fmt's layout is used in place (mapped); else, where tensor_packs, it is
 * packed into mem, 64-byte aligned, ek_weights_bytes(fmt, n, k) long, by pool (NULL: serially). */
ek_status tensor_weights(const struct tensor *t, enum ek_fmt fmt, const ek_pool *pool, void *mem,
                         struct ek_weights *w, struct error *e);
/** 1 where tensor_weights needs memory for fmt, 0 where the data lies ready. */
int tensor_packs(const struct tensor *t, enum ek_fmt fmt);

/**
 * Rows [row0, row1) of a tensor rounded or carried over into their place in out, the matrix in
 * format fmt. row0 is a multiple of 16 and row1 too or the last: such pieces may run at once.
 *
 * Returns  EK_OK; EK_E_NOMEM; EK_E_FORMAT for a value that is not finite or does not fit. */
ek_status tensor_pack(const struct tensor *t, enum ek_fmt fmt, size_t row0, size_t row1, void *out,
                      struct error *e);

/** Rows [row0, row1) of t as a tensor of their own; row0 a multiple of 16. */
struct tensor tensor_rows(const struct tensor *t, size_t row0, size_t row1);

/** tensor_pack of all rows, split over pool (NULL: serial). */
ek_status tensor_pack_all(const struct tensor *t, enum ek_fmt fmt, const ek_pool *pool, void *out,
                          struct error *e);

/** The name of a type: "Q6_K". */
const char *tensor_type_name(enum tensor_type type);

/** FNV-1a 64 over 8-byte words, the last one filled up with zeros: the checksum of tensors and of
 * whole models. start: CHECKSUM_START, or the checksum of what came before (of whole words). */
#define CHECKSUM_START UINT64_C(0xCBF29CE484222325)
uint64_t checksum64(uint64_t start, const void *data, size_t bytes);
#endif
