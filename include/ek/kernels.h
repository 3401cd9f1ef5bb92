/* SPDX-License-Identifier: Apache-2.0 */
/* ek/kernels.h - the kernel table: argument structs, function types, selection by CPU bits.
 *
 * An engine that has its own threads and memory uses this header alone:
 *
 *     struct ek_kernels t;
 *     ek_kernels_select(ek_cpu_detect(), &t);
 *     t.gemv_i8[EK_FMT_q4g32]->fn.gemv_i8(&args, row0, row1);
 *
 * What every kernel promises: it is serial; it works on the half-open range [begin, end) of its
 * items and any split of the range gives the same bits; it cannot fail, allocate, lock, print or
 * touch state of its own; it reads and writes exactly the bytes its arguments document. Sizes are
 * in elements unless a name ends in _bytes. Inputs and outputs do not overlap unless stated.
 * Pointers need the alignment of their element, packed weights and scratch 64 bytes. */
#ifndef EK_KERNELS_H
#define EK_KERNELS_H
#include "ek/cpu.h"
#include "ek/formats.h"
#include "ek/status.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    EK_GEMV_MAX_M    = 8,     /* rows of x that gemv and gemv_i8 take                       */
    EK_TILE          = 6,     /* tokens of one tile of gemm's activations                   */
    EK_TILE_AMX      = 16,    /* those of gemm_i8 where it needs the CPU bit amx            */
    EK_GEMM_KB_F32   = 256,   /* columns of a K block of gemm                               */
    EK_GEMM_KB_I8    = 1024,  /* columns of a K block of gemm_i8                            */
    EK_GEMM_SCRATCH  = 81920, /* bytes: a block of unpacked weights, its scales; sums   */
    EK_READ_BLOCK    = 4096,  /* bytes of one item of read                                 */
    EK_PEAK_LANE_OPS = 768,   /* multiply-adds (f32) or 4-wide dot products (i8) per step  */
    EK_GQA_CHUNK     = 512,   /* slots of one item of gqa_decode                           */
    EK_GQA_HEAD      = 16,    /* f32 of a part of gqa_decode before its o                  */
    EK_SPARSE_SIDE   = 8,     /* neurons that sparse kernels take at a time                */
    EK_SPARSE_RUN    = 512,   /* columns of a run of lane order                            */
};

/**
 * y = W x for m <= 8 tokens; each weight is decoded once, and every row of y has the bits it would
 * have with m = 1. Items: rows of W.
 *
 * y[t][r] = sum_c W[r][c] * x[t][c], f32 sums. |error| <= 2^-23 * (k + 4) * sum |W||x|. */
struct ek_gemv_args {
    const void  *w;    /* [n][k] in the kernel's format                                         */
    const float *x;    /* [m][ldx] f32, k readable columns; zero from the true k to k           */
    const float *xsum; /* [m][k / group] f32: sum of x over each group; MIN and SUPER only      */
    float       *y;    /* [m][ldy] f32; columns begin..end are written                          */
    size_t       n, k; /* k = ek_padded_k: whole groups                                         */
    size_t       m;    /* 1..EK_GEMV_MAX_M                                                      */
    size_t       ldx, ldy;
    size_t       streams; /* as in ek_kernels; 0: the kernel's choice. Changes no bit of y.     */
};
typedef void ek_gemv_fn(const struct ek_gemv_args *a, size_t begin, size_t end);

/**
 * gemv with activations quantised to 8 bit per group of the weights: x[t][c] = xd[t][g] * xq[t][c].
 * Integer sums inside a group are exact; groups are added in f32. Items: rows of W. */
struct ek_gemv_i8_args {
    const void    *w;  /* [n][k] in the kernel's packed format                                  */
    const int8_t  *xq; /* [m][k] in [-127, 127]                                                 */
    const float   *xd; /* [m][k / group] scales                                                 */
    const int32_t *xs; /* [m][k / group] sums of xq over each group                             */
    float         *y;  /* [m][ldy] f32                                                          */
    size_t         n, k, m, ldy;
    size_t         streams; /* as in ek_gemv_args */
};
typedef void ek_gemv_i8_fn(const struct ek_gemv_i8_args *a, size_t begin, size_t end);

/**
 * Y = X W^T for many tokens. Items: rows of W; ranges that start at multiples of 32 are fastest.
 * Activations come tiled (ek_tile_f32): K blocks of EK_GEMM_KB_F32 columns (the last may be
 * shorter), inside a block tiles of EK_TILE tokens, inside a tile [column][token]; tokens past m
 * are zero. Up to about 512 tokens at a time keep a K block in the second level of cache. scratch
 * belongs to one call at a time: calls that run at once need one each. */
