/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_impl.h - inside a tokenizer: vocabulary, merges, the steps of its pipeline. */
#ifndef EK_MODEL_TOKENIZER_IMPL_H
#define EK_MODEL_TOKENIZER_IMPL_H
#include "model/file.h"
#include "model/tokenizer.h"
#include "model/utf8.h"

#include <stddef.h>
#include <stdint.h>

enum {
    ID_MAX     = (1 << 20) - 1, /* four times the largest vocabulary known                        */
    TOKEN_MAX  = 4096,          /* bytes of a token's spelling; a decoded one must fit PIECE_MAX  */
    PREFIX_MAX = 8,             /* tokens put before a text                                       */
    FILE_LIMIT = 1 << 28,       /* bytes of a tokenizer file                                      */
};

/* ---- kinds of characters and byte-level letters (tokenizer_utf8.c) ---- */

int is_space(uint32_t c);
int is_word(uint32_t c);
/** GPT-2's letters: the character that spells a byte, and back (-1: none). */
uint32_t letter_of_byte(unsigned char b);
int      byte_of_letter(uint32_t c);
/** Bytes of a byte-level spelling into out (at most n); 0 when a character is no letter. */
size_t bytes_of_letters(const char *text, size_t n, char *out);

/* ---- growing bytes ---- */

struct buffer {
    char  *data;
    size_t bytes, capacity;
};
/** 0, or -1 when memory runs out. */
int  buffer_put(struct buffer *b, const char *data, size_t bytes);
void buffer_free(struct buffer *b);

/* ---- vocabulary (tokenizer_vocab.c) ---- */

enum {
    TOKEN_SET     = 1, /* the id exists                                    */
    TOKEN_SPECIAL = 2, /* control: no text                                 */
    TOKEN_ADDED   = 4, /* matched in the text before anything else         */
    TOKEN_APART   = 8, /* no product or part of a merge (bytes, unused)    */
};

struct token {
    uint32_t at; /* of its spelling in text */
    uint16_t bytes, flags;
};

struct slot {
    uint32_t hash;
    uint32_t id1; /* id + 1; 0: free */
};

struct merge {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX: free */
    uint32_t rank; /* lower goes first */
    int32_t  id;
};

/* ---- regular expressions (tokenizer_regex.c) ---- */

struct regex; /* immutable, compiled */
struct matcher;
ek_status regex_compile(struct regex **r, const char *pattern, size_t bytes, const char *path,
                        struct error *e);
void      regex_free(struct regex *r);
/** Working memory of matches; one per thread. NULL when there is none. */
struct matcher *matcher_open(void);
void            matcher_close(struct matcher *m);
/** The next match at or after from in well-formed text: 1, 0: none, -1: too complex. */
int regex_next(struct matcher *m, const struct regex *r, const char *text, size_t bytes,
               size_t from, size_t *begin, size_t *end);

/* ---- pipeline ---- */

enum norm_kind { NORM_NFC, NORM_NFD, NORM_NFKC, NORM_NFKD, NORM_PREPEND, NORM_REPLACE, NORM_TRIM };

/** One step on a whole text. PREPEND puts to before it; REPLACE puts to for from or for re's
 * matches; TRIM is SentencePiece's remove_extra_whitespaces. */
struct norm {
    enum norm_kind kind;
    char          *from, *to;
    size_t         from_bytes, to_bytes;
    struct regex  *re;
};

enum split_behavior {
    SPLIT_ISOLATED,
    SPLIT_REMOVED,
    SPLIT_CONTIGUOUS,
    SPLIT_MERGED_PREVIOUS,
    SPLIT_MERGED_NEXT
};

/** One step that cuts pieces where re matches. */
struct split {
    struct regex       *re;
    char               *pattern; /* for writing */
    enum split_behavior behavior;
    int                 invert;
};

/** What a pre-tokenizer puts before a text that does not begin with it. */
enum lead { LEAD_NONE, LEAD_FIRST, LEAD_ALWAYS };

struct added {
    int32_t       id;
    unsigned char lstrip, rstrip, single_word, normalized, special;
};

