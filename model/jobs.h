/* SPDX-License-Identifier: Apache-2.0 */
/* model/jobs.h - which tensors a written model has, in which formats, made of which parts. */
#ifndef EK_MODEL_JOBS_H
#define EK_MODEL_JOBS_H
#include "model/container.h"
#include "model/convert.h"
#include "model/names.h"
#include "model/source.h"

#include <stddef.h>

enum { JOB_PARTS = 3 };

/** One tensor to write: its rows are those of its parts, one part after the other. NEURONS: n
 * neurons of k elements, the parts up and down. */
struct job {
    char                 name[TENSOR_NAME_MAX];
    enum part_role       role;
    enum ek_fmt          fmt;
    size_t               n, k, parts;
    const struct tensor *from[JOB_PARTS];                   /* NULL without a source */
    size_t               first[JOB_PARTS], rows[JOB_PARTS]; /* of from */
};

struct job_list {
    struct config config; /* of what is written */
    struct job   *jobs;
    size_t        count;
};

/**
 * Plans a model: formats by role and options, q, k, v and gate, up side by side where they can be.
 *
 * s  NULL: a model without a source, c's. c: the config; may be s->config.
 * Returns  EK_OK; EK_E_ARG (a rule that matches nothing, or asks for what cannot be); EK_E_NOMEM. */
ek_status jobs_plan(struct job_list *p, const struct config *c, const struct source *s,
                    const struct convert_options *o, struct error *e);
void      jobs_free(struct job_list *p);
#endif
