/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_container.c - any bytes as the header and metadata of one of our own files, with as
 * much data behind it as the seeds need. */
#include "tests/fuzz_model.h"

static void exercise(const uint8_t *data, size_t bytes, size_t weights)
{
    /* A header padded to the alignment, as the writer does: else nearly no input gets far. */
    const uint64_t header = (bytes + sizeof header + 63) / 64 * 64 - sizeof header;
    unsigned char *file   = malloc(sizeof header + header + weights);
    require(file != NULL);
    memset(file, ' ', sizeof header + header);
    memset(file + sizeof header + header, 0x21, weights);
    memcpy(file, &header, sizeof header);
    memcpy(file + sizeof header, data, bytes);
    exercise_safetensors(file, sizeof header + header + weights);
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    exercise(data, bytes, 7872);  /* q8g32.txt */
    exercise(data, bytes, 4544);  /* q4g32.txt */
    exercise(data, bytes, 40384); /* neurons.txt */
    return 0;
}
