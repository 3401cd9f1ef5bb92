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
 * e may be NULL. Control characters that come from a file are shown as '?'. A macro, so that
 * compilers and analysers see that the status is s and what follows a failure is not reached. */
#define fail(e, s, ...) fail_with((s), error_write((e), __VA_ARGS__))

int error_write(struct error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline ek_status fail_with(ek_status s, int written)
{
    (void)written;
    return s;
}
#endif
