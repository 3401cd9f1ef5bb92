/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_tokenizer_json.c - any bytes as a tokenizer.json: an error line or a tokenizer that
 * encodes, decodes, and writes itself. */
#include "model/tokenizer_impl.h"
#include "tests/fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct error      e;
    struct tokenizer *t = tokenizer_new("fuzz");
    if (!t) return 0;
    if (!read_tokenizer_json(t, (const char *)data, bytes, &e) && !tokenizer_finish(t, &e))
        exercise(t);
    tokenizer_close(t);
    return 0;
}
