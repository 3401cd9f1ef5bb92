/* SPDX-License-Identifier: Apache-2.0 */
/* tools/text.c - growing text, and text from files that may be pipes. */
#include "tools/text.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int text_add(struct text *t, const char *data, size_t bytes)
{
    enum { FIRST = 256 };
    if (bytes >= SIZE_MAX / 2 - t->bytes) return -1;
    if (t->bytes + bytes >= t->room) {
        const size_t room = 2 * (t->bytes + bytes) + FIRST;
        char        *more = realloc(t->data, room);
        if (!more) return -1;
        t->data = more, t->room = room;
    }
    if (bytes) memcpy(t->data + t->bytes, data, bytes);
    t->bytes += bytes;
    t->data[t->bytes] = '\0';
    return 0;
}

void text_drop(struct text *t)
{
    free(t->data);
    *t = (struct text){NULL, 0, 0};
}

ek_status text_read(struct text *t, const char *path, struct error *e)
{
    const int   standard = !strcmp(path, "-");
    FILE       *f        = standard ? stdin : fopen(path, "rb");
    static char block[1 << 16];
    ek_status   s = EK_OK;
    if (!f) return fail(e, EK_E_IO, "%s: %s", path, strerror(errno));
    errno = 0;
    for (size_t n; !s && (n = fread(block, 1, sizeof block, f)) > 0;)
        if (text_add(t, block, n)) s = fail(e, EK_E_NOMEM, "%s: out of memory", path);
    if (!s && text_add(t, "", 0)) s = fail(e, EK_E_NOMEM, "%s: out of memory", path);
    if (!s && ferror(f)) s = fail(e, EK_E_IO, "%s: %s", path, strerror(errno));
    if (!standard) fclose(f);
    return s;
}