struct ek_gemm_args {
    const void  *w; /* [n][k] in the kernel's format                                         */
    const float *x; /* tiled f32, ek_tile_f32_bytes                                          */
    float       *y; /* [m][ldy] f32; columns begin..end are written                          */
    size_t       n, k, m, ldy;
    void        *scratch; /* EK_GEMM_SCRATCH bytes, 64-byte aligned                          */
};
typedef void ek_gemm_fn(const struct ek_gemm_args *a, size_t begin, size_t end);

/**
 * gemm with 8-bit activations, tiled by ek_tile_i8: K blocks of EK_GEMM_KB_I8 columns, tiles of the
 * kernel's `tile` tokens, inside a tile [column / 4][token][4] (EK_TILE) or [column / 64][token][64]
 * (EK_TILE_AMX; with groups of 32 [column / 32][token][32]). */
struct ek_gemm_i8_args {
    const void    *w;  /* [n][k] in the kernel's packed format                                  */
    const int8_t  *x;  /* tiled, ek_tile_i8_bytes                                               */
    const float   *xd; /* [K block][tile][group][token] scales                                  */
    const int32_t *xs; /* the same shape: -zero * sum of x (SYM), sum of x (MIN, SUPER)         */
    float         *y;  /* [m][ldy] f32                                                          */
    size_t         n, k, m, ldy;
    int            per_token; /* 1: a token has one scale, so xd is read at group 0 only        */
    void          *scratch;   /* EK_GEMM_SCRATCH bytes, 64-byte aligned                      */
};
typedef void ek_gemm_i8_fn(const struct ek_gemm_i8_args *a, size_t begin, size_t end);

/**
 * Rounds rows to 8 bit, one scale per group: d = max|x| / 127, q = x / d to nearest even, s = the
 * sum of q. Groups past k are zero. max|x| < 2^-100 gives d = 0, q = 0; a group that holds NaN or
 * infinity gives d = NaN, q = 0, so that the product is NaN. Items: rows. Exact on every ISA. */
struct ek_quantize_args {
    const float *x;     /* [rows][ldx] f32                                                  */
    int8_t      *q;     /* [rows][kp]                                                       */
    float       *d;     /* [rows][kp / group]                                               */
    int32_t     *s;     /* [rows][kp / group]                                               */
    size_t       k, kp; /* columns of x; padded columns, a multiple of group                */
    size_t       group; /* a multiple of 16; of a weight format: 32, 64 or 128              */
    size_t       ldx;
    int          per_token; /* 1: one scale for the whole row, repeated for each group          */
};
typedef void ek_quantize_fn(const struct ek_quantize_args *a, size_t begin, size_t end);

/** y = x * g / sqrt(mean(x^2) + eps), each row. g NULL: ones. y may be x. Items: rows. */
struct ek_rmsnorm_args {
    const float *x; /* [rows][cols] f32 */
    const float *g; /* [cols] f32       */
    float       *y; /* [rows][cols] f32 */
    size_t       cols;
    float        eps;
};
typedef void ek_rmsnorm_fn(const struct ek_rmsnorm_args *a, size_t begin, size_t end);

/** y = (x - mean) * g / sqrt(var + eps) + b, each row. g, b NULL: 1, 0. y may be x. Items: rows. */
struct ek_layernorm_args {
    const float *x;     /* [rows][cols] f32       */
    const float *g, *b; /* [cols] f32            */
    float       *y;     /* [rows][cols] f32       */
    size_t       cols;
    float        eps;
};
typedef void ek_layernorm_fn(const struct ek_layernorm_args *a, size_t begin, size_t end);

enum ek_act_kind {
    EK_ACT_RELU,
    EK_ACT_SILU,
    EK_ACT_GELU_TANH, /* 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))  */
    EK_ACT_GELU_ERF,  /* 0.5 x (1 + erf(x / sqrt 2))                      */
    EK_ACT_SIGMOID,
    EK_ACT_TANH,
    EK_ACT_EXP,
    EK_ACT_KINDS
};

/** y = f(x), or f(x) * u where u is given (gated MLP). y may be x or u. Items: elements. */
struct ek_act_args {
    const float     *x; /* [n] f32          */
    const float     *u; /* [n] f32 or NULL  */
    float           *y; /* [n] f32          */
    enum ek_act_kind kind;
};
typedef void ek_act_fn(const struct ek_act_args *a, size_t begin, size_t end);

