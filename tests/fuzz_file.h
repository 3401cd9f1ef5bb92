/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_file.h - an input as a file, for readers that take a path. */
#ifndef EK_TESTS_FUZZ_FILE_H
#define EK_TESTS_FUZZ_FILE_H
#include "model/error.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static inline void fuzz_require(int held)
{
    if (!held) abort();
}

/* A file in memory and its path; to be closed. */
static inline int fuzz_file(const uint8_t *data, size_t size, char path[64])
{
    const int fd = memfd_create("fuzz", 0);
    fuzz_require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

static inline void fuzz_line(const struct error *e)
{
    fuzz_require(e->text[0] && !strchr(e->text, '\n'));
}
#endif
