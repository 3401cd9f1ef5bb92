/* SPDX-License-Identifier: Apache-2.0 */
/* model/thresholds.h - below which activation a layer's neurons are left out; files of ek calibrate.
 * Schema: docs/running.md. */
#ifndef EK_MODEL_THRESHOLDS_H
#define EK_MODEL_THRESHOLDS_H
#include "model/error.h"

#include <stddef.h>
#include <stdint.h>

#define THRESHOLDS_FORMAT "edgekern thresholds"
enum { THRESHOLDS_VERSION = 1 };

/** Zero-initialised: none. */
struct thresholds {
    float *value; /* [layers] of |act(gate)|, >= 0 */
    size_t layers;
};

/** Reads a file for the model of this checksum, made of what `tap` shows. */
ek_status thresholds_read(struct thresholds *t, const char *path, const char *tap, size_t layers,
                          uint64_t checksum, struct error *e);
void      thresholds_drop(struct thresholds *t);
#endif
