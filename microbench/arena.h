/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/arena.h - memory that cold rows walk through: large, on huge pages where they are had,
 * filled with bytes that are sound weights in every format. */
#ifndef EK_ARENA_H
#define EK_ARENA_H
#include <stddef.h>

struct arena {
    unsigned char *data;
    size_t         bytes;
    int            huge; /* transparent huge pages were asked for and granted */
};

/* 0, or -1 with errno. Reserved: zero, and not there before it is touched. */
int  arena_reserve(struct arena *a, size_t bytes);
int  arena_make(struct arena *a, size_t bytes);
void arena_drop(struct arena *a);
#endif
