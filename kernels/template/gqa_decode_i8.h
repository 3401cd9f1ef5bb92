/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/gqa_decode_i8.h - one query token against an i8 cache, whose codes enter dot
 * products as they are. The including file has its dot_*.h and defines
 *     FN(fmt)        symbol of the kernel
 *     KEY_PANELS     panels of keys multiplied together; HEADS * KEY_PANELS * NV sums in registers
 *     VALUE_UNITS    runs of 16 columns of values multiplied together, each 2 PAIR NV sums
 *
 * Scores: exact integers, scaled once. Values: 2^(s - max) times the value's scale is rounded to a
 * number of two digits in base 2^DIGIT, relative to its largest of the tile; each digit is a byte
 * that dot products take. DIGIT is 8 where they take unsigned bytes (DOT8_ZERO 128), else 7:
 *     255 * 127 * 64 slots < 2^21 a digit, * 2^8 < 2^31. */
#include "kernels/template/attend.h"

enum {
    TILE          = 64, /* slots: keys and values of a tile stay in the first level of cache */
    HEADS         = 4,  /* query heads whose scores are in registers together  */
    PAIR          = 2,  /* query heads whose values are in registers together  */
    PASS          = 8,  /* query heads that share one walk through a chunk     */
    LANES         = 16, /* a multiple of VL, >= PASS                           */
    SOFTMAX_LINES = 4,  /* fetched during the softmax of 16 slots of a head    */
    DIGIT         = DOT8_ZERO ? 8 : 7,
    UNIT          = KV_PANEL * KV_QUAD, /* bytes: 16 slots x 4 columns of keys; 16 columns x 4
                                           slots of values */
};
#define WEIGHT_MAX ((float)((1 << 2 * DIGIT) - 1))

struct walk {
    const struct ek_gqa_decode_args *a;
    struct kv_shape                  s;
    const uint8_t                   *keys, *values, *k_scales, *v_scales; /* of the tile     */
    struct cursor                    ahead;
    size_t                           head, heads; /* query heads of the pass, from `head` on */
    float                           *part;        /* [heads][EK_GQA_HEAD + dp]               */
};
struct softmax {
    float max[LANES], sum[LANES], top[LANES], keep[LANES], weight[LANES];
    float value_scale; /* largest of the tile; NaN when one is not finite */
};
struct tile {
    float   s[PASS * TILE];
    uint8_t p[PASS][2][TILE]; /* digits, the high one first */
    float   seen[TILE], scale[TILE];
};

/* ---- scores ---- */

EK_INLINE vi four_bytes(const void *p) /* in every lane */
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return i_set(four);
}

/* H query heads by P panels; `pace` bytes are fetched ahead at each step of a line a panel. */
EK_INLINE void score_panels(size_t H, size_t P, size_t pace, const struct walk *w,
                            struct cursor *ahead, size_t head, size_t panel, float *s)
{
    const struct ek_gqa_decode_args *a  = w->a;
    const size_t                     dp = w->s.dp, bytes = dp * KV_PANEL;
    const int8_t                    *q = a->q8 + head * dp;
    const uint8_t                   *k = w->keys + panel * bytes;
    vi                               sum[HEADS][KEY_PANELS * NV];
    EK_UNROLL
    for (size_t h = 0; h < H; h++) {
        EK_UNROLL
        for (size_t v = 0; v < P * NV; v++) sum[h][v] = i_set(-DOT8_ZERO * a->qs[head + h]);
    }
    for (size_t d = 0; d < dp; d += KV_QUAD, k += UNIT) {
        vi x[KEY_PANELS * NV];
        fetch_paced(ahead, d / KV_QUAD, pace);
        EK_UNROLL
        for (size_t v = 0; v < P * NV; v++)
            x[v] = codes8_ready(i_load(k + v / NV * bytes + v % NV * VL * 4));
        EK_UNROLL
        for (size_t h = 0; h < H; h++) {
            EK_UNROLL
            for (size_t v = 0; v < P * NV; v++)
                sum[h][v] = KEY_DOT(sum[h][v], x[v], q + h * dp + d);
        }
    }
    EK_UNROLL
    for (size_t v = 0; v < P * NV; v++) {
        const size_t at = panel * KV_PANEL + v * VL;
        const void  *d  = w->k_scales + at * sizeof(uint16_t);
        const vf     x  = v_load_f16(d);
        EK_UNROLL
        for (size_t h = 0; h < H; h++)
            v_store(s + h * TILE + at, v_mul(i_to_float(sum[h][v]),
                                             v_mul(x, v_set(a->qd[head + h] * a->scale * LOG2E))));
    }
}

