/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_tokenizer.h - what a tokenizer that could be read must stand. */
#ifndef EK_TESTS_FUZZ_TOKENIZER_H
#define EK_TESTS_FUZZ_TOKENIZER_H
#include "model/tokenizer_impl.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static inline void require(int held)
{
    if (!held) abort();
}

static inline void decode_all(const struct tokenizer *t, const int32_t *ids, size_t count)
{
    struct detokenizer d = {.held_bytes = 0};
    char               out[PIECE_MAX];
    for (size_t i = 0; i < count; i++) {
        require(ids[i] >= 0 && (size_t)ids[i] < tokenizer_size(t));
        const size_t n = detokenize(&d, t, ids[i], (int)(i & 1), out);
        require(n <= sizeof out && utf8_run(out, n) == n);
    }
    require(detokenize_end(&d, out) <= 3);
}

/* Texts, their ids, every token's bytes, and the tokenizer written and read again. */
static inline void exercise(const struct tokenizer *t)
{
    static const char *const texts[] = {
        "",
        " ",
        "Hello world, it's 1234 o'clock\n\n  and \t more",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "u\xCC\x88\xE6\x88\x91\xF0\x9F\xA6\x99\xED\xA0\x80\xFF\xC2 <s></s><|im_start|>",
    };
    struct error e;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int32_t *ids;
        size_t   count;
        if (tokenizer_encode(t, texts[i], strlen(texts[i]), (unsigned)i % 4, &ids, &count, &e))
            continue;
        decode_all(t, ids, count);
        free(ids);
    }
    for (size_t i = 0; i < tokenizer_size(t); i++) {
        const int32_t id = (int32_t)i;
        decode_all(t, &id, 1);
        size_t n;
        (void)tokenizer_text(t, id, &n);
    }
    size_t bytes  = 0;
    char  *json   = tokenizer_write_json(t, &bytes);
    char  *config = tokenizer_write_config(t, NULL);
    require(json && strlen(json) <= bytes);
    struct tokenizer *again = tokenizer_new("again");
    /* ids of one text cannot all be written, and the last of them may be the largest */
    if (again && !read_tokenizer_json(again, json, bytes, &e)) require(again->size <= t->size);
    tokenizer_close(again);
    free(json);
    free(config);
}
#endif
