/* SPDX-License-Identifier: Apache-2.0 */
/* tools/progress.h - a bar on stderr, where that is a terminal. */
#ifndef EK_TOOLS_PROGRESS_H
#define EK_TOOLS_PROGRESS_H
#include <stdint.h>

/* A progress_fn (model/model.h) that needs no self: "[#####     ] load 5/10", redrawn when it would
 * look different, ended by done = total. Nothing where stderr is no terminal. */
void progress_show(void *self, const char *what, uint64_t done, uint64_t total);

/* Removes an unfinished bar, so that a message can follow. */
void progress_clear(void);
#endif
