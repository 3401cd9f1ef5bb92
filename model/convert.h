/* SPDX-License-Identifier: Apache-2.0 */
/* model/convert.h - any model that can be read, written as our own directory. */
#ifndef EK_MODEL_CONVERT_H
#define EK_MODEL_CONVERT_H
#include "ek/formats.h"
#include "ek/pool.h"
#include "model/error.h"
#include "model/model.h"

#include <stddef.h>

/** In place of a format: as the source has it, without loss where we have such a format. */
enum { CONVERT_SAME = EK_FMT_COUNT, CONVERT_DEFAULT = EK_FMT_COUNT + 1 };

/** --keep REGEX=TYPE: tensors whose Hugging Face name matches have this format. */
struct convert_rule {
    const char *regex;
    int         fmt; /* enum ek_fmt or CONVERT_SAME */
};

struct convert_options {
    int                        type;        /* of matrices: enum ek_fmt or CONVERT_SAME         */
    int                        head, embed; /* the same, or CONVERT_DEFAULT: as type            */
    const struct convert_rule *rules;       /* the first that matches counts                    */
    size_t                     rule_count;
    int                        neurons;   /* up and down of MLPs neuron by neuron             */
    const char                *tokenizer; /* file or directory; NULL: the source's own        */
    int                        force;     /* replace a directory that is not ours             */
    const ek_pool             *pool;      /* NULL: serial */
    progress_fn               *progress;
    void                      *progress_self;
};

/** What a command line calls a type: "q8" is q8g32, "q4" is q4g32, "q4:g128" q4g128, "same", or the
 * name of a format. EK_E_ARG for what is none. */
ek_status convert_type_from_name(const char *name, int *type);

/**
 * Converts src to the directory dst. dst appears, or is replaced, when all is on the disk; what is
 * interrupted leaves the old one, or none.
 *
 * Returns  EK_OK; what source_open returns; EK_E_FORMAT for a weight that is not finite. */
ek_status convert(const char *src, const char *dst, const struct convert_options *o,
                  struct error *e);
#endif
