/* SPDX-License-Identifier: Apache-2.0 */
/* model/router.h - is the next token a rare one? A small network on the state that the head reads,
 * and the common ids that a sliced head holds: directories of ek train-router and of forge-edge with
 *
 *     router.safetensors   linears: NAME.weight [n][k] and, where it has one, NAME.bias [n]
 *     common_ids.npy       a vector of int32 or int64
 *     meta.txt             "key: value" lines; docs/running.md */
#ifndef EK_MODEL_ROUTER_H
#define EK_MODEL_ROUTER_H
#include "ek/ek.h"
#include "model/error.h"

#include <stddef.h>
#include <stdint.h>

enum { ROUTER_LAYERS_MAX = 8 };

/** Layers with an activation between them; the last has one output, whose sigmoid is P(rare). */
struct router {
    uint32_t         *common; /* [common_count] ascending ids without repeats, each < vocab */
    size_t            common_count;
    struct ek_weights layers[ROUTER_LAYERS_MAX]; /* f32, f16 or bf16                    */
    const float      *bias[ROUTER_LAYERS_MAX];   /* [n], or NULL                        */
    size_t            layer_count;
    enum ek_act_kind  act;      /* ReLU unless meta.txt says otherwise                  */
    uint64_t          checksum; /* of the model it was made with; 0: meta.txt does not say */
};

/**
 * Reads a directory for a model of this vocabulary and hidden size.
 *
 * common_ids.npy may be in any order. Layers are put in the order in which their shapes fit,
 * from the hidden size on; where several fit, in that of their names.
 * Returns  EK_OK; EK_E_IO for a missing file; EK_E_FORMAT for ids that are out of range or there
 *          twice, shapes that make no chain, and what is malformed; EK_E_ARG where meta.txt says it was
 *          made for another vocabulary, hidden size or tap; EK_E_UNSUPPORTED; EK_E_NOMEM. The line
 *          names the file; *r is empty then. */
ek_status router_read(struct router *r, const char *dir, size_t vocab, size_t hidden,
                      struct error *e);
void      router_drop(struct router *r);

/** Bytes of weights that one call with m <= EK_GEMV_MAX_M reads. */
uint64_t router_bytes(const struct router *r);

/** Working memory of router_run for up to m states with this pool. */
ek_status router_work_bytes(const struct router *r, size_t m, const ek_pool *pool, size_t *bytes);

/**
 * p_rare[i] = P(token behind x[i] is rare); 1 where that is NaN, so that the whole head decides.
 *
 * x: [m][hidden], the rows that TAP_HEAD_IN shows. work: 64-byte aligned. Allocates nothing; the same
 * bits for any pool and, to m = EK_GEMV_MAX_M, for any m. */
ek_status router_run(const struct ek_kernels *t, const ek_pool *pool, const struct router *r,
                     const float *x, size_t m, float *p_rare, void *work, size_t work_bytes);

/** Writes the directory, made where it is missing. labels: what was learnt, "next" or "argmax". */
ek_status router_write(const struct router *r, const char *dir, size_t vocab, const char *labels,
                       struct error *e);
#endif
