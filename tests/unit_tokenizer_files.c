/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_tokenizer_files.c - tokenizers written and read again, loading times, wrong files. */
#include "model/file.h"
#include "model/tokenizer.h"
#include "tests/tokenizers.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SMALL EK_FUZZ "/tokenizer_json/"

/* ---- writing ---- */

static void check_same(const struct tokenizer *a, const struct tokenizer *b, const char *text,
                       size_t bytes)
{
    int32_t *ia, *ib;
    size_t   na, nb;
    cr_assert_eq(tokenizer_encode(a, text, bytes, 3, &ia, &na, NULL), EK_OK);
    cr_assert_eq(tokenizer_encode(b, text, bytes, 3, &ib, &nb, NULL), EK_OK);
    cr_assert_eq(na, nb);
    cr_assert_eq(memcmp(ia, ib, na * sizeof *ia), 0);
    free(ia);
    free(ib);
}

/* What is written is read as the same tokenizer. tests/tokenizer_hf.py holds it against Hugging
 * Face's reader too. */
static void check_written(const struct tokenizer *t, const char *text, size_t text_bytes)
{
    char   dir[] = "/tmp/ek_tokenizer_XXXXXX", path[64], config_path[64];
    size_t bytes, config_bytes;
    cr_assert_not_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    snprintf(config_path, sizeof config_path, "%s/tokenizer_config.json", dir);
    char *json   = tokenizer_write_json(t, &bytes);
    char *config = tokenizer_write_config(t, &config_bytes);
    cr_assert(json && config);
    cr_assert_eq(file_write(path, json, bytes, NULL), EK_OK);
    cr_assert_eq(file_write(config_path, config, config_bytes, NULL), EK_OK);
    struct tokenizer *again = open_at(dir);
    check_same(t, again, text, text_bytes);
    cr_assert_eq(tokenizer_bos(t), tokenizer_bos(again));
    cr_assert_eq(tokenizer_eos(t), tokenizer_eos(again));
    cr_assert_eq(tokenizer_size(t), tokenizer_size(again));
    const char *a = tokenizer_chat_template(t), *b = tokenizer_chat_template(again);
    cr_assert(!a == !b && (!a || !strcmp(a, b)));
    unlink(path);
    unlink(config_path);
    rmdir(dir);
    free(json);
    free(config);
    tokenizer_close(again);
}

Test(tokenizer_files, written_and_read_again)
{
    static const char *const files[] = {
        "models/tinystories-656K",
        "models/stories260K/tok512.model",
        "models/stories260K/tok512.bin",
        "tokenizers/llama2",
        "tokenizers/qwen2",
        "tokenizers/llama3",
        "tokenizers/gguf/ggml-vocab-deepseek-llm.gguf",
        "tokenizers/gguf/ggml-vocab-phi-3.gguf",
        "tokenizers/gguf/ggml-vocab-starcoder.gguf",
    };
    if (!data_dir()) return;
    char   path[4096], *text;
    size_t bytes;
    snprintf(path, sizeof path, "%s/text/war-and-peace.txt", data_dir());
    cr_assert_eq(file_read(path, 1 << 24, &text, &bytes, NULL), EK_OK);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct tokenizer *t = open_data(files[i]);
        check_written(t, text, 200000);
        tokenizer_close(t);
    }
    free(text);
}

/* ---- loading ---- */

/* The promise is 300 ms; sanitizers and busy machines get ten times that. */
Test(tokenizer_files, loads_quickly)
{
    if (!data_dir()) return;
    const double      from  = seconds();
    struct tokenizer *t     = open_data("tokenizers/qwen2");
    const double      spent = seconds() - from;
    tokenizer_close(t);
    cr_log_info("qwen2: %.0f ms", spent * 1e3);
    cr_assert_lt(spent, 3.0);
}

Test(tokenizer_files, wrong_files)
{
    static const struct {
        const char *file, *says;
    } cases[] = {
        {"tokenizer_json/cyclic.json", "merge 0: an empty part"},
        {"tokenizer_json/unknown_merge.json", "merge 0: ab is not in the vocabulary"},
        {"tokenizer_json/same_id.json", "id 0 is given twice"},
        {"tokenizer_json/huge_id.json", "integer out of range"},
        {"tokenizer_json/large_id.json", "token id 4294967296: out of range"},
        {"tokenizer_json/bad_expression.json", "expression (a: at byte 2: missing closing"},
        {"tokenizer_json/unigram.json", "Unigram: only BPE is supported"},
        {"tokenizer_json/truncated.json", "the text ends too early"},
        {"sentencepiece/unigram.model", "model type 1: only BPE"},
        {"sentencepiece/rules.model", "normalization rules: not supported"},
        {"sentencepiece/truncated.model", "malformed"},
        {"sentencepiece/llama2c_short.bin", "7 tokens, fewer than its bytes"},
        {"no such file", "No such file or directory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char              path[4096];
        struct tokenizer *t = NULL;
        struct error      e = {""};
        snprintf(path, sizeof path, "%s/%s", EK_FUZZ, cases[i].file);
        cr_assert_neq(tokenizer_open(&t, path, &e), EK_OK, "%s", path);
        cr_assert_null(t);
        cr_assert_not_null(strstr(e.text, cases[i].says), "%s", e.text);
        cr_assert_not_null(strstr(e.text, path), "%s", e.text);
        cr_assert_null(strchr(e.text, '\n'));
    }
}

/* An expression that backtracks without end is an error for the text, not a hang. */
Test(tokenizer_files, catastrophic_expression)
{
    struct tokenizer *t = open_at(SMALL "catastrophic.json");
    char              text[64];
    int32_t          *ids;
    size_t            count;
    struct error      e;
    memset(text, 'a', sizeof text);
    cr_assert_eq(tokenizer_encode(t, text, sizeof text, 0, &ids, &count, &e), EK_E_FORMAT);
    cr_assert_not_null(strstr(e.text, "too complex"), "%s", e.text);
    tokenizer_close(t);
}
