/* SPDX-License-Identifier: Apache-2.0 */
/* model/cuts.h - which blocks of a model are left out: x += block(norm(x)) without the block. Schema
 * of the file: docs/running.md. */
#ifndef EK_MODEL_CUTS_H
#define EK_MODEL_CUTS_H
#include "model/error.h"

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

enum cut_kind { CUT_ATTENTION = 1, CUT_MLP = 2, CUT_LAYER = 3 }; /* LAYER: both */

/** "attention", "mlp", "layer". */
const char *cut_name(enum cut_kind kind);

/** left_out[layer]: an or of cut_kind. Zero-initialised: nothing is left out. */
struct cuts {
    unsigned char *left_out; /* [layers] */
    size_t         layers;
};

/** Reads the cut list of a file of `ek ablate`, or forge-edge's: of a model with `layers` layers. */
ek_status cuts_read(struct cuts *c, const char *path, size_t layers, struct error *e);
void      cuts_drop(struct cuts *c);

/** The entry {"layer": 3, "what": "mlp"}; NULL when memory runs out. */
json_t *cut_json(size_t layer, enum cut_kind kind);
#endif