/** y = softmax(scale * x), each row. -inf gives 0; a row of only -inf gives NaN. y may be x. */
struct ek_softmax_args {
    const float *x; /* [rows][cols] f32 */
    float       *y; /* [rows][cols] f32 */
    size_t       cols;
    float        scale; /* > 0 */
};
typedef void ek_softmax_fn(const struct ek_softmax_args *a, size_t begin, size_t end);

/** y = a + b. y may be a or b. Items: elements. */
struct ek_add_args {
    const float *a, *b; /* [n] f32 */
    float       *y;     /* [n] f32 */
};
typedef void ek_add_fn(const struct ek_add_args *a, size_t begin, size_t end);

/**
 * Rotary embedding, in place or not. Pair i of a head is (x[2i], x[2i+1]) when interleaved, else
 * (x[i], x[i + rot/2]): (a, b) becomes (a cos - b sin, b cos + a sin). Elements from rot to dim are
 * copied. Items: rows = tokens * heads, row r belongs to token r / heads. */
struct ek_rope_args {
    const float   *x;         /* [tokens][heads][dim] f32                                        */
    float         *y;         /* the same shape; may be x                                        */
    const float   *cos, *sin; /* [positions][rot / 2] f32, ek_rope_table                        */
    const int32_t *pos;       /* [tokens] rows of the tables                                     */
    size_t         heads, dim;
    size_t         rot; /* even, <= dim                                                    */
    int            interleaved;
};
typedef void ek_rope_fn(const struct ek_rope_args *a, size_t begin, size_t end);

/** Index (and value) of the largest element of each row; the first of equals; NaN never wins. */
struct ek_argmax_args {
    const float *x; /* [rows][cols] f32, cols < 2^32    */
    uint32_t    *index;
    float       *value; /* [rows] or NULL               */
    size_t       cols;
};
typedef void ek_argmax_fn(const struct ek_argmax_args *a, size_t begin, size_t end);

/** The k largest of each row, largest first, the lower index first among equals; no NaN in x. */
struct ek_topk_args {
    const float *x;     /* [rows][cols] f32, cols < 2^32 */
    uint32_t    *index; /* [rows][k]                     */
    float       *value; /* [rows][k]                     */
    size_t       cols;
    size_t       k; /* 1..cols                       */
};
typedef void ek_topk_fn(const struct ek_topk_args *a, size_t begin, size_t end);

/**
 * Bitsets of x >= t: bit c % 64 of word c / 64 of a row is that of column c. Bits past cols are 0;
 * NaN on either side gives 0; -0 equals 0. Items: row * words + word, words = ceil(cols / 64).
 * Compared as integers, so exact on every ISA and with denormals kept or flushed. */
struct ek_mask_args {
    const float *x;    /* [rows][ldx] f32, cols used  */
    const float *t;    /* [rows] thresholds           */
    uint64_t    *mask; /* [rows][words]               */
    size_t       cols, ldx;
};
typedef void ek_mask_fn(const struct ek_mask_args *a, size_t begin, size_t end);

/**
 * Mean and standard deviation (population) of each row, in two passes of fixed order. Items: rows.
 *
 * With E = 2^-23 (cols / 32 + 8) mean|x| + 2^-126: |error of the mean| <= E, |error of the
 * deviation| <= E + 2^-23 (cols / 32 + 8) deviation + 2^-62. Sums past f32 and rows that hold NaN
 * or infinity give numbers that are not finite. */
struct ek_moments_args {
    const float *x;       /* [rows][ldx] f32, cols used     */
    float       *moments; /* [rows][2]: mean, deviation     */
    size_t       cols, ldx;
};
typedef void ek_moments_fn(const struct ek_moments_args *a, size_t begin, size_t end);

/**
 * The k-th largest of each row, and how many of its equals are among the k largest: those of the
 * lowest indices. 0 equals -0 and is given as 0; NaN comes last, all equal, and is given as
 * 0x7FC00000. Radix selection over integers in the order of the numbers: exact on every ISA and
 * with denormals kept or flushed. Items: rows. scratch belongs to one call at a time. */
