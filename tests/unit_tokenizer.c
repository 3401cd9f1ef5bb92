/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_tokenizer.c - tokenizers: published pairs of texts and ids, every kind of file, texts
 * that are hard, files that are wrong. */
#include "model/tokenizer.h"

#include "model/file.h"
#include "tests/tokenizers.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SMALL EK_FUZZ "/tokenizer_json/"

/* Ids of text against a list that ends with -1. */
static void expect(const struct tokenizer *t, const char *text, unsigned flags, const int32_t *want)
{
    int32_t *ids;
    size_t   count;
    cr_assert_eq(tokenizer_encode(t, text, strlen(text), flags, &ids, &count, NULL), EK_OK);
    for (size_t i = 0; i < count; i++) cr_assert_eq(ids[i], want[i], "%s: token %zu", text, i);
    cr_assert_eq(want[count], -1, "%s: %zu tokens are too few", text, count);
    free(ids);
}

static char *decode(const struct tokenizer *t, const int32_t *ids, size_t count, int special)
{
    struct detokenizer d    = {.held_bytes = 0};
    char              *text = calloc(count + 1, PIECE_MAX);
    size_t             used = 0;
    for (size_t i = 0; i < count; i++) used += detokenize(&d, t, ids[i], special, text + used);
    used += detokenize_end(&d, text + used);
    text[used] = '\0';
    return text;
}

/* ---- pairs ---- */

/* The ids on a line of numbers. */
static size_t parse_ids(const char *line, int32_t *ids, size_t room)
{
    size_t count = 0;
    for (char *end; *line && *line != '\n'; line = end) {
        const long id = strtol(line, &end, 10);
        if (end == line) break;
        cr_assert_lt(count, room);
        ids[count++] = (int32_t)id;
    }
    return count;
}

static void check_pair(const struct tokenizer *t, const char *name, const char *text, size_t bytes,
                       const char *line)
{
    enum { ROOM = 1024 };
    int32_t want[ROOM], *ids;
    size_t  count, wanted = parse_ids(line, want, ROOM);
    char   *back;
    cr_assert_eq(tokenizer_encode(t, text, bytes, TOKENIZE_SPECIAL, &ids, &count, NULL), EK_OK);
    cr_assert_eq(count, wanted, "%s: %.*s: %zu tokens, not %zu", name, (int)bytes, text, count,
                 wanted);
    for (size_t i = 0; i < count; i++)
        cr_assert_eq(ids[i], want[i], "%s: %.*s: token %zu", name, (int)bytes, text, i);
    back = decode(t, ids, count, 0);
    cr_assert_eq(strlen(back), bytes, "%s: %.*s: decoded", name, (int)bytes, text);
    cr_assert_eq(memcmp(back, text, bytes), 0, "%s: %.*s: decoded", name, (int)bytes, text);
    free(back);
    free(ids);
}

/* Every text of the .inp file, every line of the .out file. */
static void check_pairs(const char *pair, const char *tokenizer)
{
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char              path[4096], *in, *out;
    size_t            in_bytes, out_bytes, texts = 0;
    struct tokenizer *t = open_data(tokenizer);
    snprintf(path, sizeof path, "%s/tokenizers/gguf/ggml-vocab-%s.gguf.inp", data_dir(), pair);
    cr_assert_eq(file_read(path, 1 << 20, &in, &in_bytes, NULL), EK_OK);
    snprintf(path, sizeof path, "%s/tokenizers/gguf/ggml-vocab-%s.gguf.out", data_dir(), pair);
    cr_assert_eq(file_read(path, 1 << 20, &out, &out_bytes, NULL), EK_OK);
    const char *line = out;
    for (const char *text = in; text; texts++) {
        const char  *end   = strstr(text, separator);
        const size_t bytes = end ? (size_t)(end - text) : strlen(text);
        cr_assert_not_null(line);
        check_pair(t, tokenizer, text, bytes, line);
        line = strchr(line, '\n');
        if (line) line++;
        text = end ? end + sizeof separator - 1 : NULL;
    }
    cr_assert_eq(texts, 47);
    free(in);
    free(out);
    tokenizer_close(t);
}

Test(tokenizer, pairs)
{
    static const char *const pairs[][2] = {
        {"deepseek-llm", "tokenizers/gguf/ggml-vocab-deepseek-llm.gguf"},
        {"gpt-2", "tokenizers/gguf/ggml-vocab-gpt-2.gguf"},
        {"llama-spm", "tokenizers/gguf/ggml-vocab-llama-spm.gguf"},
        {"llama-spm", "tokenizers/llama2"},
        {"phi-3", "tokenizers/gguf/ggml-vocab-phi-3.gguf"},
        {"starcoder", "tokenizers/gguf/ggml-vocab-starcoder.gguf"},
        {"qwen2", "tokenizers/qwen2"},
        {"llama-bpe", "tokenizers/llama3"},
        {"llama-bpe", "tokenizers/llama3/tokenizer.model"},
    };
    if (!data_dir()) return;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) check_pairs(pairs[i][0], pairs[i][1]);
}

