/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_steps.h - readers of tokenizer.json's small members, as jansson trees. */
#ifndef EK_MODEL_TOKENIZER_STEPS_H
#define EK_MODEL_TOKENIZER_STEPS_H
#include "model/tokenizer_scan.h"

typedef ek_status step_reader(struct tokenizer *t, const json_t *j, struct error *e);

step_reader read_added, read_normalizer, read_pre_tokenizer, read_post_processor, read_decoder;
#endif
