/* SPDX-License-Identifier: Apache-2.0 */
/* model/sampler.h - the next token from logits. */
#ifndef EK_MODEL_SAMPLER_H
#define EK_MODEL_SAMPLER_H
#include "model/error.h"

#include <stddef.h>
#include <stdint.h>

/** In the order they apply: penalty, top_k, top_p, min_p, temperature (llama.cpp's order). */
struct sampler_options {
    float    temperature;        /* <= 0: greedy                                           */
    size_t   top_k;              /* 0: all                                                 */
    float    top_p;              /* 1: off                                                 */
    float    min_p;              /* 0: off; relative to the most probable                  */
    float    repetition_penalty; /* 1: off; divides positive logits, multiplies negative   */
    size_t   penalty_window;     /* last tokens that count; 0: 64                          */
    uint64_t seed;
};

struct sampler;
ek_status sampler_open(struct sampler **s, const struct sampler_options *o, size_t vocab,
                       struct error *e);
void      sampler_close(struct sampler *s);
/** A token that was given or generated: it counts for the penalty. */
void sampler_accept(struct sampler *s, int32_t id);
/** How many of the largest logits decide, whatever the penalty does to the last tokens; 0: all. */
size_t sampler_needs(const struct sampler *s);
/** Deterministic in the seed and the logits. logits is not changed. */
int32_t sampler_next(struct sampler *s, const float *logits);
#endif
