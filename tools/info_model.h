/* SPDX-License-Identifier: Apache-2.0 */
/* tools/info_model.h - ek info -m: what a model is made of. */
#ifndef EK_TOOLS_INFO_MODEL_H
#define EK_TOOLS_INFO_MODEL_H

#include "ek/formats.h"

#include <stddef.h>

struct info_model_options {
    const char *path;
    int         verify; /* read all and compare checksums                   */
    int         json;
    size_t      context; /* tell what a session of so many tokens takes; 0: do not */
    enum ek_fmt kv;
};

/* Prints config and tensors. The exit status. */
int info_model(const struct info_model_options *o);
#endif
