/* SPDX-License-Identifier: Apache-2.0 */
/* model/written.h - what convert and synth share in writing a planned model. */
#ifndef EK_MODEL_WRITTEN_H
#define EK_MODEL_WRITTEN_H
#include "model/container.h"
#include "model/jobs.h"
#include "model/tokenizer.h"

/** The plan's tensors for container_begin, malloc'd, and their bytes; NULL without memory. */
struct container_tensor *written_tensors(const struct job_list *p, uint64_t *total);
/** The job of a tensor that written_tensors made, whatever its place is now. */
const struct job *written_job(const struct job_list *p, const struct container_tensor *t);

/** config.json and generation_config.json. */
ek_status written_config(struct container *out, const struct config *c, struct error *e);
/** tokenizer.json and tokenizer_config.json. */
ek_status written_tokenizer(struct container *out, const struct tokenizer *t, struct error *e);
#endif
