/* SPDX-License-Identifier: Apache-2.0 */
/* model/model.h - a loaded model and a session that runs it: the interface of the runner. */
#ifndef EK_MODEL_MODEL_H
#define EK_MODEL_MODEL_H
#include "ek/ek.h"
#include "model/config.h"
#include "model/error.h"
#include "model/sampler.h"
#include "model/source.h"
#include "model/tokenizer.h"

#include <stddef.h>
#include <stdint.h>

/** A model: weights where they lie (mapped or packed at load), immutable, shared by sessions. */
struct model;

/** Called during long steps with done out of total; may be NULL. */
typedef void progress_fn(void *self, const char *what, uint64_t done, uint64_t total);

/** How the next token's logits are found. */
enum head_mode {
    HEAD_FULL,
    HEAD_SLICED,    /* common tokens only: the others have no probability                     */
    HEAD_CERTIFIED, /* where only the largest are needed: from a 4-bit copy and the rows that it
                       cannot rule out; the same logits (ek/head.h); else as HEAD_FULL            */
    HEAD_ROUTER,    /* sliced, or full where a router expects a rare token                      */
};

/** How the logits of one state were found, by a head that is not HEAD_FULL. */
struct head_decision {
    int32_t position;        /* of the state's token                                          */
    float   p_rare;          /* what the router expects; NaN without one                      */
    int     full, verified;  /* all rows were computed; for full_best only                    */
    int32_t best, full_best; /* likeliest token; that of all rows: best where neither        */
};
typedef void head_fn(void *self, const struct head_decision *decision);

struct model_options {
    const ek_pool *pool;   /* for packing at load; NULL: serial                                  */
    const char    *cuts;   /* file that lists blocks to leave out, or NULL: model/cuts.h; their
                            weights are not loaded                                             */
    const char    *sparse; /* file of thresholds, or NULL: model/thresholds.h           */
    const char    *predictor; /* with sparse: file of predictors, or NULL: model/predictors.h */
    enum head_mode head;
    const char    *router; /* model/router.h: its directory, or for HEAD_SLICED a list of tokens */
    uint64_t     made_for; /* 0, or the checksum of the model that sparse, predictor and router were
                                made for: this is a copy of it in another format                */
    progress_fn *progress;
    void        *progress_self;
};

/** Opens a directory or file. Tokenizer and weights that are missing are errors here. */
ek_status model_open(struct model **out, const char *path, const struct model_options *o,
                     struct error *e);
void      model_close(struct model *m);

const struct config *model_config(const struct model *m);
/** Opened on first use (speed needs none); NULL with *e when there is none. Not thread-safe. */
const struct tokenizer *model_tokenizer(struct model *m, struct error *e);

struct model_facts {
    const char *type; /* "llama 1B q4g32" as llama-bench's model_type              */
    const char *path;
    uint64_t    file_bytes;      /* weight files on disk                                      */
    uint64_t    weight_bytes;    /* of all tensors as they are used                           */
    uint64_t    bytes_per_token; /* weights read for one decoded token, KV not included       */
    uint64_t    params;          /* a tied head counted once                                  */
    uint64_t    packed_bytes;    /* allocated at load because the file's layout is another's  */
    uint64_t    checksum;        /* of config and tensors: identifies the model in results    */
    uint64_t    mlp_bytes;       /* of bytes_per_token                                        */
    uint64_t    head_bytes;      /* of bytes_per_token                                        */
    uint64_t    neuron_bytes; /* weights kept neuron by neuron or column by column: of these a token
                                    reads the share that session_neurons tells, instead of ... */
    uint64_t    replaced_bytes;  /* ... these of bytes_per_token                              */
    uint64_t    predictor_bytes; /* of bytes_per_token: predictors of sparse MLPs             */
    uint64_t    gate_bytes; /* of bytes_per_token: gates of MLPs with one, of which a token reads
                                    the share that session_gates tells                        */
    size_t      blocks_cut; /* left out: attention and MLPs counted                      */
    double      load_ms;
};
void model_facts(const struct model *m, struct model_facts *f);

enum { SESSION_CONTEXT = 4096, SESSION_BATCH = 512 };

/** Places in the forward pass whose numbers can be looked at. */
enum tap {
    TAP_ATTN_IN,    /* "attn.in": normed input of attention [hidden]                 */
    TAP_ATTN_OUT,   /* "attn.out": input of its output projection [heads head_dim]   */
    TAP_MLP_IN,     /* "mlp.in": normed input of an MLP [hidden]                     */
    TAP_MLP_GATE,   /* "mlp.gate": its gates before the activation [ffn]             */
    TAP_MLP_HIDDEN, /* "mlp.hidden": input of its down projection, act(gate) up [ffn] */
    TAP_HEAD_IN,    /* "head.in": normed input of the head [hidden]; its layer is 0   */
    TAP_COUNT
};
const char *tap_name(enum tap tap);

