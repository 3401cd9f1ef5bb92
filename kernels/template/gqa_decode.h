/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/gqa_decode.h - one query token against a cache of floats, and the joining of
 * parts. The including file has its simd.h and defines
 *     FN(op, fmt)    symbol of the kernel
 *     KEY_PANELS     panels of keys multiplied together; HEADS * KEY_PANELS * NV sums in registers
 *     VALUE_VECTORS  vectors of a value row multiplied together, each HEADS sums
 *
 * Tiles of slots: all scores of a tile, its softmax against the running maximum, its values; each
 * phase fetches some of the next tile. Keys and values are converted once for up to HEADS query
 * heads. */
#include "kernels/template/attend.h"

enum {
    TILE          = 32, /* slots: this tile and the next in the first level of cache             */
    HEADS         = 4,  /* query heads whose sums are in registers together                     */
    PASS          = 8,  /* query heads that share one walk through a chunk                      */
    LANES         = 16, /* a multiple of VL, >= PASS                                            */
    SOFTMAX_LINES = 4,  /* fetched during the softmax of 16 slots of a query head */
};

/* One item: a stretch of one head, for PASS query heads at most. */
struct walk {
    const struct ek_gqa_decode_args *a;
    struct kv_shape                  s;
    const uint8_t                   *keys, *values; /* of the tile                           */
    struct cursor                    ahead;
    const float                     *q;    /* [heads][dim]                          */
    float                           *part; /* [heads][EK_GQA_HEAD + dp]             */
    size_t                           heads;
};
/* Of the query heads of a pass. */
struct softmax {
    float max[LANES], sum[LANES], top[LANES], keep[LANES];
};

/* ---- scores ---- */

/* H query heads by P panels; s: [H][TILE]. share: one in so many lines read is fetched ahead. */
EK_INLINE void score_panels(enum ek_fmt fmt, size_t H, size_t P, size_t share, const struct walk *w,
                            struct cursor *ahead, const uint8_t *k, const float *q, float *s)
{
    const size_t size = fmt == EK_FMT_f32 ? 4 : 2, row = KV_PANEL * size;
    const size_t dim = w->a->cache.dim, panel = w->s.dp * row;
    const vf     scale = v_set(w->a->scale * LOG2E);
    vf           sum[HEADS][KEY_PANELS * NV];
    EK_UNROLL
    for (size_t h = 0; h < H; h++) {
        EK_UNROLL
        for (size_t v = 0; v < P * NV; v++) sum[h][v] = v_set(0.0f);
    }
    for (size_t d = 0; d < dim; d++) {
        vf x[KEY_PANELS * NV];
        fetch_paced(ahead, d, P * row / share);
        EK_UNROLL
        for (size_t v = 0; v < P * NV; v++)
            x[v] = load_float(fmt, k + d * row + v / NV * panel + v % NV * VL * size);
        EK_UNROLL
        for (size_t h = 0; h < H; h++) {
            const vf y = v_set(q[h * dim + d]);
            EK_UNROLL
            for (size_t v = 0; v < P * NV; v++) sum[h][v] = v_fma(y, x[v], sum[h][v]);
        }
    }
    EK_UNROLL
    for (size_t h = 0; h < H; h++) {
        EK_UNROLL
        for (size_t v = 0; v < P * NV; v++) v_store(s + h * TILE + v * VL, v_mul(sum[h][v], scale));
    }
}

EK_INLINE void score_heads(enum ek_fmt fmt, size_t H, size_t share, struct walk *w, size_t h,
                           size_t panels, float *s)
{
    const size_t  panel = w->s.dp * KV_PANEL * w->s.size;
    const float  *q     = w->q + h * w->a->cache.dim;
    struct cursor ahead = w->ahead;
    size_t        p     = 0;
    s += h * TILE;
    for (; p + KEY_PANELS <= panels; p += KEY_PANELS)
        score_panels(fmt, H, KEY_PANELS, share, w, &ahead, w->keys + p * panel, q,
                     s + p * KV_PANEL);
    for (; p < panels; p++)
        score_panels(fmt, H, 1, share, w, &ahead, w->keys + p * panel, q, s + p * KV_PANEL);
    w->ahead = ahead;
}

