/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_container.c - any bytes as the metadata and header of one of our own files: the header
 * is the input, the data behind it as long as the tensors of the seeds need. */
#include "tests/fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    enum { DATA = 8192 };
    /* A header padded to the alignment, as the writer does: else nearly no input gets far. */
    const uint64_t header = (bytes + sizeof header + 63) / 64 * 64 - sizeof header;
    unsigned char *file   = malloc(sizeof header + header + DATA);
    require(file != NULL);
    memset(file, ' ', sizeof header + header);
    memset(file + sizeof header + header, 0x21, DATA);
    memcpy(file, &header, sizeof header);
    memcpy(file + sizeof header, data, bytes);
    exercise_safetensors(file, sizeof header + header + DATA);
    free(file);
    return 0;
}
