/* SPDX-License-Identifier: Apache-2.0 */
/* model/error.h - a status and one line that says what went wrong and where. */
#ifndef EK_MODEL_ERROR_H
#define EK_MODEL_ERROR_H
#include "ek/status.h"

/** One line without a newline: "models/x/config.json: hidden_size: missing". */
struct error {
    char text[512];
};

/**
 * Writes the line and returns s, so that a function fails in one statement:
 *
 *     return fail(e, EK_E_FORMAT, "%s: tensor %s: ends past the file", path, name);
 *
 * e may be NULL. Control characters that come from a file are shown as '?'. */
ek_status fail(struct error *e, ek_status s, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#endif