EK_INLINE void score_heads(size_t H, size_t pace, struct walk *w, size_t h, size_t panels, float *s)
{
    struct cursor ahead = w->ahead;
    size_t        p     = 0;
    s += h * TILE;
    for (; p + KEY_PANELS <= panels; p += KEY_PANELS)
        score_panels(H, KEY_PANELS, KEY_PANELS * pace, w, &ahead, w->head + h, p, s);
    for (; p < panels; p++) score_panels(H, 1, pace, w, &ahead, w->head + h, p, s);
    w->ahead = ahead;
}

/* The phases are functions of their own: together, the constants of one crowd the registers of
 * another. What they fetch together is a tile or somewhat more, whatever the number of heads. */
static EK_APART void scores(struct walk *w, size_t panels, float *s)
{
    switch (w->heads) {
    case 1: score_heads(1, 64, w, 0, panels, s); return;
    case 2: score_heads(2, 64, w, 0, panels, s); return;
    case 3: score_heads(3, 48, w, 0, panels, s); return;
    case 4: score_heads(4, 48, w, 0, panels, s); return;
    default: score_heads(4, 32, w, 0, panels, s); break;
    }
    switch (w->heads - HEADS) { /* PASS is twice HEADS */
    case 1: score_heads(1, 32, w, HEADS, panels, s); break;
    case 2: score_heads(2, 32, w, HEADS, panels, s); break;
    case 3: score_heads(3, 32, w, HEADS, panels, s); break;
    default: score_heads(4, 32, w, HEADS, panels, s); break;
    }
}

/* ---- softmax ---- */

/* Value scales of the tile, as shares of the largest, times the largest weight. */
EK_INLINE float value_scales(const struct walk *w, size_t width, int all, struct tile *t)
{
    vf top = v_set(0.0f), sum = v_set(0.0f);
    for (size_t i = 0; i < width; i += VL) {
        const void *p = w->v_scales + i * sizeof(uint16_t);
        vf          d = v_load_f16(p);
        if (!all) d = v_where_gt(v_load(t->seen + i), v_set(0.0f), d, v_set(0.0f));
        v_store(t->scale + i, d);
        top = v_max(top, d), sum = v_add(sum, d);
    }
    const float total = v_hsum(sum), most = v_hmax(top);
    if (!(total < __builtin_inff())) return __builtin_nanf("");
    const vf unit = v_set(most > 0 ? WEIGHT_MAX / most : 0);
    for (size_t i = 0; i < width; i += VL) v_store(t->scale + i, v_mul(v_load(t->scale + i), unit));
    return most;
}

/* Scores become digits of 2^(s - top) times the value's share; weight[] is what the tile counts,
 * keep[] what the old sums do. */