EK_INLINE void scores(enum ek_fmt fmt, struct walk *w, size_t panels, float *s)
{
    size_t h = HEADS;
    switch (w->heads) {
    case 1: score_heads(fmt, 1, 1, w, 0, panels, s); return;
    case 2: score_heads(fmt, 2, 1, w, 0, panels, s); return;
    case 3: score_heads(fmt, 3, 1, w, 0, panels, s); return;
    case 4: score_heads(fmt, 4, 1, w, 0, panels, s); return;
    default: score_heads(fmt, 4, 2, w, 0, panels, s); break;
    }
    switch (w->heads - h) { /* PASS is twice HEADS */
    case 1: score_heads(fmt, 1, 2, w, h, panels, s); break;
    case 2: score_heads(fmt, 2, 2, w, h, panels, s); break;
    case 3: score_heads(fmt, 3, 2, w, h, panels, s); break;
    default: score_heads(fmt, 4, 2, w, h, panels, s); break;
    }
}

/* ---- softmax ---- */

/* Scores of `width` slots become 2^(s - m), m the running maximum; keep[] is what the old sums are
 * multiplied with. */
static EK_APART void softmax_tile(struct softmax *x, struct walk *w, size_t width,
                                  const float *seen, float *s)
{
    struct cursor ahead = w->ahead;
    for (size_t h = 0; h < w->heads; h++) x->top[h] = largest_score(s + h * TILE, width, seen);
    for (size_t i = 0; i < w->heads; i += VL) {
        const vf old = v_load(x->max + i), m = v_max(old, v_load(x->top + i));
        v_store(x->keep + i, v_exp2(v_sub(old, m)));
        v_store(x->max + i, m);
    }
    for (size_t h = 0; h < w->heads; h++) {
        const vf m   = v_set(x->max[h]);
        vf       sum = v_set(0.0f);
        for (size_t i = 0; i < width; i += VL) {
            if (i % KV_PANEL == 0)
                fetch(&ahead, w->heads > HEADS ? SOFTMAX_LINES / 2 : SOFTMAX_LINES);
            const vf p = v_exp2(v_sub(v_load(s + h * TILE + i), m));
            v_store(s + h * TILE + i, p);
            sum = v_add(sum, p);
        }
        x->sum[h] = x->sum[h] * x->keep[h] + v_hsum(sum);
    }
    w->ahead = ahead;
}

/* ---- values ---- */

/* H query heads by C vectors of columns, from column `col` on; share as for scores. */
EK_INLINE void value_columns(enum ek_fmt fmt, size_t H, size_t C, size_t share,
                             const struct walk *w, struct cursor *ahead, size_t h, size_t width,
                             size_t col, const float *p, const float *keep)
{
    const size_t   size = fmt == EK_FMT_f32 ? 4 : 2, row = w->s.dp * size;
    const size_t   part = EK_GQA_HEAD + w->s.dp;
    const uint8_t *v    = w->values + col * size;
    float         *o    = w->part + h * part + EK_GQA_HEAD + col;
    vf             sum[HEADS][VALUE_VECTORS];
    EK_UNROLL
    for (size_t i = 0; i < H; i++) {
        EK_UNROLL
        for (size_t c = 0; c < C; c++)
            sum[i][c] = v_mul(v_set(keep[h + i]), v_load(o + i * part + c * VL));
    }
    p += h * TILE;
    for (size_t j = 0; j < width; j++, v += row) {
        vf x[VALUE_VECTORS];
        fetch_paced(ahead, j, C * VL * size / share);
        EK_UNROLL
        for (size_t c = 0; c < C; c++) x[c] = load_float(fmt, v + c * VL * size);
        EK_UNROLL
        for (size_t i = 0; i < H; i++) {
            const vf y = v_set(p[i * TILE + j]);
            EK_UNROLL
            for (size_t c = 0; c < C; c++) sum[i][c] = v_fma(y, x[c], sum[i][c]);
        }
    }
    EK_UNROLL
    for (size_t i = 0; i < H; i++) {
        EK_UNROLL
        for (size_t c = 0; c < C; c++) v_store(o + i * part + c * VL, sum[i][c]);
    }
}

