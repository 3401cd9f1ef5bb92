/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/gqa_prefill.h - many query tokens against a cache of any format. The including
 * file has its simd.h and decode.h and defines
 *     FN(fmt)     symbol of the kernel
 *     ROWS        query rows whose sums are in registers together; divides PREFILL_STEP
 *     COLUMNS     runs of 16 keys, or of 16 columns of values, beside them; divides 4
 *
 * An item is a kv head and a tile of queries, whose rows are its tokens times the query heads of
 * the group. Keys and values come in tiles of PREFILL_KEYS slots, turned to floats once, and pass
 * all rows: scores, softmax with the running maximum, values. Tiles that no query of the item sees
 * are skipped, so a causal mask costs what it shows. */
#include "kernels/template/attend.h"

enum { KEYS = PREFILL_KEYS, BLOCK = COLUMNS * KV_PANEL, BV = COLUMNS * NV };

struct rows {
    const struct ek_gqa_prefill_args *a;
    struct kv_shape                   s;
    size_t                            t0, tokens, rows, room; /* rows: rounded up to room */
    /* parts of the scratch, f32 */
    float *q;                /* [room / ROWS][dim][ROWS], times scale log2 e */
    float *scores;           /* [room][KEYS]                                 */
    float *o;                /* [room][dp]                                   */
    float *k;                /* [KEYS / BLOCK][dim][BLOCK]                   */
    float *v;                /* [KEYS][dp]                                   */
    float *max, *sum, *keep; /* [room]                                     */
};

EK_INLINE struct rows rows_at(enum ek_fmt fmt, const struct ek_gqa_prefill_args *a, size_t tile)
{
    const size_t room = gqa_tile_rows(a->group), step = gqa_tile_tokens(a->group), t0 = tile * step;
    struct rows  r = {.a = a, .s = kv_shape(fmt, a->cache.dim, a->cache.slots), .t0 = t0};
    r.tokens       = a->m - t0 < step ? a->m - t0 : step;
    r.rows         = r.tokens * a->group;
    r.room         = (r.rows + ROWS - 1) / ROWS * ROWS;
    float *p       = a->scratch;
    r.k            = p, p += KEYS * r.s.dp;
    r.v            = p, p += KEYS * r.s.dp;
    r.q            = p, p += room * r.s.dp;
    r.o            = p, p += room * r.s.dp;
    r.scores       = p, p += room * KEYS;
    r.max          = p, p += room + PREFILL_PAD;
    r.sum          = p, p += room + PREFILL_PAD;
    r.keep         = p;
    return r;
}

/* ---- queries in, outputs out ---- */

EK_INLINE void pack_queries(const struct rows *r, size_t head)
{
    const struct ek_gqa_prefill_args *a   = r->a;
    const size_t                      dim = a->cache.dim;
    const float                       k   = a->scale * LOG2E;
    for (size_t i = 0; i < r->room; i++) {
        const size_t row = i < r->rows ? i : r->rows - 1; /* the rest repeats the last one */
        const float *q =
            a->q + (r->t0 + row / a->group) * a->ldq + (head * a->group + row % a->group) * dim;
        float *to = r->q + i / ROWS * dim * ROWS + i % ROWS;
        for (size_t d = 0; d < dim; d++) to[d * ROWS] = q[d] * k;
        r->max[i] = -__builtin_inff(), r->sum[i] = 0;
    }
    memset(r->o, 0, r->room * r->s.dp * sizeof *r->o);
}

EK_INLINE void store_outputs(const struct rows *r, size_t head)
{
    const struct ek_gqa_prefill_args *a   = r->a;
    const size_t                      dim = a->cache.dim;
    for (size_t i = 0; i < r->rows; i++) {
        float *y = a->y + (r->t0 + i / a->group) * a->ldy + (head * a->group + i % a->group) * dim;
        const float *o   = r->o + i * r->s.dp;
        const float  inv = r->sum[i] == 0 ? 0 : 1 / r->sum[i];
        for (size_t d = 0; d < dim; d++) y[d] = o[d] * inv;
    }
}

