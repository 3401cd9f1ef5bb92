/* SPDX-License-Identifier: Apache-2.0 */
/* model/plan.h - a model as a list of residual blocks: x += block(norm(x)), in order. What a block
 * is - attention, a gated MLP, later others - stands in one table of functions, its kind. Internal
 * to the runner. */
#ifndef EK_MODEL_PLAN_H
#define EK_MODEL_PLAN_H
#include "ek/head.h"
#include "ek/sparse.h"
#include "model/cuts.h"
#include "model/model.h"
#include "model/predictors.h"
#include "model/router.h"
#include "model/thresholds.h"
#include "model/tier.h"

enum { PARTS_MAX = 3 };

/** One to three matrices over the same input; their outputs lie side by side. */
struct projection {
    struct ek_weights part[PARTS_MAX];
    size_t            parts;
    size_t            n, k; /* all rows together; columns */
    const float      *bias; /* [n], or NULL               */
    /* the same, column by column, without data where it is not wanted: inputs with |x| below the
     * threshold are left out of steps of up to EK_GEMV_MAX_M tokens */
    struct ek_neurons columns;
    float             threshold;
};

struct attention_block {
    struct projection qkv, out;
    const float      *q_norm, *k_norm; /* [head_dim], or NULL */
    size_t            window;          /* 0: none             */
};

struct gated_block {
    struct projection gate_up, down;
    /* of a sparse block: the same up and down weights, neuron by neuron */
    struct ek_neurons    neurons;
    float                threshold; /* neurons with |act(gate)| below it are left out */
    const struct tensor *stored; /* neurons as the file has them: there is no other up and down */
    /* of one with a predictor, else without data */
    struct ek_weights   predict_down, predict_up;
    struct ek_mask_rule predict_rule;
    struct ek_neurons   bundles;      /* of packed gates: gate, up, down of a neuron together */
    size_t              bundles_most; /* neurons that are read from there at most           */
};

/** What stands beside the matrix of all rows of a head. */
struct short_head {
    enum head_mode        mode;
    struct ek_head_screen screen; /* HEAD_CERTIFIED                            */
    struct projection     slice;  /* HEAD_SLICED, HEAD_ROUTER: the common rows */
    struct router         router; /* their ids; its layers for HEAD_ROUTER     */
};

struct block {
    const struct block_kind *kind;
    size_t                   layer;
    const float             *norm; /* [hidden] */
    union {
        struct attention_block attention;
        struct gated_block     gated;
    };
};

struct loader; /* model.c */
struct pass;   /* one step of a session */

struct block_kind {
    const char   *name;
    enum cut_kind cut; /* what leaves it out */
    /** Finds the block's tensors; names what is missing. */
    ek_status (*load)(struct loader *l, struct block *b, struct error *e);
    /** Its projections, one after another; NULL past the last. */
    const struct projection *(*projection)(const struct block *b, size_t i);
    /** Bytes of state that a session keeps for it. */
    ek_status (*state_bytes)(const struct block *b, const struct session *s, size_t *bytes);
    /** Bytes of working memory for m tokens, its projections not included. */
    ek_status (*work_bytes)(const struct block *b, const struct session *s, size_t m,
                            size_t *bytes);
    /** y [m][hidden] from the normed x [m][hidden]. */
    ek_status (*run)(const struct block *b, struct pass *p, const float *x, float *y);
};
extern const struct block_kind block_attention, block_gated, block_sparse;

/* Shared by all gated MLPs. */
const struct projection *gated_projection(const struct block *b, size_t i);
ek_status gated_state_bytes(const struct block *b, const struct session *s, size_t *bytes);
/** y = act(gate) * up, or act(gate) where up is NULL: m rows of n. y may be gate or up. */
struct gated_rows {
    const float *gate, *up;
    float       *y;
    size_t       m, n, ld_gate, ld_up, ld_y;
};
void gated_activate(const struct pass *p, const struct gated_rows *g);
/** run for `most` tokens of a pass after the other. */
typedef ek_status gated_run_fn(const struct block *b, struct pass *p, const float *x, float *y);
ek_status gated_pieces(const struct block *b, struct pass *p, const float *x, float *y, size_t most,
                       gated_run_fn *run);
