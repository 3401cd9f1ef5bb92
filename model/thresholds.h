/* SPDX-License-Identifier: Apache-2.0 */
/* model/thresholds.h - below which a layer's neurons or inputs are left out; files of ek calibrate.
 * Schema: docs/running.md. */
#ifndef EK_MODEL_THRESHOLDS_H
#define EK_MODEL_THRESHOLDS_H
#include "model/error.h"
#include "model/model.h"

#include <stddef.h>
#include <stdint.h>

#define THRESHOLDS_FORMAT "edgekern thresholds"
enum { THRESHOLDS_VERSION = 2 };

/** Zero-initialised: none. */
struct thresholds {
    float *value[TAP_COUNT]; /* [layers] >= 0: of |act(gate)| for TAP_MLP_GATE, of |x| for others;
                                or NULL: nothing is left out there */
};

/** Reads a file for the model of this checksum. Taps whose numbers decide nothing are refused, and
 * mlp.gate together with another of the MLP. */
ek_status thresholds_read(struct thresholds *t, const char *path, size_t layers, uint64_t checksum,
                          struct error *e);
void      thresholds_drop(struct thresholds *t);
#endif