/* ---- a tile of keys and values as floats ---- */

EK_INLINE void unpack_floats(enum ek_fmt fmt, const struct rows *r, const uint8_t *head, size_t at,
                             size_t width)
{
    const size_t size = r->s.size, dim = r->a->cache.dim, panel = r->s.dp * KV_PANEL * size;
    for (size_t p = 0; p < width / KV_PANEL; p++) {
        const uint8_t *from = head + (at / KV_PANEL + p) * panel;
        float         *to   = r->k + p / COLUMNS * dim * BLOCK + p % COLUMNS * KV_PANEL;
        for (size_t d = 0; d < dim; d++)
            for (size_t v = 0; v < NV; v++)
                v_store(to + d * BLOCK + v * VL,
                        load_float(fmt, from + (d * KV_PANEL + v * VL) * size));
    }
    const uint8_t *from = head + r->s.values + at * r->s.dp * size;
    for (size_t i = 0; i < width * r->s.dp; i += VL)
        v_store(r->v + i, load_float(fmt, from + i * size));
}

/* Lane by lane a word holds four codes: four columns of a key, four slots of a column. */
EK_INLINE void unpack_i8(const struct rows *r, const uint8_t *head, size_t at, size_t width)
{
    const size_t dp = r->s.dp, dim = r->a->cache.dim;
    for (size_t p = 0; p < width; p += VL) {
        const uint8_t *from = head + (at + p) / KV_PANEL * dp * KV_PANEL + p % KV_PANEL * KV_QUAD;
        const void    *d    = head + r->s.k_scales + (at + p) * sizeof(uint16_t);
        const vf       unit = v_load_f16(d);
        float         *to   = r->k + p / BLOCK * dim * BLOCK + p % BLOCK;
        for (size_t c = 0; c < dim; c += KV_QUAD, from += KV_PANEL * KV_QUAD) {
            const vi q = i_xor(i_load(from), i_set((int)0x80808080));
            v_store(to + c * BLOCK, v_mul(unit, decode_signed(i_sll(q, 24), 8)));
            if (c + 1 < dim)
                v_store(to + (c + 1) * BLOCK, v_mul(unit, decode_signed(i_sll(q, 16), 8)));
            if (c + 2 < dim)
                v_store(to + (c + 2) * BLOCK, v_mul(unit, decode_signed(i_sll(q, 8), 8)));
            if (c + 3 < dim) v_store(to + (c + 3) * BLOCK, v_mul(unit, decode_signed(q, 8)));
        }
    }
    for (size_t p = 0; p < width; p += KV_QUAD) {
        const uint8_t *from = head + r->s.values + (at + p) * dp, *d = head + r->s.v_scales;
        uint16_t       h[KV_QUAD];
        float         *to = r->v + p * dp;
        memcpy(h, d + (at + p) * sizeof *h, sizeof h);
        const vf u0 = v_set(ek_half_load(h[0])), u1 = v_set(ek_half_load(h[1]));
        const vf u2 = v_set(ek_half_load(h[2])), u3 = v_set(ek_half_load(h[3]));
        for (size_t c = 0; c < dp; c += VL) {
            const vi q = i_load(from + c * KV_QUAD);
            v_store(to + c, v_mul(u0, decode_signed(i_sll(q, 24), 8)));
            v_store(to + dp + c, v_mul(u1, decode_signed(i_sll(q, 16), 8)));
            v_store(to + 2 * dp + c, v_mul(u2, decode_signed(i_sll(q, 8), 8)));
            v_store(to + 3 * dp + c, v_mul(u3, decode_signed(q, 8)));
        }
    }
}

/* ---- products ---- */

/* sum[i][v] += a[i a_row + s a_step] * vector v of b[s b_step], over n steps: ROWS queries by C runs of
 * 16 keys, or of 16 columns of values. */