/** How lists of neurons whose gates are given are multiplied. */
struct ek_sparse_options sparse_options(const struct session *s, const struct ek_neurons *w,
                                        const float *gate);
/** The gates [m][ffn] of all neurons, before the activation. */
ek_status gated_gates(const struct block *b, struct pass *p, const float *x, float *gate);
/** All neurons of a file that has no up and down matrices, for more than EK_GEMV_MAX_M tokens
 * (block_stored.c): work_bytes and run of a block_kind. */
ek_status stored_work_bytes(const struct block *b, const struct session *s, size_t m,
                            size_t *bytes);
ek_status stored_run(const struct block *b, struct pass *p, const float *x, float *y);

struct model {
    struct source    *source;
    struct tokenizer *tokenizer;
    struct config     config;
    struct ek_kernels kernels;
    struct block     *blocks;
    size_t            block_count, blocks_cut;
    struct projection head; /* of all rows */
    struct short_head short_head;
    struct ek_weights embedding;
    const float      *norm;       /* [hidden] final */
    struct thresholds thresholds; /* layers 0: no MLP is sparse */
    struct predictors predictors; /* layers 0: all gates are computed */
    void            **owned;      /* memory of what is not used where it lies */
    size_t            owned_count, owned_room;
    uint64_t          packed_bytes;
    double            load_ms;
    char              type[64];
};

/* ---- for load functions ---- */

/** Matrices of a layer that share their input: "model.layers.<layer>.<name>.weight". */
struct projection_spec {
    const char *const *names; /* [parts]                                         */
    const size_t      *rows;  /* [parts]                                         */
    size_t             parts, k;
    const char        *fused; /* the name where they are one tensor, or NULL     */
    int                bias;  /* each has a bias                                 */
    enum tap           input; /* what it reads, for its threshold                */
};
ek_status load_projection(struct loader *l, size_t layer, const struct projection_spec *spec,
                          struct projection *p, struct error *e);
/** Memory that lives as long as the model, 64-byte aligned; NULL when there is none. */
void *load_memory(struct loader *l, size_t bytes);
/** The neurons that a file has of a layer, or NULL. */
const struct tensor *load_neurons(const struct loader *l, size_t layer);
/** The threshold of a layer's sparse MLP, 0 where neurons are stored and none were asked for; names
 * what is missing. */
ek_status      load_threshold(struct loader *l, size_t layer, float *out, struct error *e);
const ek_pool *loader_pool(const struct loader *l);
const struct predictors *loader_predictors(const struct loader *l);
ek_status load_vector(struct loader *l, size_t layer, const char *name, size_t n, const float **out,
                      struct error *e);
const struct config *loader_config(const struct loader *l);
struct model        *loader_model(const struct loader *l);
/** Of the model that files beside it must have been made for. */
uint64_t loader_checksum(const struct loader *l);

/* ---- predictors of sparse MLPs (block_predict.c) ---- */

static inline int predicts(const struct gated_block *g)
{
    return g->predict_up.data != NULL;
}
/** Behind the block's own loading; nothing where the model has no predictors. */
ek_status predict_load(struct loader *l, struct block *b, struct error *e);
/** Working memory of predict_list for m tokens; 0 without a predictor. */
ek_status predict_work_bytes(const struct block *b, const struct session *s, size_t m,
                             size_t *bytes);
/** The neurons expected of any token, ascending. list: [ffn]. */
ek_status predict_list(const struct block *b, struct pass *p, const float *x, uint32_t *list,
                       size_t *count, void *work, size_t work_bytes);
/** So few of packed gates that predict_bundles is there for them. */
static inline int predicts_few(const struct gated_block *g, size_t count)
{
    return g->bundles.data && count <= g->bundles_most;
}
/** y is the MLP of these neurons, whatever their gates; work is as for predict_list. */
ek_status predict_bundles(const struct block *b, struct pass *p, const float *x,
                          const uint32_t *list, size_t count, float *y, void *work,
                          size_t work_bytes);
/** Their gates before the activation: y [m][count]; room for [m][ffn]. */
ek_status predict_gates(struct pass *p, const struct projection *gates, const float *x,
                        const uint32_t *list, size_t count, float *y);

