/* SPDX-License-Identifier: Apache-2.0 */
/* model/ggml_blocks.h - the quantised blocks of GGUF files: sizes, values, codes.
 * Source: ggml's ggml-common.h and dequantize_row_*, read back by the gguf Python package. */
#ifndef EK_MODEL_GGML_BLOCKS_H
#define EK_MODEL_GGML_BLOCKS_H
#include "model/source.h"

#include <stddef.h>
#include <stdint.h>

/** The type of a ggml type number; EK_E_UNSUPPORTED when it is not read. */
ek_status ggml_type(uint32_t number, enum tensor_type *type);
/** The name of a ggml type number for messages. */
const char *ggml_type_name(uint32_t number);

/** Columns and bytes of one block; 1 and the element for float types. */
size_t ggml_block_columns(enum tensor_type type);
size_t ggml_block_bytes(enum tensor_type type);

/** k values, a multiple of the block's columns. */
void ggml_decode(enum tensor_type type, const unsigned char *data, size_t k, float *out);

/** The codes of one row as ek_weights_pack takes them, at the start of c's arrays. Only for types
 * that carry over without loss: Q8_0, Q4_0, Q4_1, Q4_K. */
void ggml_codes(enum tensor_type type, const unsigned char *data, size_t k,
                const struct ek_codes *c);
#endif