EK_INLINE void multiply(size_t C, size_t n, const float *a, size_t a_row, size_t a_step,
                        const float *b, size_t b_step, vf sum[ROWS][BV])
{
    for (size_t s = 0; s < n; s++) {
        vf x[BV];
        EK_UNROLL
        for (size_t v = 0; v < C * NV; v++) x[v] = v_load(b + s * b_step + v * VL);
        EK_UNROLL
        for (size_t i = 0; i < ROWS; i++) {
            const vf y = v_set(a[i * a_row + s * a_step]);
            EK_UNROLL
            for (size_t v = 0; v < C * NV; v++) sum[i][v] = v_fma(y, x[v], sum[i][v]);
        }
    }
}

EK_INLINE void store_sums(size_t C, vf sum[ROWS][BV], float *to, size_t row)
{
    EK_UNROLL
    for (size_t i = 0; i < ROWS; i++) {
        EK_UNROLL
        for (size_t v = 0; v < C * NV; v++) v_store(to + i * row + v * VL, sum[i][v]);
    }
}

/* ---- scores ---- */

EK_INLINE void score_block(size_t C, size_t dim, const float *q, const float *k, float *s)
{
    vf sum[ROWS][BV];
    EK_UNROLL
    for (size_t i = 0; i < ROWS; i++) {
        EK_UNROLL
        for (size_t v = 0; v < C * NV; v++) sum[i][v] = v_set(0.0f);
    }
    multiply(C, dim, q, 1, ROWS, k, BLOCK, sum);
    store_sums(C, sum, s, KEYS);
}

EK_INLINE void score_tile(const struct rows *r, size_t width)
{
    const size_t dim = r->a->cache.dim;
    for (size_t c = 0; c < width; c += BLOCK)
        for (size_t i = 0; i < r->room; i += ROWS) {
            const float *q = r->q + i * dim, *k = r->k + c * dim;
            float       *s = r->scores + i * KEYS + c;
            if (c + BLOCK <= width)
                score_block(COLUMNS, dim, q, k, s);
            else
                score_block(1, dim, q, k, s); /* COLUMNS is 1 or 2 */
        }
}

/* ---- softmax ---- */

/* Largest score of each row; what a row does not see becomes -infinity. */
EK_INLINE void find_tops(const struct rows *r, size_t at, size_t n, size_t width, int all)
{
    const struct ek_gqa_prefill_args *a = r->a;
    float                             seen[KEYS];
    for (size_t i = 0; i < r->room; i++) {
        const size_t row = i < r->rows ? i : r->rows - 1;
        if (!all && row % a->group == 0 && i < r->rows)
            seen_by(sight_of(&a->mask, a->q_pos[r->t0 + row / a->group]), a->cache.pos + at, n,
                    KEYS, seen);
        r->keep[i] = largest_score(r->scores + i * KEYS, width, all ? NULL : seen);
    }
}

/* Scores become 2^(s - m), m the running maximum; keep[] is what the old sums are multiplied with. A
 * row that has seen nothing yet gets weights of 0. */
EK_INLINE void softmax_rows(const struct rows *r, size_t width)
{
    for (size_t i = 0; i < r->room; i += VL) { /* past room: room for whole vectors */
        const vf none = v_set(-__builtin_inff()), old = v_load(r->max + i);
        const vf m = v_max(old, v_load(r->keep + i)), from = v_where_gt(m, none, m, v_set(0.0f));
        v_store(r->keep + i, v_exp2(v_sub(old, from)));
        v_store(r->max + i, m);
    }
    for (size_t i = 0; i < r->room; i++) {
        float   *s    = r->scores + i * KEYS;
        const vf m    = v_set(r->max[i]);
        const vf from = v_where_gt(m, v_set(-__builtin_inff()), m, v_set(0.0f));
        vf       sum  = v_set(0.0f);
        for (size_t c = 0; c < width; c += VL) {
            const vf p = v_exp2(v_sub(v_load(s + c), from));
            v_store(s + c, p);
            sum = v_add(sum, p);
        }
        r->sum[i] = r->sum[i] * r->keep[i] + v_hsum(sum);
    }
}

