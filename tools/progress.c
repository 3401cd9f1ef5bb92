/* SPDX-License-Identifier: Apache-2.0 */
/* tools/progress.c - draws the bar. */
#include "tools/progress.h"

#include <stdio.h>
#include <unistd.h>

static int on_screen; /* a bar stands there, unfinished */

void progress_show(void *self, const char *what, uint64_t done, uint64_t total)
{
    enum { WIDTH = 40 };
    static unsigned shown = WIDTH + 1;
    (void)self;
    if (!isatty(STDERR_FILENO)) return;
    const double   part = total && done < total ? (double)done / (double)total : 1;
    const unsigned full = (unsigned)(part * WIDTH);
    if (on_screen && full == shown && done < total) return;
    shown = full;
    fprintf(stderr, "\r[%-*.*s] %s %3.0f %%", WIDTH, (int)full,
            "########################################", what, 100 * part);
    on_screen = 1;
    if (done >= total) progress_clear();
}

void progress_clear(void)
{
    if (on_screen) fputs("\r\033[K", stderr);
    on_screen = 0;
}