struct added_key {
    const char *text;
    uint32_t    bytes, index; /* into added */
};

/** Sorted, so that the longest match is found by narrowing a range. */
struct added_set {
    struct added_key *keys;
    size_t            count;
    unsigned char     begins[256];
    struct buffer     text; /* what normalized keys point into */
};

/** No token has anything but U+2581 before a U+2581 (Llama 2), or behind one: no merge joins what
 * lies on the two sides. */
enum cut { CUT_NOWHERE, CUT_BEFORE_SPACE, CUT_BEHIND_SPACE };

struct tokenizer {
    char *path;
    /* vocabulary */
    struct buffer text;
    struct token *tokens;
    size_t        size, token_capacity;
    struct slot  *slots;
    size_t        slot_count, slots_used; /* a power of two */
    struct merge *merges;
    size_t        merge_count, merges_used;
    int32_t       next_merged;  /* where the next merge's token is to be expected */
    int32_t       byte_id[256]; /* of a byte's letter, or of <0xNN>; -1: none */
    int32_t       ascii_id[128];
    /* model */
    int      byte_level; /* words are spelled in GPT-2's letters */
    int      byte_fallback, fuse_unk, ignore_merges;
    enum cut cut; /* where a text can be cut before BPE without changing its result */
    int32_t  unk;
    /* pipeline */
    struct norm     *norms;
    size_t           norm_count;
    int              metaspace; /* the pre-tokenizer writes spaces as U+2581 */
    enum lead        lead;
    struct split    *splits;
    size_t           split_count;
    struct added    *added;
    size_t           added_count;
    struct added_set raw_added, normalized_added;
    int32_t          prefix[PREFIX_MAX];
    size_t           prefix_count;
    int32_t          bos, eos;
    /* decoder */
    int decode_space; /* U+2581 is a space     */
    int decode_bytes; /* <0xNN> is a byte      */
    int decode_strip; /* the first space goes  */
    /* files as they were, for writing */
    struct file json;
    char       *config;
    size_t      config_bytes;
    char       *chat_template;
};

/** Adds an id; EK_E_FORMAT when it is taken, out of range or the text is unfit. */
ek_status vocab_add(struct tokenizer *t, int64_t id, const char *text, size_t bytes, unsigned flags,
                    struct error *e);
/** Room for n texts at once, so that few are moved; -1 when memory runs out. */
int vocab_reserve(struct tokenizer *t, size_t n);
/** Makes the text findable; 0 when another id has it already, -1 when memory runs out. */
int     vocab_index(struct tokenizer *t, int32_t id);
int32_t vocab_find(const struct tokenizer *t, const char *text, size_t bytes);
/** Room for n merges at once, so that none is moved. */
ek_status merges_reserve(struct tokenizer *t, size_t n, struct error *e);
ek_status merge_add(struct tokenizer *t, int32_t left, int32_t right, uint32_t rank, int32_t id,
                    struct error *e);
const struct merge *merge_find(const struct tokenizer *t, int32_t left, int32_t right);
/** All merges that make a token of two others, ranked as ranks[id] says (UINT32_MAX: none). */
ek_status merges_from_ranks(struct tokenizer *t, const uint32_t *ranks, struct error *e);
/** Ranks by falling score, equal scores alike, and the merges they mean. */
ek_status merges_from_scores(struct tokenizer *t, const float *scores, struct error *e);
/** Merge "left right"; number is its line for errors. */
ek_status merge_from_text(struct tokenizer *t, const char *left, size_t left_bytes,
                          const char *right, size_t right_bytes, size_t number, struct error *e);
/** Fills byte_id and ascii_id, checks that every token decodes within PIECE_MAX. */
ek_status vocab_finish(struct tokenizer *t, struct error *e);

/* ---- building (tokenizer_build.c) ---- */

ek_status norm_add(struct tokenizer *t, struct norm n, struct error *e);
ek_status norm_add_replace(struct tokenizer *t, const char *from, const char *to, struct error *e);
ek_status norm_add_prepend(struct tokenizer *t, const char *text, struct error *e);
ek_status split_add(struct tokenizer *t, const char *pattern, size_t bytes,
                    enum split_behavior behavior, int invert, struct error *e);