struct ek_select_args {
    const float *x;     /* [rows][ldx] f32, cols used, cols < 2^32               */
    float       *value; /* [rows]                                                */
    uint32_t    *equal; /* [rows] in 1..k: k less the number of larger elements  */
    size_t       cols, ldx;
    size_t       k;       /* 1..cols                                             */
    void        *scratch; /* ek_select_scratch_bytes(cols), 64-byte aligned      */
};
typedef void ek_select_fn(const struct ek_select_args *a, size_t begin, size_t end);

/** Sums the 32-bit words of each 4096-byte block: the pure read that bounds every other kernel. */
struct ek_read_args {
    const void *p;   /* EK_READ_BLOCK bytes per item, 64-byte aligned */
    uint32_t   *sum; /* [items], modulo 2^32                          */
};
typedef void ek_read_fn(const struct ek_read_args *a, size_t begin, size_t end);

/**
 * Register-only multiply-adds: the arithmetic that bounds every other kernel. Each item does
 * iters * EK_PEAK_LANE_OPS of them and writes iters * (1 + item % 7), which proves that they were
 * done. iters <= 2^20. peak: f32, 2 operations each; peak_i8: u8 x s8 four wide, 8 each. */
struct ek_peak_args {
    float *out; /* [items] */
    size_t iters;
};
typedef void ek_peak_fn(const struct ek_peak_args *a, size_t begin, size_t end);
struct ek_peak_i8_args {
    float *out; /* [items] */
    size_t iters;
};
typedef void ek_peak_i8_fn(const struct ek_peak_i8_args *a, size_t begin, size_t end);

/**
 * One gated MLP over a list of neurons, each a bundle of rows d long (layout NEURON): h = act(gate
 * . x) (up . x), part += h down. Items: equal stretches of the list, to EK_SPARSE_SIDE places, each
 * with a part of its own, summed in the list's order; sparse_merge adds the parts.
 *
 * rows 3: gate, up, down. rows 2: up, down, and h = gate[place] (up . x), or act(up . x) where gate
 * is NULL. Float sums; w of packed formats is decoded, x is as it is. */
struct ek_sparse_mlp_args {
    const void      *w;    /* bundles of rows * row bytes                                        */
    const uint32_t  *list; /* [count] which bundles, in the order of summing                     */
    const float     *x;    /* [m][width] f32, zero past d; packed formats: in lane order         */
    const float     *gate; /* [m][count] f32 or NULL                                             */
    float           *part; /* [items][part_stride] f32: m rows of width; packed: in lane order   */
    size_t           count, items; /* 1 <= items <= count / EK_SPARSE_SIDE, rounded up           */
    size_t           rows, width;  /* 2 or 3; ek_neuron_width                                    */
    size_t           m;            /* 1..EK_GEMV_MAX_M                                           */
    size_t           part_stride;  /* >= m * width; 4 KB between items helps two cores           */
    enum ek_act_kind act;
};
typedef void ek_sparse_mlp_fn(const struct ek_sparse_mlp_args *a, size_t begin, size_t end);

/** sparse_mlp with activations rounded to 8 bit per group; down is multiplied in f32. */
struct ek_sparse_mlp_i8_args {
    const void      *w;
    const uint32_t  *list;
    const int8_t    *xq;   /* [m][width] in lane order, four columns at a time                   */
    const float     *xd;   /* [m][width / group] scales                                          */
    const int32_t   *xs;   /* [m][width / group] sums                                            */
    const float     *gate; /* as in ek_sparse_mlp_args, and the rest                             */
    float           *part;
    size_t           count, items, rows, width, m, part_stride;
    enum ek_act_kind act;
};
typedef void ek_sparse_mlp_i8_fn(const struct ek_sparse_mlp_i8_args *a, size_t begin, size_t end);

/**
 * y = sum over a list of columns of x[column] w[column]: a GEMV that skips the columns whose input
 * is zero. A column is a bundle of one row. Items and parts as in sparse_mlp. */
struct ek_sparse_gemv_args {
    const void     *w;    /* [columns] rows of width, one after the other                       */
    const uint32_t *list; /* [count] columns, in the order of summing                           */
    const float    *x;    /* [m][count] f32: the input of each place of the list                */
    float          *part;
    size_t          count, items, width, m, part_stride;
};
typedef void ek_sparse_gemv_fn(const struct ek_sparse_gemv_args *a, size_t begin, size_t end);

/** y = the sum of parts in their order, out of lane order. Items: stretches of EK_SPARSE_RUN
 * columns of all tokens. */
