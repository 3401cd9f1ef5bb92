/* SPDX-License-Identifier: Apache-2.0 */
/* tests/tokenizers.h - where the data beside the project is. */
#ifndef EK_TESTS_TOKENIZERS_H
#define EK_TESTS_TOKENIZERS_H
#include <stdio.h>
#include <stdlib.h>
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
#endif
