/* SPDX-License-Identifier: Apache-2.0 */
/* tools/progress.h - a progress bar on stderr while a long step runs, for people only. */
#ifndef EK_TOOLS_PROGRESS_H
#define EK_TOOLS_PROGRESS_H
#include <stdint.h>

/** A progress_fn of model/model.h: draws at most ten times a second where stderr is a terminal,
 * else nothing. done >= total clears the line. self: NULL. */
void progress_bar(void *self, const char *what, uint64_t done, uint64_t total);

/** Clears a bar that may still stand, before other output. */
void progress_clear(void);
#endif