/** Called with m rows of n numbers, ld apart, in the order of tokens. They must not be changed. */
typedef void tap_fn(void *self, enum tap tap, size_t layer, const float *x, size_t m, size_t n,
                    size_t ld);

struct session_options {
    const ek_pool     *pool;       /* NULL: serial                                            */
    enum ek_fmt        kv;         /* EK_FMT_f32, f16, bf16 or i8                             */
    size_t             context;    /* tokens; 0: the model's, at most SESSION_CONTEXT         */
    size_t             batch;      /* tokens of one prefill step; 0: SESSION_BATCH            */
    size_t             sinks;      /* with a window: first tokens that stay visible           */
    enum ek_activation activation; /* EK_ACTIVATION_AUTO, I8, F32                             */
    tap_fn            *tap;        /* or NULL */
    void              *tap_self;
    float              router_threshold; /* P(rare) above which all rows are computed         */
    head_fn           *decided;          /* or NULL: told of every state's logits             */
    void              *decided_self;
    int                head_verify; /* compute all rows too, for full_best                      */
    uint64_t weight_cache; /* bytes of neurons kept in memory while the others stay in the file; 0:
                              neurons are read where they are mapped. Needs thresholds and stored
                              neurons                                                        */
    const unsigned char *skip; /* [layers] of enum cut_kind: what this session leaves out, or
                                  NULL. Read at each step: change it when length is 0         */
};

/** Caches and buffers of one text. One thread at a time. */
struct session;

/** Exact sizes, before anything is allocated: KV cache of all layers; everything else. */
ek_status session_bytes(const struct model *m, const struct session_options *o, uint64_t *kv_bytes,
                        uint64_t *work_bytes, struct error *e);
ek_status session_open(struct session **out, const struct model *m, const struct session_options *o,
                       struct error *e);
void      session_close(struct session *s);

enum logits_wanted { LOGITS_NONE, LOGITS_LAST, LOGITS_ALL };

/**
 * Runs n more tokens; n > batch goes in steps. Bytes of the result depend on neither threads nor,
 * to rounding, on how a text was cut into calls.
 *
 * LOGITS_LAST: *logits = [vocab]. LOGITS_ALL: n <= batch, *logits = [n][vocab]. They stay valid
 * until the next call. Returns EK_E_ARG for an id that is none, EK_E_OVERFLOW when the context is
 * full (nothing was changed). */
ek_status session_eval(struct session *s, const int32_t *ids, size_t n, enum logits_wanted wanted,
                       const float **logits, struct error *e);

/** What the session was opened with, the defaults filled in. */
const struct session_options *session_settings(const struct session *s);
/** Bytes of the weights that read what a tap shows; 0 where the plan has none. */
uint64_t model_input_bytes(const struct model *m, enum tap tap, size_t layer);
/** Length of each of their columns, what a unit of an input adds: out [inputs]. EK_E_ARG where the plan
 * has none. */
ek_status model_input_norms(const struct model *m, enum tap tap, size_t layer, float *out);

/** From now on LOGITS_LAST need hold only the `top` largest logits, the rest may be -infinity. 0, or
 * more than a certified head gives: all of them. */
void session_head_top(struct session *s, size_t top);
/** What the head did since the session was opened; all but seconds only of heads other than HEAD_FULL. */
struct head_reading {
    uint64_t calls, full; /* states; those of them for which all rows were computed */
    uint64_t bytes;       /* of weights                                             */
    double   seconds;     /* with the norm before it                                */
};
struct head_reading session_head_read(const struct session *s);

/** Bytes of weights that --sparse could have read in whole steps' stead, and read, since the session was
 * opened. */
void session_neurons(const struct session *s, uint64_t *of, uint64_t *taken);

/** Gates of MLPs with a predictor, and those that were computed. */
void session_gates(const struct session *s, uint64_t *of, uint64_t *read);
/** What the weight cache has done since the session was opened; 0 where there is none. */
struct tier_counts; /* model/tier.h */
int session_weight_cache(const struct session *s, struct tier_counts *counts);

/** Tokens so far. */
size_t session_length(const struct session *s);
/** Forgets all tokens from length on. EK_E_ARG where a window has already dropped what would be
 * visible again. */
ek_status session_truncate(struct session *s, size_t length);
/** Bytes of cache that hold the tokens so far, and in all. */
void session_kv_used(const struct session *s, uint64_t *used, uint64_t *total);
#endif
