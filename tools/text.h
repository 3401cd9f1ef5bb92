/* SPDX-License-Identifier: Apache-2.0 */
/* tools/text.h - growing text, and text from files that may be pipes. */
#ifndef EK_TOOLS_TEXT_H
#define EK_TOOLS_TEXT_H
#include "model/error.h"

#include <stddef.h>

/* Zero-initialised: empty. data has a '\0' behind it once there is some. */
struct text {
    char  *data;
    size_t bytes, room;
};

/* 0, or -1 when memory runs out; the text is as before then. */
int  text_add(struct text *t, const char *data, size_t bytes);
void text_drop(struct text *t);

/* All of path, "-" being standard input. */
ek_status text_read(struct text *t, const char *path, struct error *e);
#endif
