/* SPDX-License-Identifier: Apache-2.0 */
/* tests/tokenizers.h - opens the tokenizers of the data beside the project; time. */
#ifndef EK_TESTS_TOKENIZERS_H
#define EK_TESTS_TOKENIZERS_H
#include "model/tokenizer.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* EK_DATA of the environment or ../shared/data; NULL, said once more, where there is none. */
static inline const char *data_dir(void)
{
    const char *dir = getenv("EK_DATA");
    if (!dir) dir = EK_SOURCE "/../shared/data";
    if (!access(dir, R_OK)) return dir;
    puts("skipped: ../shared/data not found");
    return NULL;
}

static inline struct tokenizer *open_at(const char *path)
{
    struct tokenizer *t = NULL;
    struct error      e = {""};
    cr_assert_eq(tokenizer_open(&t, path, &e), EK_OK, "%s", e.text);
    return t;
}

static inline struct tokenizer *open_data(const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", data_dir(), name);
    return open_at(path);
}

/* Of this thread on a CPU: the machine may be busy. */
static inline double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}
#endif