EK_INLINE void value_heads(enum ek_fmt fmt, size_t H, size_t share, struct walk *w, size_t h,
                           size_t width, const float *p, const float *keep)
{
    struct cursor ahead = w->ahead;
    size_t        c     = 0;
    for (; c + VALUE_VECTORS * VL <= w->s.dp; c += VALUE_VECTORS * VL)
        value_columns(fmt, H, VALUE_VECTORS, share, w, &ahead, h, width, c, p, keep);
    for (; c < w->s.dp; c += KV_PANEL)
        value_columns(fmt, H, NV, share, w, &ahead, h, width, c, p, keep);
    w->ahead = ahead;
}

EK_INLINE void values(enum ek_fmt fmt, struct walk *w, size_t width, const float *p,
                      const float *keep)
{
    size_t h = HEADS;
    switch (w->heads) {
    case 1: value_heads(fmt, 1, 1, w, 0, width, p, keep); return;
    case 2: value_heads(fmt, 2, 1, w, 0, width, p, keep); return;
    case 3: value_heads(fmt, 3, 1, w, 0, width, p, keep); return;
    case 4: value_heads(fmt, 4, 1, w, 0, width, p, keep); return;
    default: value_heads(fmt, 4, 2, w, 0, width, p, keep); break;
    }
    switch (w->heads - h) {
    case 1: value_heads(fmt, 1, 2, w, h, width, p, keep); break;
    case 2: value_heads(fmt, 2, 2, w, h, width, p, keep); break;
    case 3: value_heads(fmt, 3, 2, w, h, width, p, keep); break;
    default: value_heads(fmt, 4, 2, w, h, width, p, keep); break;
    }
}

/* ---- a chunk ---- */

/* The phases are functions of their own: together, the constants of one crowd the registers of
 * another. */
typedef void scores_fn(struct walk *w, size_t panels, float *s);
typedef void values_fn(struct walk *w, size_t width, const float *p, const float *keep);

EK_INLINE void walk_chunk(scores_fn *scores_of, values_fn *values_of, struct walk *w,
                          const uint8_t *head, size_t begin, size_t end, const uint8_t *after)
{
    const struct ek_gqa_cache *c    = &w->a->cache;
    const struct sight         eye  = sight_of(&w->a->mask, w->a->q_pos);
    const size_t               part = EK_GQA_HEAD + w->s.dp, row = w->s.dp * w->s.size;
    float                      s[PASS * TILE], seen[TILE];
    struct softmax             x;
    for (size_t h = 0; h < LANES; h++) x.max[h] = x.top[h] = -__builtin_inff(), x.sum[h] = 0;
    for (size_t h = 0; h < w->heads; h++)
        memset(w->part + h * part + EK_GQA_HEAD, 0, w->s.dp * sizeof(float));
    for (size_t at = begin; at < end; at += TILE) {
        const size_t      n = end - at < TILE ? end - at : TILE, width = kv_round16(n);
        const struct seen tile = seen_by(eye, c->pos + at, n, TILE, seen);
        if (!tile.some) continue;
        w->keys             = head + at * row;
        w->values           = w->keys + w->s.values;
        const uint8_t *next = at + TILE < end ? w->keys + TILE * row : after;
        w->ahead            = (struct cursor){next, next + w->s.values};
        scores_of(w, width / KV_PANEL, s);
        softmax_tile(&x, w, width, tile.all ? NULL : seen, s);
        values_of(w, width, s, x.keep);
    }
    for (size_t h = 0; h < w->heads; h++)
        w->part[h * part] = x.max[h], w->part[h * part + 1] = x.sum[h];
}