Test(tokenizer, tinystories)
{
    if (!data_dir()) return;
    struct tokenizer *t = open_data("models/tinystories-656K");
    expect(t, "Once upon a time", TOKENIZE_BOS, (const int32_t[]){1, 80, 147, 201, 282, 57, -1});
    expect(t, "Once upon a time", 0, (const int32_t[]){80, 147, 201, 282, 57, -1});
    expect(t, "", TOKENIZE_BOS, (const int32_t[]){1, -1});
    cr_assert_eq(tokenizer_bos(t), 1);
    cr_assert_eq(tokenizer_eos(t), 2);
    cr_assert_eq(tokenizer_size(t), 2048);
    cr_assert(tokenizer_is_special(t, 2));
    cr_assert_not(tokenizer_is_special(t, 57));
    tokenizer_close(t);
}

Test(tokenizer, stories260k)
{
    static const char *const files[] = {"models/stories260K/tok512.model",
                                        "models/stories260K/tok512.bin"};
    if (!data_dir()) return;
    for (size_t i = 0; i < 2; i++) {
        struct tokenizer *t = open_data(files[i]);
        expect(t, "Once upon a time", TOKENIZE_BOS, (const int32_t[]){1, 403, 407, 261, 378, -1});
        cr_assert_eq(tokenizer_size(t), 512);
        tokenizer_close(t);
    }
}

/* GPT-NeoX as tokenizer.json and as GGUF: the same ids for a real text. */
Test(tokenizer, same_from_json_and_gguf)
{
    if (!data_dir()) return;
    struct tokenizer *a = open_data("tokenizers/gptneox/20B_tokenizer.json");
    struct tokenizer *b = open_data("tokenizers/gguf/ggml-vocab-gpt-neox.gguf");
    char              path[4096], *text;
    size_t            bytes, na, nb;
    int32_t          *ia, *ib;
    snprintf(path, sizeof path, "%s/text/wikitext-2/test.txt", data_dir());
    cr_assert_eq(file_read(path, 1 << 24, &text, &bytes, NULL), EK_OK);
    cr_assert_eq(tokenizer_encode(a, text, bytes, 3, &ia, &na, NULL), EK_OK);
    cr_assert_eq(tokenizer_encode(b, text, bytes, 3, &ib, &nb, NULL), EK_OK);
    cr_assert_eq(na, nb);
    cr_assert_eq(memcmp(ia, ib, na * sizeof *ia), 0);
    cr_assert_gt(na, 200000);
    free(ia);
    free(ib);
    free(text);
    tokenizer_close(a);
    tokenizer_close(b);
}

Test(tokenizer, specials_and_chat)
{
    if (!data_dir()) return;
    struct tokenizer *t = open_data("tokenizers/qwen2");
    expect(t, "<|im_start|>user\nHi<|im_end|>\n", TOKENIZE_SPECIAL,
           (const int32_t[]){151644, 872, 198, 13048, 151645, 198, -1});
    cr_assert_eq(tokenizer_find(t, "<|im_end|>"), 151645);
    cr_assert_eq(tokenizer_find(t, "no such token"), -1);
    int32_t *ids;
    size_t   count;
    cr_assert_eq(tokenizer_encode(t, "<|im_end|>", 10, 0, &ids, &count, NULL), EK_OK);
    cr_assert_gt(count, 1, "a special token in text that must be text");
    char *text = decode(t, ids, count, 0);
    cr_assert_str_eq(text, "<|im_end|>");
    free(text);
    free(ids);
    text = decode(t, (const int32_t[]){151644, 872, 151645}, 3, 0);
    cr_assert_str_eq(text, "user");
    free(text);
    text = decode(t, (const int32_t[]){151644, 872, 151645}, 3, 1);
    cr_assert_str_eq(text, "<|im_start|>user<|im_end|>");
    free(text);
    tokenizer_close(t);
}

/* ---- texts ---- */

/* Characters come out whole, whatever tokens they are cut into. */
Test(tokenizer, streams_whole_characters)
{
    static const char text[] = "na\xC3\xAFve \xE6\x88\x91 \xF0\x9F\xA6\x99!";
    struct tokenizer *t      = open_at(SMALL "byte_level.json");
    int32_t          *ids;
    size_t            count, used = 0;
    char              out[PIECE_MAX], whole[256];
    cr_assert_eq(tokenizer_encode(t, text, strlen(text), 0, &ids, &count, NULL), EK_OK);
    cr_assert_geq(count, strlen(text) - 2);
    struct detokenizer d = {.held_bytes = 0};
    for (size_t i = 0; i < count; i++) {
        const size_t n = detokenize(&d, t, ids[i], 0, out);
        if (n) cr_assert_neq((unsigned char)out[0] & 0xC0, 0x80);
        memcpy(whole + used, out, n);
        used += n;
    }
    cr_assert_eq(detokenize_end(&d, out), 0);
    whole[used] = '\0';
    cr_assert_str_eq(whole, text);
    free(ids);
    tokenizer_close(t);
}

