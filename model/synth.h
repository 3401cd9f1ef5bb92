/* SPDX-License-Identifier: Apache-2.0 */
/* model/synth.h - models of random weights at true shapes, to measure speed without downloads. */
#ifndef EK_MODEL_SYNTH_H
#define EK_MODEL_SYNTH_H
#include "model/convert.h"

#include <stddef.h>
#include <stdint.h>

/** Name of preset i ("llama-3.2-1b"); NULL past the last. */
const char *synth_preset(size_t i);
/** Its config. EK_E_ARG lists the known ones. */
ek_status synth_config(const char *preset, struct config *c, struct error *e);

/**
 * Writes the directory dst with the config c. Weights are about N(0, 0.02), norms 1: activations
 * stay finite. The same bytes for a seed whatever the pool. o->type may not be CONVERT_SAME;
 * o->tokenizer: a tokenizer to go with it, or NULL for none. */
ek_status synth_write(const struct config *c, uint64_t seed, const char *dst,
                      const struct convert_options *o, struct error *e);
#endif