ek_status added_add(struct tokenizer *t, struct added a, struct error *e);
/** Adds or marks an added token by its text. */
ek_status added_token(struct tokenizer *t, int64_t id, const char *text, size_t bytes,
                      struct added flags, struct error *e);
/** Indexes the added tokens: the last step of every reader. */
ek_status tokenizer_finish(struct tokenizer *t, struct error *e);
/** SentencePiece's ways: spaces as U+2581, one before the text, byte fallback. */
ek_status sentencepiece_setup(struct tokenizer *t, int space_prefix, int trim, struct error *e);
/** A known pre-split by its GGUF name, or by a vocabulary; EK_E_UNSUPPORTED names it. */
ek_status   known_setup(struct tokenizer *t, const char *name, size_t bytes, int *add_bos,
                        struct error *e);
const char *known_by_vocabulary(const struct tokenizer *t, const char *tokenizer_class);
/** Special tokens of published vocabularies whose files lack them. */
ek_status known_specials(struct tokenizer *t, struct error *e);

/* ---- readers ---- */

ek_status read_tokenizer_json(struct tokenizer *t, const char *data, size_t bytes, struct error *e);
ek_status read_vocab_json(struct tokenizer *t, const char *data, size_t bytes, const char *merges,
                          size_t merges_bytes, const char *tokenizer_class, struct error *e);
ek_status read_tiktoken(struct tokenizer *t, const char *data, size_t bytes, struct error *e);
ek_status read_sentencepiece(struct tokenizer *t, const unsigned char *data, size_t bytes,
                             struct error *e);
ek_status read_llama2c(struct tokenizer *t, const unsigned char *data, size_t bytes,
                       struct error *e);
ek_status read_gguf(struct tokenizer *t, const struct gguf *g, struct error *e);
/** tokenizer_config.json and its kin beside a tokenizer: dir/... */
ek_status read_config(struct tokenizer *t, const char *dir, struct error *e);
/** tokenizer_class out of it: malloc'd or NULL. */
char *config_class(const char *dir);

/** An empty tokenizer; NULL when memory runs out. */
struct tokenizer *tokenizer_new(const char *path);

/* ---- running ---- */

struct ids {
    int32_t *data;
    size_t   count, capacity;
};

struct symbol {
    int32_t  id; /* DEAD: merged into the one before */
    uint32_t prev, next;
};

struct candidate {
    uint64_t key; /* rank << 32 | position: the lowest goes first */
    int32_t  id;
};

/** Working memory of one call of tokenizer_encode. */
struct encoder {
    const struct tokenizer *t;
    unsigned                flags;
    struct ids              ids;
    struct symbol          *symbols;
    size_t                  symbol_count, symbol_capacity;
    struct candidate       *heap;
    size_t                  heap_count, heap_capacity;
    struct buffer           normal[2], lead;
    struct matcher         *matcher;
    struct error           *e;
};

int ids_put(struct ids *ids, int32_t id);
/** Ids of one word. */
ek_status bpe_word(struct encoder *x, const char *text, size_t bytes);
/** *out is text itself or in one of the buffers. */
ek_status normalize(const struct tokenizer *t, struct buffer *work, struct matcher **m,
                    const char *text, size_t bytes, const char **out, size_t *out_bytes);
/** Cuts a text by the pre-tokenizer's steps from step on, then encodes the words. */
ek_status split_text(struct encoder *x, size_t step, const char *text, size_t bytes);
/** Next match of set in text at or after from: index into added, or -1. */
ptrdiff_t added_next(const struct tokenizer *t, const struct added_set *set, unsigned flags,
                     const char *text, size_t bytes, size_t from, size_t *begin, size_t *end);
ek_status added_index(struct tokenizer *t, struct error *e);

#define LOW_LINE "\xE2\x96\x81" /* U+2581, SentencePiece's space */
#endif