/* A broken sequence is U+FFFD, once, wherever it is cut, and the text behind it is not lost. */
Test(tokenizer, broken_text_decodes_well_formed)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"a\xFF"
         "b",
         "a\xEF\xBF\xBD"
         "b"},
        {"a\xE6\x88", "a\xEF\xBF\xBD"},
        {"\xE6\x88"
         "b",
         "\xEF\xBF\xBD"
         "b"},
        {"\xF0\x9F\xE6\x88\x91", "\xEF\xBF\xBD\xE6\x88\x91"},
        {"\xED\xA0\x80x", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDx"},
    };
    struct tokenizer *t = open_at(SMALL "byte_level.json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t *ids;
        size_t   count;
        cr_assert_eq(
            tokenizer_encode(t, cases[i].text, strlen(cases[i].text), 0, &ids, &count, NULL),
            EK_OK);
        char *text = decode(t, ids, count, 0);
        cr_assert_str_eq(text, cases[i].want, "case %zu", i);
        free(text);
        free(ids);
    }
    tokenizer_close(t);
}

Test(tokenizer, byte_fallback)
{
    struct tokenizer *t = open_at(SMALL "sentencepiece.json");
    /* "Hello\xFF": U+2581 H, e, l (the file's Replace makes two one), o; 0xFF as <0xFF> */
    expect(t, "He\n\xFF", 0, (const int32_t[]){266, 261, 13, 258, -1});
    char *text = decode(t, (const int32_t[]){266, 261, 3 + 0xE6, 3 + 0x88, 3 + 0x91}, 5, 0);
    cr_assert_str_eq(text, "He\xE6\x88\x91");
    free(text);
    tokenizer_close(t);
}

/* lstrip and rstrip take white space, single_word wants none of a word beside it. */
Test(tokenizer, added_token_flags)
{
    struct tokenizer *t = open_at(SMALL "byte_level.json");
    expect(t, "a \n <|im_start|>  b", TOKENIZE_SPECIAL, (const int32_t[]){'a', 263, 'b', -1});
    expect(t, "a", TOKENIZE_BOS, (const int32_t[]){263, 'a', -1});
    expect(t, "-  -", 0, (const int32_t[]){'-', 264, '-', -1});
    expect(t, "a  -", 0, (const int32_t[]){'a', ' ', ' ', '-', -1});
    expect(t, " world", 0, (const int32_t[]){259, 260, -1});
    expect(t, "aaaaa", 0, (const int32_t[]){262, 'a', -1});
    tokenizer_close(t);
}

Test(tokenizer, metaspace)
{
    struct tokenizer *t = open_at(SMALL "metaspace.json");
    expect(t, "ab ab", 0, (const int32_t[]){4, 2, 4, 2, -1});
    expect(t, " ab", 0, (const int32_t[]){4, 2, -1});
    char *text = decode(t, (const int32_t[]){4, 2, 4, 0}, 4, 0);
    cr_assert_str_eq(text, "ab a");
    free(text);
    tokenizer_close(t);
}

/* A megabyte of one word: well under a second of an idle machine, seconds of a crowded one. Scanning
 * all of it for each of its merges, 10^12 steps, would take a quarter of an hour. */
static void check_time(const struct tokenizer *t, const char *unit)
{
    enum { BYTES = 1 << 20 };
    int32_t     *ids;
    size_t       count;
    char        *text = malloc(BYTES);
    const size_t n    = strlen(unit);
    cr_assert_not_null(text);
    for (size_t i = 0; i < BYTES; i++) text[i] = unit[i % n];
    const double from = seconds();
    cr_assert_eq(tokenizer_encode(t, text, BYTES, 3, &ids, &count, NULL), EK_OK);
    const double spent = seconds() - from;
    cr_assert_lt(spent, 30, "'%s': %.3f s for 1 MiB", unit, spent);
    free(ids);
    free(text);
}

Test(tokenizer, long_words_are_linear, .timeout = 600)
{
    static const char *const units[] = {"a", "abcdefghij",   " ",  "\n",        "x1",
                                        "<", "\xE6\x88\x91", "=-", "e\xCC\x81", "\x80"};
    static const char *const files[] = {"tokenizers/qwen2", "tokenizers/gptneox/20B_tokenizer.json",
                                        "tokenizers/llama2", "models/tinystories-656K"};
    if (!data_dir()) return;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct tokenizer *t = open_data(files[i]);
        for (size_t u = 0; u < sizeof units / sizeof *units; u++) check_time(t, units[u]);
        tokenizer_close(t);
    }
}
