/* SPDX-License-Identifier: Apache-2.0 */
/* model/names.h - the tensors that a config asks for: names and shapes; names of GGUF. */
#ifndef EK_MODEL_NAMES_H
#define EK_MODEL_NAMES_H
#include "model/config.h"

#include <stddef.h>

enum { TENSOR_NAME_MAX = 128 };

/** What a tensor is for: decides its format when a model is converted. */
enum part_role { PART_MATRIX, PART_EMBED, PART_HEAD, PART_NORM, PART_BIAS, PART_NEURONS };

/** Tensors that may lie row-wise in one: q, k, v; gate, up. */
enum part_fuse { FUSE_NONE, FUSE_QKV, FUSE_GATE_UP, FUSE_QKV_BIAS, FUSE_GATE_UP_BIAS };

struct part {
    char           name[TENSOR_NAME_MAX]; /* Hugging Face's                                     */
    enum part_role role;
    enum part_fuse fuse;
    size_t         n, k; /* vectors: 1 x length */
};

/** Calls visit with every tensor of a model in file order, unfused; stops at a status. */
typedef ek_status part_visit(void *self, const struct part *p);
ek_status         parts_visit(const struct config *c, part_visit *visit, void *self);

/** How many parts of a fused tensor lie in one (1, 2 or 3), and the name it then has. */
size_t fuse_parts(enum part_fuse f);
void   fuse_name(enum part_fuse f, const char *first, char out[TENSOR_NAME_MAX]);

/** 1 and the name of the tensor that can stand for it, neuron by neuron, where a part is the up or
 * the down matrix of an MLP. */
int neurons_name(const char *part, char out[TENSOR_NAME_MAX]);

/** The Hugging Face name of a GGUF tensor, or 0 where the architectures read have no such. */
int name_from_gguf(const char *name, size_t bytes, char out[TENSOR_NAME_MAX]);
#endif
