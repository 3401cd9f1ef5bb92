/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_llama2c.c - any bytes as a legacy llama2.c file. */
#include "tests/fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct error   e;
    struct source *s    = source_make("fuzz");
    unsigned char *copy = NULL;
    require(s != NULL);
    if (!posix_memalign((void **)&copy, 64, bytes ? bytes : 1)) {
        memcpy(copy, data, bytes);
        const struct file f = {copy, bytes};
        if (!source_from_llama2c(s, &f, &e)) exercise_source(s);
    }
    source_close(s);
    free(copy);
    return 0;
}
