/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_sentencepiece.c - any bytes as SentencePiece's, llama2.c's or tiktoken's file: an error
 * line or a tokenizer that encodes, decodes, and writes itself. */
#include "model/tokenizer_impl.h"
#include "tests/fuzz_tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    for (int kind = 0; kind < 3; kind++) {
        struct error      e;
        struct tokenizer *t = tokenizer_new("fuzz");
        if (!t) return 0;
        const ek_status s = kind == 0   ? read_sentencepiece(t, data, bytes, &e)
                            : kind == 1 ? read_llama2c(t, data, bytes, &e)
                                        : read_tiktoken(t, (const char *)data, bytes, &e);
        if (!s && !tokenizer_finish(t, &e)) exercise(t);
        tokenizer_close(t);
    }
    return 0;
}