static EK_APART void softmax_tile(struct softmax *x, struct walk *w, size_t width, int all,
                                  struct tile *t)
{
    struct cursor ahead = w->ahead;
    x->value_scale      = value_scales(w, width, all, t);
    for (size_t h = 0; h < w->heads; h++)
        x->top[h] = largest_score(t->s + h * TILE, width, all ? NULL : t->seen);
    for (size_t i = 0; i < w->heads; i += VL) {
        const vf old = v_load(x->max + i), top = v_load(x->top + i), m = v_max(old, top);
        v_store(x->keep + i, v_exp2(v_sub(old, m)));
        v_store(x->weight + i, v_exp2(v_sub(top, m)));
        v_store(x->max + i, m);
    }
    for (size_t h = 0; h < w->heads; h++) {
        const vf m   = v_set(x->top[h]);
        vf       sum = v_set(0.0f);
        for (size_t i = 0; i < width; i += VL) {
            if (i % KV_PANEL == 0)
                fetch(&ahead, w->heads > HEADS ? SOFTMAX_LINES / 2 : SOFTMAX_LINES);
            const vf p = v_exp2(v_sub(v_load(t->s + h * TILE + i), m));
            const vi n = v_to_int(v_mul(p, v_load(t->scale + i)));
            sum        = v_add(sum, p);
            i_store_u8(t->p[h][0] + i, i_srl(n, DIGIT));
            i_store_u8(t->p[h][1] + i, i_and(n, i_set((1 << DIGIT) - 1)));
        }
        x->sum[h] = x->sum[h] * x->keep[h] + x->weight[h] * v_hsum(sum);
    }
    w->ahead = ahead;
}

/* ---- values ---- */

/* H query heads from h on by C runs of 16 columns, a line each at every step. */
EK_INLINE void value_columns(size_t H, size_t C, size_t pace, const struct walk *w,
                             struct cursor *ahead, size_t h, size_t width, size_t col,
                             const struct tile *t, const struct softmax *x)
{
    const size_t   row = w->s.dp * KV_QUAD, part = EK_GQA_HEAD + w->s.dp;
    const uint8_t *v = w->values + col * KV_QUAD;
    vi             sum[2 * PAIR][VALUE_UNITS * NV];
    EK_UNROLL
    for (size_t i = 0; i < 2 * H; i++) {
        EK_UNROLL
        for (size_t c = 0; c < C * NV; c++) sum[i][c] = i_set(0);
    }
    for (size_t i = 0; i < width; i += KV_QUAD, v += row) {
        vi y[VALUE_UNITS * NV];
        fetch_paced(ahead, i / KV_QUAD, pace);
        EK_UNROLL
        for (size_t c = 0; c < C * NV; c++) y[c] = i_load(v + c * VL * KV_QUAD);
        EK_UNROLL
        for (size_t j = 0; j < 2 * H; j++) {
            const vi p = four_bytes(t->p[h + j / 2][j % 2] + i);
            EK_UNROLL
            for (size_t c = 0; c < C * NV; c++) sum[j][c] = dot_in_place(sum[j][c], p, y[c]);
        }
    }
    EK_UNROLL
    for (size_t j = 0; j < H; j++) {
        const vf keep = v_set(x->keep[h + j]);
        const vf unit = v_set(x->weight[h + j] * (x->value_scale / WEIGHT_MAX));
        float   *o    = w->part + (h + j) * part + EK_GQA_HEAD + col;
        EK_UNROLL
        for (size_t c = 0; c < C * NV; c++) {
            const vi n = i_add(i_sll(sum[2 * j][c], DIGIT), sum[2 * j + 1][c]);
            v_store(o + c * VL, v_fma(i_to_float(n), unit, v_mul(keep, v_load(o + c * VL))));
        }
    }
}

EK_INLINE void value_heads(size_t H, size_t pace, struct walk *w, size_t h, size_t width,
                           const struct tile *t, const struct softmax *x)
{
    struct cursor ahead = w->ahead;
    size_t        c     = 0;
    for (; c + VALUE_UNITS * KV_PANEL <= w->s.dp; c += VALUE_UNITS * KV_PANEL)
        value_columns(H, VALUE_UNITS, VALUE_UNITS * pace, w, &ahead, h, width, c, t, x);
    for (; c < w->s.dp; c += KV_PANEL) value_columns(H, 1, pace, w, &ahead, h, width, c, t, x);
    w->ahead = ahead;
}