EK_INLINE void decode_range(enum ek_fmt fmt, scores_fn *scores_of, values_fn *values_of,
                            const struct ek_gqa_decode_args *a, size_t begin, size_t end)
{
    const struct kv_shape s      = kv_shape(fmt, a->cache.dim, a->cache.slots);
    const size_t          chunks = gqa_chunks(a->cache.used), part = EK_GQA_HEAD + s.dp;
    for (size_t item = begin; item < end; item++) {
        const size_t   head = item / chunks, at = item % chunks * EK_GQA_CHUNK;
        const size_t   left = a->cache.used - at, n = left < EK_GQA_CHUNK ? left : EK_GQA_CHUNK;
        const uint8_t *p     = (const uint8_t *)a->cache.kv + head * s.head;
        const uint8_t *after = left > n ? p + (at + n) * s.dp * s.size : p + s.head;
        for (size_t h = 0; h < a->group; h += PASS) {
            struct walk w = {.a     = a,
                             .s     = s,
                             .q     = a->q + (head * a->group + h) * a->cache.dim,
                             .part  = a->part + item * a->part_stride + h * part,
                             .heads = a->group - h < PASS ? a->group - h : PASS};
            walk_chunk(scores_of, values_of, &w, p, at, at + n, after);
        }
    }
}

#define DEFINE_GQA_DECODE(fmt)                                                                     \
    static EK_APART void scores_##fmt(struct walk *w, size_t panels, float *s)                     \
    {                                                                                              \
        scores(EK_FMT_##fmt, w, panels, s);                                                        \
    }                                                                                              \
    static EK_APART void values_##fmt(struct walk *w, size_t width, const float *p,                \
                                      const float *keep)                                           \
    {                                                                                              \
        values(EK_FMT_##fmt, w, width, p, keep);                                                   \
    }                                                                                              \
    void FN(gqa_decode, fmt)(const struct ek_gqa_decode_args *a, size_t begin, size_t end)         \
    {                                                                                              \
        decode_range(EK_FMT_##fmt, scores_##fmt, values_##fmt, a, begin, end);                     \
    }
DEFINE_GQA_DECODE(f32)
DEFINE_GQA_DECODE(f16)
DEFINE_GQA_DECODE(bf16)

/* ---- joining parts ---- */

void FN(gqa_merge, f32)(const struct ek_gqa_merge_args *a, size_t begin, size_t end)
{
    const size_t part = EK_GQA_HEAD + kv_round16(a->dim);
    for (size_t head = begin; head < end; head++) {
        const float *p =
            a->part + head / a->group * a->chunks * a->part_stride + head % a->group * part;
        float *y = a->y + head * a->dim, m = -__builtin_inff(), l = 0;
        for (size_t c = 0; c < a->chunks; c++)
            m = p[c * a->part_stride] <= m ? m : p[c * a->part_stride];
        memset(y, 0, a->dim * sizeof *y);
        for (size_t c = 0; c < a->chunks; c++) {
            const float *from = p + c * a->part_stride;
            if (from[0] == -__builtin_inff()) continue;
            const vf w = v_exp2(v_set(from[0] - m));
            float    weight[VL];
            v_store(weight, w);
            l += weight[0] * from[1];
            for (size_t d = 0; d < a->dim; d += VL) {
                const size_t n = a->dim - d < VL ? a->dim - d : VL;
                const vf     o = v_load(from + EK_GQA_HEAD + d); /* dp is whole vectors */
                if (n == VL)
                    v_store(y + d, v_fma(w, o, v_load(y + d)));
                else
                    v_store_n(y + d, v_fma(w, o, v_load_n(y + d, n)), n);
            }
        }
        const float inv = l == 0 ? 0 : 1 / l;
        for (size_t d = 0; d < a->dim; d++) y[d] *= inv;
    }
}
