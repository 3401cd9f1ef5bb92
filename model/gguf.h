/* SPDX-License-Identifier: Apache-2.0 */
/* model/gguf.h - a GGUF v2 or v3 file: metadata and tensor table, mapped.
 * Source: ggml's docs/gguf.md. */
#ifndef EK_MODEL_GGUF_H
#define EK_MODEL_GGUF_H
#include "model/error.h"
#include "model/file.h"

#include <stddef.h>
#include <stdint.h>

enum gguf_type { /* values as in the file */
                 GGUF_U8,
                 GGUF_I8,
                 GGUF_U16,
                 GGUF_I16,
                 GGUF_U32,
                 GGUF_I32,
                 GGUF_F32,
                 GGUF_BOOL,
                 GGUF_STRING,
                 GGUF_ARRAY,
                 GGUF_U64,
                 GGUF_I64,
                 GGUF_F64,
                 GGUF_TYPES
};

/** Bytes inside the mapping; no '\0' behind them. */
struct gguf_string {
    const char *data;
    size_t      bytes;
};

struct gguf_value {
    struct gguf_string   key;
    enum gguf_type       type;    /* of the value, or ARRAY                                    */
    enum gguf_type       element; /* of an array (no arrays of arrays)                         */
    uint64_t             count;   /* elements of an array, else 1                              */
    const unsigned char *data;    /* the first; strings: u64 length and bytes, one after another */
};

struct gguf_tensor {
    struct gguf_string name;
    uint32_t           type;   /* ggml type number */
    unsigned           dims;   /* 1..4             */
    uint64_t           ne[4];  /* innermost first; 1 past dims */
    uint64_t           offset; /* into the data section */
};

struct gguf {
    struct file          file;
    struct gguf_value   *values;
    size_t               value_count;
    struct gguf_tensor  *tensors;
    size_t               tensor_count;
    uint64_t             alignment;
    const unsigned char *data; /* the data section */
    size_t               data_bytes;
};

/** Parses memory that outlives g; gguf_release frees what that made, not g. */
ek_status gguf_parse(struct gguf *g, const void *data, size_t bytes, const char *path,
                     struct error *e);
void      gguf_release(struct gguf *g);
ek_status gguf_open(struct gguf **g, const char *path, struct error *e);
void      gguf_close(struct gguf *g);
/** Bytes of one element in an array; 0 for strings and arrays. */
size_t gguf_type_bytes(enum gguf_type t);

const struct gguf_value *gguf_find(const struct gguf *g, const char *key);
/** Numbers of any integer or float type; 0 and *out untouched when missing or of another kind. */
int gguf_uint(const struct gguf *g, const char *key, uint64_t *out);
int gguf_float(const struct gguf *g, const char *key, double *out);
int gguf_text(const struct gguf *g, const char *key, struct gguf_string *out);
/** Walks an array of strings: next string at *cursor (start: v->data). */
struct gguf_string gguf_next_string(const unsigned char **cursor);
#endif