struct ek_sparse_merge_args {
    const float *part; /* [parts][part_stride]: m rows of width                               */
    float       *y;    /* [m][ldy] f32, n written                                             */
    size_t       parts, part_stride, width, m, n, ldy; /* n <= width                          */
    int          lanes; /* 1: parts are in lane order (packed formats)                        */
};
typedef void ek_sparse_merge_fn(const struct ek_sparse_merge_args *a, size_t begin, size_t end);

/**
 * Rows of bytes from places of a list to places of a list, past the caches where the ISA can: what is
 * copied is more than they hold, and is read once each token. Items: rows. */
struct ek_copy_rows_args {
    const void     *src;
    void           *dst;       /* 64-byte aligned, and so its stride; does not overlap src */
    const uint32_t *from, *to; /* row i: dst + to[i] * to_stride = src + from[i] * from_stride */
    size_t          from_stride, to_stride, bytes;
};
typedef void ek_copy_rows_fn(const struct ek_copy_rows_args *a, size_t begin, size_t end);

/* What attention's kernels know of a cache (docs/formats.md); dp is dim rounded up to 16. */
struct ek_gqa_cache {
    const void    *kv;    /* ek_kv_bytes, 64-byte aligned                                     */
    const int32_t *pos;   /* [used] position of each slot; < 0: empty                         */
    size_t         heads; /* of keys and values                                               */
    size_t         dim, slots;
    size_t         used; /* slots looked at: [0, used), used <= slots. Those that no query sees
                            must hold finite numbers: zeros, or what was stored there before */
};

/* Who sees what: a query at position p sees a slot at position s when 0 <= s <= p and (s > p -
 * window or s < sinks). */
struct ek_gqa_mask {
    size_t window; /* tokens, the query's own included; 0: all */
    size_t sinks;
};

/**
 * Stores keys and values, rounded to the cache's format. Exact on every ISA; other slots' bytes are
 * left alone. Items: head * m + token. */
struct ek_kv_store_args {
    void          *kv;    /* the cache; slots that are not in slot[] stay as they are  */
    const float   *k, *v; /* [m][ld] f32, heads * dim used                             */
    const int32_t *slot;  /* [m] each < slots, distinct                                */
    size_t         heads, dim, slots, ld, m;
};
typedef void ek_kv_store_fn(const struct ek_kv_store_args *a, size_t begin, size_t end);

/**
 * One query token against EK_GQA_CHUNK slots of one kv head: for each of the head's `group` query
 * heads a part [16 + dp] f32: m, l, 14 left alone, o. With s = scale q k log2 e over the slots
 * seen, m = max s (-inf: none seen), l = sum 2^(s - m), o = sum 2^(s - m) v. Items: head * chunks +
 * chunk, chunks = ek_gqa_chunks(used). Query head h reads kv head h / group.
 *
 * i8 rounds 2^(s - m) times the value's scale to 14 bits or more of the largest of 64 slots. */
struct ek_gqa_decode_args {
    struct ek_gqa_cache cache;
    struct ek_gqa_mask  mask;
    int32_t             q_pos; /* >= 0 */
    float               scale;
    size_t              group;
    const float        *q;    /* [heads * group][dim] f32; i8: not read                       */
    const int8_t       *q8;   /* i8: [heads * group][dp] as quantize gives them (group = dp)  */
    const float        *qd;   /* i8: [heads * group] scales                                   */
    const int32_t      *qs;   /* i8: [heads * group] sums                                     */
    float              *part; /* [items][part_stride] f32, group * (16 + dp) used             */
    size_t              part_stride; /* a multiple of 16; 4 KB between items helps two cores  */
};
typedef void ek_gqa_decode_fn(const struct ek_gqa_decode_args *a, size_t begin, size_t end);

/** Joins the parts of gqa_decode, chunk by chunk in order; a head that saw nothing gives 0. Items:
 * query heads. */
struct ek_gqa_merge_args {
    const float *part; /* as gqa_decode leaves them  */
    float       *y;    /* [heads * group][dim] f32   */
    size_t       dim, group, chunks, part_stride;
};
typedef void ek_gqa_merge_fn(const struct ek_gqa_merge_args *a, size_t begin, size_t end);

/**
 * Many query tokens: y = softmax(scale q K^T) V over the slots each sees, 0 where it sees none.
 * Items: head * tiles + tile, tiles = ek_gqa_tiles(group, m): a tile is some tokens with all query
 * heads of the kv head. scratch belongs to one call at a time. */
