/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_known.c - the pre-splits of published tokenizers, for files that only name them. */
#include "model/tokenizer_impl.h"

#include <string.h>

/* ---- expressions, as the models' own tokenizer.json files have them ---- */

#define TAIL         "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define GPT2         "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define WORDS        "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define SIGNS        "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define UPPER        "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER        "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define START        "[^\\r\\n\\p{L}\\p{N}]?"
#define SLASHES      "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"
/* ideographs to Hangul; the ranges overlap in the original too */
#define EAST "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
/* letters with case */
#define CASED                                                                                      \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-"        \
    "\\x{293}\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}"  \
    "\\x{388}-\\x{38A}\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-"        \
    "\\x{52F}\\x{531}-\\x{556}\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}"           \
    "\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-"       \
    "\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}"        \
    "\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}"         \
    "\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}"        \
    "\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}\\x{1FF6}-\\x{1FFC}\\x{2102}"        \
    "\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}\\x{2126}\\x{2128}"          \
    "\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}\\x{2145}-\\x{2149}"        \
    "\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}\\x{2CEB}-\\x{2CEE}"         \
    "\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}\\x{A771}-"        \
    "\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}"        \
    "\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}"             \
    "\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}"         \
    "\\x{1E900}-\\x{1E943}"

enum { PATTERNS_MAX = 6 };

static const struct known {
    const char *names; /* of tokenizer.ggml.pre, a space before and behind each */
    int         nfc, ignore_merges, add_bos;
    const char *patterns[PATTERNS_MAX]; /* each Isolated, one after the other */
} table[] = {
    {" gpt-2 default phi-2 jina-es jina-de jina-v2-code mpt olmo jais roberta-bpe trillion ",
     0,
     0,
     0,
     {GPT2}},
    {" gpt-neox ", 1, 0, 0, {GPT2}},
    {" llama-bpe llama3 llama-v3 falcon3 dbrx smaug-bpe ",
     0,
     1,
     1,
     {CONTRACTIONS WORDS "\\p{N}{1,3}" SIGNS TAIL}},
    {" qwen2 megrez ", 1, 0, 0, {CONTRACTIONS WORDS "\\p{N}" SIGNS TAIL}},
    {" deepseek-r1-qwen stablelm2 ", 0, 0, 0, {CONTRACTIONS WORDS "\\p{N}" SIGNS TAIL}},
    {" starcoder refact smollm codeshell exaone minerva-7b ", 0, 0, 0, {"\\p{N}", GPT2}},
    {" command-r ", 1, 0, 0, {"\\p{N}", GPT2}},
    {" falcon ", 0, 0, 0, {"[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]"}},
    {" deepseek-llm ",
     0,
     0,
     0,
     {"[\\r\\n]", "\\s?[" CASED "]+",
      "\\s?[!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}]+",
      "\\s+$", EAST, "\\p{N}"}},
    {" deepseek-coder ", 0, 0, 0, {"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", EAST, "\\p{N}"}},
    {" deepseek-v3 ",
     0,
     0,
     0,
     {"\\p{N}{1,3}", "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?"
      "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*" TAIL}},
    {" tekken ",
     0,
     1,
     1,
     {START UPPER "*" LOWER "+|" START UPPER "+" LOWER "*|\\p{N}" SLASHES TAIL}},
    {" gpt-4o ",
     0,
     0,
     0,
     {START UPPER "*" LOWER "+" CONTRACTIONS "?|" START UPPER "+" LOWER "*" CONTRACTIONS
                  "?|\\p{N}{1,3}" SLASHES               TAIL}},
};
enum { KNOWN = sizeof table / sizeof *table };

static const struct known *find(const char *name, size_t bytes)
{
    char spaced[64];
    if (!bytes || bytes > sizeof spaced - 3 || memchr(name, ' ', bytes)) return NULL;
    spaced[0] = ' ';
    memcpy(spaced + 1, name, bytes);
    memcpy(spaced + 1 + bytes, " ", 2);
    for (size_t i = 0; i < KNOWN; i++)
        if (strstr(table[i].names, spaced)) return &table[i];
    return NULL;
}

ek_status known_setup(struct tokenizer *t, const char *name, size_t bytes, int *add_bos,
                      struct error *e)
{
    const struct known *k = find(name, bytes);
    if (!k)
        return fail(e, EK_E_UNSUPPORTED, "%s: tokenizer.ggml.pre: %.*s: unknown pre-tokenizer",
                    t->path, (int)(bytes > 80 ? 80 : bytes), name);
    t->byte_level    = 1;
    t->ignore_merges = k->ignore_merges;
    *add_bos         = k->add_bos;
    ek_status s      = EK_OK;
    if (k->nfc) s = norm_add(t, (struct norm){.kind = NORM_NFC}, e);
    for (size_t i = 0; !s && i < PATTERNS_MAX && k->patterns[i]; i++)
        s = split_add(t, k->patterns[i], strlen(k->patterns[i]), SPLIT_ISOLATED, 0, e);
    return s;
}

/* ---- plain vocabularies, which do not even name theirs ---- */

static int has(const struct tokenizer *t, const char *token)
{
    return vocab_find(t, token, strlen(token)) >= 0;
}

/* Sizes without added tokens. StarCoder's files claim GPT-2's class, so a vocabulary goes before
 * a class. */
const char *known_by_vocabulary(const struct tokenizer *t, const char *class)
{
    if (t->size == 128000 && has(t, "\xC4\xA0\xC4\xA0")) return "llama-bpe";
    if (t->size == 151643) return "qwen2";
    if (has(t, "<fim_prefix>") && has(t, "<issue_start>")) return "starcoder";
    if (class && !strncmp(class, "Qwen2Tokenizer", 14)) return "qwen2";
    if (class && !strncmp(class, "GPTNeoX", 7)) return "gpt-neox";
    return "gpt-2";
}

ek_status known_specials(struct tokenizer *t, struct error *e)
{
    static const struct {
        size_t  vocabulary;
        int32_t id;
        int     bos, eos;
        char    text[24];
    } specials[] = {
        {151643, 151643, 0, 0, "<|endoftext|>"},     {151643, 151644, 0, 0, "<|im_start|>"},
        {151643, 151645, 0, 1, "<|im_end|>"},        {128000, 128000, 1, 0, "<|begin_of_text|>"},
        {128000, 128001, 0, 0, "<|end_of_text|>"},   {128000, 128006, 0, 0, "<|start_header_id|>"},
        {128000, 128007, 0, 0, "<|end_header_id|>"}, {128000, 128009, 0, 1, "<|eot_id|>"},
        {50257, 50256, 1, 1, "<|endoftext|>"},
    };
    const size_t size = t->size;
    for (size_t i = 0; i < sizeof specials / sizeof *specials; i++) {
        if (specials[i].vocabulary != size) continue;
        const ek_status s = added_token(t, specials[i].id, specials[i].text,
                                        strlen(specials[i].text), (struct added){.special = 1}, e);
        if (s) return s;
        if (specials[i].bos) t->bos = specials[i].id;
        if (specials[i].eos) t->eos = specials[i].id;
    }
    return EK_OK;
}