static EK_APART void values(struct walk *w, size_t width, const struct tile *t,
                            const struct softmax *x)
{
    size_t h = 0;
    if (w->heads <= PAIR) {
        if (w->heads == PAIR)
            value_heads(PAIR, 64, w, 0, width, t, x);
        else
            value_heads(1, 64, w, 0, width, t, x);
    } else if (w->heads <= 2 * PAIR) {
        for (; h + PAIR <= w->heads; h += PAIR) value_heads(PAIR, 32, w, h, width, t, x);
        if (h < w->heads) value_heads(1, 32, w, h, width, t, x);
    } else {
        for (; h + PAIR <= w->heads; h += PAIR) value_heads(PAIR, 16, w, h, width, t, x);
        if (h < w->heads) value_heads(1, 16, w, h, width, t, x);
    }
}

/* ---- a chunk ---- */

EK_INLINE void walk_chunk(struct walk *w, const uint8_t *head, size_t begin, size_t end,
                          const uint8_t *after)
{
    const struct ek_gqa_cache *c    = &w->a->cache;
    const struct sight         eye  = sight_of(&w->a->mask, w->a->q_pos);
    const size_t               part = EK_GQA_HEAD + w->s.dp, dp = w->s.dp;
    struct tile                t;
    struct softmax             x;
    for (size_t h = 0; h < LANES; h++) x.max[h] = x.top[h] = -__builtin_inff(), x.sum[h] = 0;
    for (size_t h = 0; h < w->heads; h++)
        memset(w->part + h * part + EK_GQA_HEAD, 0, dp * sizeof(float));
    for (size_t at = begin; at < end; at += TILE) {
        const size_t      n = end - at < TILE ? end - at : TILE, width = kv_round16(n);
        const struct seen tile = seen_by(eye, c->pos + at, n, TILE, t.seen);
        if (!tile.some) continue;
        w->keys             = head + at * dp;
        w->values           = w->keys + w->s.values;
        w->k_scales         = head + w->s.k_scales + at * sizeof(uint16_t);
        w->v_scales         = head + w->s.v_scales + at * sizeof(uint16_t);
        const uint8_t *next = at + TILE < end ? w->keys + TILE * dp : after;
        w->ahead            = (struct cursor){next, next + w->s.values};
        for (size_t i = 0; i < TILE * sizeof(uint16_t); i += 64) {
            prefetch(w->k_scales + TILE * sizeof(uint16_t) + i);
            prefetch(w->v_scales + TILE * sizeof(uint16_t) + i);
        }
        scores(w, width / KV_PANEL, t.s);
        softmax_tile(&x, w, width, tile.all, &t);
        values(w, width, &t, &x);
    }
    for (size_t h = 0; h < w->heads; h++)
        w->part[h * part] = x.max[h], w->part[h * part + 1] = x.sum[h];
}

void FN(i8)(const struct ek_gqa_decode_args *a, size_t begin, size_t end)
{
    const struct kv_shape s      = kv_shape(EK_FMT_i8, a->cache.dim, a->cache.slots);
    const size_t          chunks = gqa_chunks(a->cache.used), part = EK_GQA_HEAD + s.dp;
    for (size_t item = begin; item < end; item++) {
        const size_t   head = item / chunks, at = item % chunks * EK_GQA_CHUNK;
        const size_t   left = a->cache.used - at, n = left < EK_GQA_CHUNK ? left : EK_GQA_CHUNK;
        const uint8_t *p     = (const uint8_t *)a->cache.kv + head * s.head;
        const uint8_t *after = left > n ? p + (at + n) * s.dp : p + s.head;
        for (size_t h = 0; h < a->group; h += PASS) {
            struct walk w = {.a     = a,
                             .s     = s,
                             .head  = head * a->group + h,
                             .part  = a->part + item * a->part_stride + h * part,
                             .heads = a->group - h < PASS ? a->group - h : PASS};
            walk_chunk(&w, p, at, at + n, after);
        }
    }
}