struct ek_gqa_prefill_args {
    struct ek_gqa_cache cache;
    struct ek_gqa_mask  mask;
    float               scale;
    size_t              group, m;
    const float        *q;     /* [m][ldq] f32, heads * group * dim used */
    const int32_t      *q_pos; /* [m] >= 0, ascending                    */
    float              *y;     /* [m][ldy] f32                           */
    size_t              ldq, ldy;
    void               *scratch; /* ek_gqa_scratch_bytes(group, dim), 64-byte aligned */
};
typedef void ek_gqa_prefill_fn(const struct ek_gqa_prefill_args *a, size_t begin, size_t end);

enum ek_op {
#define EK_OP(op, text, act) EK_OP_##op,
#include "ek/ops.def"
#undef EK_OP
    EK_OP_COUNT
};

struct ek_op_info {
    const char *name; /* as in table member names: "gemv_i8"    */
    const char *text; /* as in bench rows: "gemv"               */
    const char *act;  /* activation in bench rows: "i8" or ""   */
};

/** One row of the registry. */
struct ek_kernel {
    const char *name;    /* "ek_gemv_i8_q4g32_avx512_vnni"                         */
    const char *isa;     /* level: "scalar", "avx2", "avx512", "neon"              */
    const char *variant; /* "" or "vnni", "streams4", ...                          */
    enum ek_op  op;
    enum ek_fmt fmt;
    int         prio;  /* among the rows a CPU can run, the highest is chosen      */
    uint64_t    needs; /* or of enum ek_cpu_bit                                    */
    size_t      tile;  /* gemm, gemm_i8: tokens of a tile, EK_TILE or EK_TILE_AMX  */
    union {
#define EK_OP(op, text, act) ek_##op##_fn *op;
#include "ek/ops.def"
#undef EK_OP
    } fn;
};

/** The chosen kernel of every op and format; NULL where none is registered. Plain data. */
struct ek_kernels {
    size_t   struct_size; /* sizeof(struct ek_kernels) of the library that filled it */
    uint64_t cpu;         /* the bits it was selected for                            */
    size_t   streams;     /* for gemv: 1 where one stream of weights a core is read fastest, or 0 */
#define EK_OP(op, text, act) const struct ek_kernel *op[EK_FMT_COUNT];
#include "ek/ops.def"
#undef EK_OP
};

/**
 * Fills a table: for each (op, format) the row of highest priority whose needs are within cpu.
 * A pure function of the registry and cpu; cpu = 0 gives the scalar reference.
 * Returns  EK_OK; EK_E_ARG for NULL. */
EK_API ek_status ek_kernels_select(uint64_t cpu, struct ek_kernels *t);

/** ek_kernels_select for this machine, restricted by the environment variable EK_ISA if set. */
EK_API ek_status ek_kernels_default(struct ek_kernels *t);

/** The registry itself: row i in [0, ek_kernel_count()), else NULL. */
EK_API size_t                   ek_kernel_count(void);
EK_API const struct ek_kernel  *ek_kernel_at(size_t i);
EK_API const struct ek_op_info *ek_op_info(enum ek_op op);

/**
 * Tiling of activations for gemm and gemm_i8, tokens [t0, t1) of [0, m), t0 a multiple of EK_TILE.
 * x, q: [m][ld]; columns from k to kp are zero. For i8 tile is the kernel's (t0 a multiple of it),
 * zero the format's zero code. */
EK_API size_t ek_tile_f32_bytes(size_t kp, size_t m);
EK_API size_t ek_tile_i8_bytes(size_t tile, size_t kp, size_t m);
EK_API void   ek_tile_f32(const float *x, size_t ldx, size_t k, size_t kp, size_t m, size_t t0,
                          size_t t1, float *tiled);
EK_API void   ek_tile_i8(size_t tile, const int8_t *q, const float *d, const int32_t *s, size_t kp,
                         size_t group, unsigned zero, size_t m, size_t t0, size_t t1, int8_t *tiled,
                         float *td, int32_t *ts);

/** Scratch of select in bytes: counts of digits, ranks that share the first one. cols < 2^32. */
EK_API size_t ek_select_scratch_bytes(size_t cols);

/** Items of one head of gqa_decode and gqa_prefill; scratch of the latter in bytes. */
EK_API size_t ek_gqa_chunks(size_t used);
EK_API size_t ek_gqa_tiles(size_t group, size_t m);
EK_API size_t ek_gqa_scratch_bytes(size_t group, size_t dim);

#ifdef __cplusplus
}
#endif
#endif
