/* SPDX-License-Identifier: Apache-2.0 */
/* tests/prefixes/copy.h - what main.c sees of a user of one copy of the library. */
#ifndef EK_TESTS_PREFIXES_COPY_H
#define EK_TESTS_PREFIXES_COPY_H

enum { COPY_N = 2, COPY_K = 32 };

struct copy {
    const char *prefix;
    const void *registry;  /* of this copy: the two must not share one      */
    float       y[COPY_N]; /* W x, W[r][c] = (c % 16 - 8) (r + 1), x[c] = c */
};

/* Each fills *c from its own copy; nonzero when a call failed. */
int copy_one_(struct copy *c);
int copy_two_(struct copy *c);
#endif
