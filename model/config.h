/* SPDX-License-Identifier: Apache-2.0 */
/* model/config.h - what a model is: sizes and switches, from config.json, GGUF metadata or a
 * llama2.c header, checked. */
#ifndef EK_MODEL_CONFIG_H
#define EK_MODEL_CONFIG_H
#include "ek/vector.h"
#include "model/error.h"

#include <stddef.h>
#include <stdint.h>

enum { EOS_MAX = 16, LAYERS_MAX = 1024 };

/** tied, between config_parse and source_open, when config.json does not say: the files decide. */
enum { CONFIG_TIED_UNSAID = -1 };

struct config {
    char   arch[32];                   /* model_type: "llama", "qwen2", "qwen3", "mistral"     */
    size_t layers, hidden, ffn, vocab; /* vocab: rows of the embedding                         */
    size_t heads, kv_heads, head_dim;
    size_t context; /* max_position_embeddings                                      */
    size_t window;  /* sliding window in tokens; 0: none                            */
    size_t window_from, window_to; /* layers [from, to) have it                                */
    float  rms_eps;
    struct ek_rope_config rope;
    size_t                rot; /* rotated elements of a head                                   */
    int                   rope_interleaved; /* pairs (2i, 2i+1): GGUF llama files, llama2.c    */
    int                   tied; /* the head is the embedding; or CONFIG_TIED_UNSAID          */
    int                   qkv_bias, o_bias, mlp_bias, qk_norm;
    enum ek_act_kind      act;
    int32_t               bos, pad; /* -1: none */
    int32_t               eos[EOS_MAX];
    size_t                eos_count;
    /* generation_config.json; 0 or as given */
    float  temperature, top_p, repetition_penalty;
    size_t top_k;
};

/**
 * Parses config.json (text, bytes) and, unless NULL, generation_config.json.
 *
 * Returns  EK_OK; EK_E_FORMAT for what is malformed, missing, out of range or contradictory;
 *          EK_E_UNSUPPORTED for another architecture, activation or rope type, which it names. */
ek_status config_parse(struct config *c, const char *path, const char *text, size_t bytes,
                       const char *generation, size_t generation_bytes, struct error *e);

/** What a config has before anything is known: no tokens, SiLU, theta 10000. */
void config_defaults(struct config *c);
/** Sets c->arch; EK_E_UNSUPPORTED, which names it and the known ones. */
ek_status config_arch(struct config *c, const char *path, const char *name, struct error *e);
/** An activation as config.json calls it. */
const char *config_act_name(enum ek_act_kind kind);

/** Is what the members say possible? Used by every reader. */
ek_status config_check(const struct config *c, const char *path, struct error *e);

/** config.json for our own directories: malloc'd text; NULL when memory runs out. */
char *config_write(const struct config *c);

/** generation_config.json likewise. */
char *config_write_generation(const struct config *c);
#endif
