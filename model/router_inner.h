/* SPDX-License-Identifier: Apache-2.0 */
/* model/router_inner.h - the files of a router one by one; what fuzzing reads. */
#ifndef EK_MODEL_ROUTER_INNER_H
#define EK_MODEL_ROUTER_INNER_H
#include "model/router.h"

#define ROUTER_WEIGHTS "router.safetensors"
#define ROUTER_IDS     "common_ids.npy"
#define ROUTER_META    "meta.txt"
#define ROUTER_TAP     "head.in"

/** Each: from the bytes of a file; path is for messages. */
ek_status router_parse_weights(struct router *r, const void *data, size_t bytes, size_t hidden,
                               const char *path, struct error *e);
ek_status router_parse_ids(struct router *r, const void *data, size_t bytes, size_t vocab,
                           const char *path, struct error *e);
/** text: [bytes], may be changed. */
ek_status router_parse_meta(struct router *r, char *text, size_t vocab, size_t hidden,
                            const char *path, struct error *e);
#endif