/** Identifies the model: its activation, names, shapes, formats and contents of its tensors. */
uint64_t model_checksum(const struct model *m);
/** Sets m->type, "llama 1.24B q4g32". */
void model_name_type(struct model *m);

/** The format of neurons for weights of fmt: the same where neurons have it, else 8 bit. */
static inline enum ek_fmt neuron_format(enum ek_fmt fmt)
{
    return ek_neuron_width(fmt, 1) ? fmt : EK_FMT_q8g32;
}

/* ---- columns of a projection (columns.c): TEAL, arXiv 2408.14690 ---- */

/** Makes the columns of a projection that was loaded. */
ek_status columns_load(struct loader *l, struct projection *p, float threshold, struct error *e);
/** Of the working memory that products share. */
ek_status columns_work_bytes(const struct projection *p, size_t m, size_t *bytes);
/** As projection_run, without the bias. */
ek_status columns_run(const struct pass *p, const struct projection *w, const float *x, size_t ldx,
                      float *y, size_t ldy);

/* ---- a session and one step of it ---- */

/** Which slot holds which position: shared by all layers with the same window. */
struct ring {
    size_t   window, sinks;
    size_t   slots, used;
    int32_t *pos; /* [slots], -1: empty */
};

struct session {
    const struct model    *model;
    struct session_options o;
    struct ring            rings[2];  /* without and with the model's window */
    void                 **state;     /* per block */
    float                 *cos, *sin; /* [context][rot / 2] */
    float                 *x, *h, *y, *logits;
    size_t                 logits_rows;
    int32_t               *pos, *slot; /* [batch] */
    void                  *work;
    size_t                 work_bytes, linear_bytes; /* linear's share lies first */
    size_t                 length;
    uint64_t               kv_bytes;
    uint64_t               neurons, neurons_taken; /* bytes of what is sparse */
    uint64_t               gates, gates_read;      /* of those with a predictor */
    struct tier           *tier;                   /* NULL: neurons are read where they lie */
    size_t                 head_top;               /* 0: all logits */
    uint64_t               head_calls, head_full;  /* not by HEAD_FULL; those that took all rows */
    struct ek_head_counts  head_counts;
    double                 head_seconds; /* with its norm, whatever the head */
    void                  *arena;
};

struct pass {
    struct session *s;
    size_t          m;
    const int32_t  *pos; /* [m] */
    void           *work;
    size_t          work_bytes;
};

const struct ring *session_ring(const struct session *s, size_t window);

/** Where a position is kept: sinks stay, the others go round. */
int32_t ring_slot(const struct ring *r, size_t pos);

/** Counts what a list takes of w. */
void count_taken(struct session *s, const struct ek_neurons *w, size_t count);

static inline size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

/** Working memory is cut into pieces of whole cache lines. */
static inline size_t whole_lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

struct ek_linear_options session_linear_options(const struct session *s);

/* ---- the head (head.c) ---- */

/** Makes what the mode wants from the model's head. */
ek_status head_load(struct loader *l, const struct model_options *o, struct error *e);
/** What the mode wants of a session's working memory, its projections not included. */
ek_status head_work_bytes(const struct session *s, size_t *bytes);
/** logits [rows][vocab] of x [rows][hidden], the last of the step; those not computed are
 * -infinity. */
ek_status head_run(struct pass *p, const float *x, size_t rows, float *logits);

/** One step (forward.c): p->m tokens, logits of the last rows of them. */
ek_status forward(struct pass *p, const int32_t *ids, size_t rows, float *logits);

/** y [m][ldy] = x [m][ldx] through every part, plus bias. */
ek_status projection_run(const struct pass *p, const struct projection *w, const float *x,
                         size_t ldx, float *y, size_t ldy);

/** Shows rows to the session's tap, where it has one. */
void pass_tap(const struct pass *p, enum tap tap, size_t layer, const float *x, size_t m, size_t n,
              size_t ld);

/** The pool where work on this many elements pays for waking it, else NULL. */
const ek_pool *pass_pool(const struct pass *p, size_t elements);
#endif