/* ---- values ---- */

EK_INLINE void value_block(size_t C, size_t width, size_t dp, const float *p, const float *keep,
                           const float *v, float *o)
{
    vf sum[ROWS][BV];
    EK_UNROLL
    for (size_t i = 0; i < ROWS; i++) {
        EK_UNROLL
        for (size_t c = 0; c < C * NV; c++)
            sum[i][c] = v_mul(v_set(keep[i]), v_load(o + i * dp + c * VL));
    }
    multiply(C, width, p, KEYS, 1, v, dp, sum);
    store_sums(C, sum, o, dp);
}

EK_INLINE void value_tile(const struct rows *r, size_t width)
{
    const size_t dp = r->s.dp;
    for (size_t c = 0; c < dp; c += BLOCK)
        for (size_t i = 0; i < r->room; i += ROWS) {
            const float *p = r->scores + i * KEYS, *v = r->v + c;
            float       *o = r->o + i * dp + c;
            if (c + BLOCK <= dp)
                value_block(COLUMNS, width, dp, p, r->keep + i, v, o);
            else
                value_block(1, width, dp, p, r->keep + i, v, o);
        }
}

/* ---- an item ---- */

/* Is a tile of slots seen by some query of the item, and all of it by all? Between the first and
 * the last query of a window lies what some see: asked too generously, never too strictly. */
EK_INLINE struct seen tile_seen(const struct rows *r, const int32_t *pos, size_t n)
{
    const struct ek_gqa_prefill_args *a     = r->a;
    const struct sight                first = sight_of(&a->mask, a->q_pos[r->t0]);
    const struct sight                last  = sight_of(&a->mask, a->q_pos[r->t0 + r->tokens - 1]);
    const struct sight                any   = {first.above, last.to, last.sinks};
    const struct sight                every = {last.above, first.to, first.sinks};
    float                             seen[KEYS];
    return (struct seen){seen_by(any, pos, n, KEYS, seen).some,
                         seen_by(every, pos, n, KEYS, seen).all};
}

EK_INLINE void prefill_item(enum ek_fmt fmt, const struct ek_gqa_prefill_args *a, size_t head,
                            size_t tile)
{
    const struct rows r  = rows_at(fmt, a, tile);
    const uint8_t    *kv = (const uint8_t *)a->cache.kv + head * r.s.head;
    pack_queries(&r, head);
    for (size_t at = 0; at < a->cache.used; at += KEYS) {
        const size_t      left = a->cache.used - at, n = left < KEYS ? left : KEYS;
        const size_t      width   = kv_round16(n);
        const struct seen tile_is = tile_seen(&r, a->cache.pos + at, n);
        if (!tile_is.some) continue;
        if (fmt == EK_FMT_i8)
            unpack_i8(&r, kv, at, width);
        else
            unpack_floats(fmt, &r, kv, at, width);
        score_tile(&r, width);
        find_tops(&r, at, n, width, tile_is.all);
        softmax_rows(&r, width);
        value_tile(&r, width);
    }
    store_outputs(&r, head);
}

EK_INLINE void prefill_range(enum ek_fmt fmt, const struct ek_gqa_prefill_args *a, size_t begin,
                             size_t end)
{
    const size_t step = gqa_tile_tokens(a->group), tiles = (a->m + step - 1) / step;
    for (size_t item = begin; item < end; item++) prefill_item(fmt, a, item / tiles, item % tiles);
}

#define DEFINE_GQA_PREFILL(fmt)                                                                    \
    void FN(fmt)(const struct ek_gqa_prefill_args *a, size_t begin, size_t end)                    \
    {                                                                                              \
        prefill_range(EK_FMT_##fmt, a, begin, end);                                                \
    }
DEFINE_GQA_PREFILL(f32)
DEFINE_GQA_PREFILL(f16)
DEFINE_GQA_PREFILL(bf16)
DEFINE_GQA_PREFILL(i8)
