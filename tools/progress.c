/* SPDX-License-Identifier: Apache-2.0 */
/* tools/progress.c - a progress bar on stderr. */
#include "tools/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 30 };
static const double INTERVAL = 0.1; /* seconds between drawings */

/* The command has one bar at a time, drawn by its main thread. */
static double last_drawn;
static int    stands;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void progress_clear(void)
{
    if (stands) fputs("\r\033[K", stderr);
    stands = 0;
}

void progress_bar(void *self, const char *what, uint64_t done, uint64_t total)
{
    (void)self;
    if (!isatty(STDERR_FILENO)) return;
    if (done >= total) {
        progress_clear();
        return;
    }
    const double t = now();
    if (stands && t - last_drawn < INTERVAL) return;
    last_drawn = t, stands = 1;
    const double share  = (double)done / (double)total;
    const int    filled = (int)(share * WIDTH);
    fprintf(stderr, "\r%-16.16s [", what);
    for (int i = 0; i < WIDTH; i++) fputc(i < filled ? '#' : '.', stderr);
    fprintf(stderr, "] %3.0f %%\033[K", 100 * share);
    fflush(stderr);
}
