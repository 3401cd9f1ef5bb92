/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer.h - text to token ids and back: byte-level BPE and SentencePiece-BPE. */
#ifndef EK_MODEL_TOKENIZER_H
#define EK_MODEL_TOKENIZER_H
#include "model/error.h"

#include <stddef.h>
#include <stdint.h>

struct gguf;
struct tokenizer; /* immutable once opened; shared between threads */

/** Reads the tokenizer of a model directory (tokenizer.json, else vocab.json or encoder.json with
 * merges.txt or vocab.bpe, else tokenizer.model), or one such file, or llama2.c's tok512.bin. */
ek_status tokenizer_open(struct tokenizer **t, const char *path, struct error *e);
/** The tokenizer inside a GGUF file's metadata. */
ek_status tokenizer_from_gguf(struct tokenizer **t, const struct gguf *g, const char *path,
                              struct error *e);
void      tokenizer_close(struct tokenizer *t);

size_t tokenizer_size(const struct tokenizer *t); /* largest id + 1 */

enum tokenizer_flags {
    TOKENIZE_BOS     = 1, /* as the tokenizer's own configuration adds BOS                 */
    TOKENIZE_SPECIAL = 2, /* special tokens in the text are tokens, not text               */
};

/**
 * Encodes text (any bytes; invalid UTF-8 as the tokenizer's byte fallback does).
 *
 * *ids is malloc'd, *count long. EK_E_NOMEM, EK_E_ARG. */
ek_status tokenizer_encode(const struct tokenizer *t, const char *text, size_t bytes,
                           unsigned flags, int32_t **ids, size_t *count, struct error *e);

/** Streaming decoder: holds back incomplete UTF-8. Zero-initialise; one per text. */
struct detokenizer {
    char   held[8];
    size_t held_bytes;
    int    begun; /* SentencePiece drops the first space */
};
enum { PIECE_MAX = 1024 };

/** Bytes of one more token into out (PIECE_MAX); returns their number. Special tokens give their
 * text only when show_special. Unknown ids give nothing. */
size_t detokenize(struct detokenizer *d, const struct tokenizer *t, int32_t id, int show_special,
                  char *out);
/** What is still held, as it is (U+FFFD for a broken sequence). */
size_t detokenize_end(struct detokenizer *d, char *out);

/** The id of exactly this token text (special or not), or -1. */
int32_t tokenizer_find(const struct tokenizer *t, const char *token);
/** The raw token text as the vocabulary spells it; NULL for an unknown id. */
const char *tokenizer_text(const struct tokenizer *t, int32_t id, size_t *bytes);
int         tokenizer_is_special(const struct tokenizer *t, int32_t id);

int32_t     tokenizer_bos(const struct tokenizer *t); /* -1: none */
int32_t     tokenizer_eos(const struct tokenizer *t);
const char *tokenizer_chat_template(const struct tokenizer *t); /* Jinja text, or NULL */

/** tokenizer.json of this tokenizer, so that a converted directory keeps it: malloc'd text. */
char *tokenizer_write_json(const struct tokenizer *t, size_t *bytes);
/** tokenizer_config.json likewise (bos, eos, chat template). */
char *tokenizer_write_config(const struct tokenizer *t, size_t *bytes);
#endif
