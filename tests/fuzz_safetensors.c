/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_safetensors.c - any bytes as a Hugging Face model.safetensors. */
#include "tests/fuzz_model.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    exercise_safetensors(data, bytes);
    return 0;
}
