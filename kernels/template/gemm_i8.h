/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/gemm_i8.h - GEMM over packed weights with 8-bit activations. The including file
 * has its simd.h and dot_*.h and defines SET_PANELS and
 *     FN(fmt)               symbol of the kernel
 * Beside what gemv_i8.h asks for, a dot_*.h gives
 *     x6, x6_load(p)              four activations each of six tokens
 *     DOT4_TOKEN(acc, w, x, t)    DOT4 with those of token t; likewise DOT8_TOKEN
 * or DOT_BY_MATRIX 1 and unpack_pair, for a matrix instruction. */
#include "kernels/template/gemm.h"

enum { T = EK_TILE, VECTOR_WEIGHTS = 4 * VL };

struct set8 {
    const struct ek_gemm_i8_args *a;
    struct gemm_memory            mem;
    size_t                        panel_bytes, panels, tiles;
};

/* ---- unpacking ---- */

#ifndef DOT_BY_MATRIX
#define DOT_BY_MATRIX 0
EK_INLINE void unpack_pair(vi a, vi b, int32_t *first, int32_t *second)
{
    i_store(first, a), i_store(second, b);
}
#endif

/* Eight columns at a time: the two nibbles of a unit, or two units of bytes. */
EK_INLINE void unpack_group(const struct ek_geometry *f, const uint8_t *codes, uint8_t *out)
{
    const size_t step = RV * VECTOR_WEIGHTS; /* four columns of the set */
    for (size_t c = 0; c < f->group; c += 8, codes += 16 * f->bits, out += 2 * step) {
        EK_UNROLL
        for (size_t v = 0; v < NV; v++) {
            const vi q = i_load(codes + v * VECTOR_BYTES);
            void    *a = out + v * VECTOR_WEIGHTS, *b = out + v * VECTOR_WEIGHTS + step;
            if (f->bits == 8)
                unpack_pair(codes8_ready(q), codes8_ready(i_load(codes + 64 + v * VECTOR_BYTES)), a,
                            b);
            else
                unpack_pair(nibbles_low(q), nibbles_high(q), a, b);
        }
    }
}

/* Columns [col, col + width) of panel `panel` into place p of the set. */
EK_INLINE void unpack_panel(const struct ek_geometry *f, const struct set8 *s, size_t panel,
                            size_t p, size_t col, size_t width)
{
    const uint8_t     *w      = (const uint8_t *)s->a->w + panel * s->panel_bytes;
    struct super_bytes sb[NV] = {{i_set(0), i_set(0)}};
    for (size_t c = 0; c < width; c += f->group) {
        const size_t   g = c / f->group, j = (col + c) % f->block / f->group;
        const uint8_t *head = w + (col + c) / f->block * ek_block_bytes(f);
        unpack_group(f, w + ek_group_offset(f, col + c),
                     s->mem.weights + (c / 4 * RV + p * NV) * VECTOR_WEIGHTS);
        EK_UNROLL
        for (size_t v = 0; v < NV; v++) {
            vf           scale = v_set(0.0f), minimum = v_set(0.0f);
            const size_t at = (g * RV + p * NV + v) * VL;
            group_scale(f, head, v, j, &sb[v], &scale, &minimum);
            v_store(s->mem.scales + at, scale);
            if (f->kind != EK_FMT_SYM) v_store(s->mem.minima + at, minimum);
        }
    }
}

/* ---- one K block: RV vectors of rows times tiles of six tokens ---- */

struct tiles8 {
    const uint8_t *w;
    const float   *scales, *minima;
    const int8_t  *x; /* of the first tile; each tile's follow the last one's */
    const float   *d;
    const int32_t *s;
    const float   *token_scale; /* of the first tile, at the last K block of per_token; else NULL */
    size_t         token_stride; /* to the next tile's */
    size_t         width, tokens;
    int            fresh; /* 1: sums start at zero */
    struct set_out out;
    struct feeder  feeder;
};
typedef void tiles8_fn(struct tiles8 *t);

#if DOT_BY_MATRIX
/* sum += W x over `columns` columns, a multiple of 16, rows and tokens two by two. */
EK_INLINE void dot_columns(unsigned bits, const uint8_t *w, const int8_t *x, size_t columns,
                           vi sum[RV][T])
{
    (void)bits;
    const uint8_t *end = w + columns * RV * VL;
    vi             two[2 * RV][T / 2]; /* [rows 2 i, 2 i + 1][tokens 2 t, 2 t + 1] */
    EK_UNROLL
    for (size_t i = 0; i < 2 * RV; i++) {
        EK_UNROLL
        for (size_t t = 0; t < T / 2; t++) two[i][t] = i_set(0);
    }
    EK_NO_UNROLL
    for (; w != end; w += 2 * RV * VECTOR_WEIGHTS, x += 8 * T) {
        const x6        a = x6_load(x), b = x6_load(x + 4 * T);
        const int8x16_t a4 = vcombine_s8(a.b, a.b), b4 = vcombine_s8(b.b, b.b);
#define ZIP(which, p, q)                                                                           \
    vreinterpretq_s8_s32(which(vreinterpretq_s32_s8(p), vreinterpretq_s32_s8(q)))
        const int8x16_t xv[T / 2] = {ZIP(vzip1q_s32, a.a, b.a), ZIP(vzip2q_s32, a.a, b.a),
                                     ZIP(vzip1q_s32, a4, b4)};
#undef ZIP
        EK_UNROLL
        for (size_t i = 0; i < 2 * RV; i++) { /* rows 0 1 of each vector, then rows 2 3 */
            const size_t r  = i / 2 + i % 2 * RV;
            const vi     wv = i_load(w + r * VECTOR_WEIGHTS);
            EK_UNROLL
            for (size_t t = 0; t < T / 2; t++)
                two[i][t] = vusmmlaq_s32(two[i][t], BYTES(wv), xv[t]);
        }
    }
    EK_UNROLL
    for (size_t r = 0; r < RV; r++) {
        EK_UNROLL
        for (size_t t = 0; t < T / 2; t++) {
            const vi p = two[2 * r][t], q = two[2 * r + 1][t];
            sum[r][2 * t]     = i_add(sum[r][2 * t], vuzp1q_s32(p, q));
            sum[r][2 * t + 1] = i_add(sum[r][2 * t + 1], vuzp2q_s32(p, q));
        }
    }
}
#else
/* Four columns times six tokens. */
#define DOT_TOKEN(k, t)                                                                            \
    EK_UNROLL                                                                                      \
    for (size_t r = 0; r < RV; r++)                                                                \
        sum[r][t] = bits == 4 ? DOT4_TOKEN(sum[r][t], wv[k][r], xv[k], t)                          \
                              : DOT8_TOKEN(sum[r][t], wv[k][r], xv[k], t);
#define DOT_TOKENS(k)                                                                              \
    DOT_TOKEN(k, 0) DOT_TOKEN(k, 1) DOT_TOKEN(k, 2) DOT_TOKEN(k, 3) DOT_TOKEN(k, 4) DOT_TOKEN(k, 5)

/* sum += W x over `columns` columns, a multiple of 16. */
EK_INLINE void dot_columns(unsigned bits, const uint8_t *w, const int8_t *x, size_t columns,
                           vi sum[RV][T])
{
    const uint8_t *end = w + columns * RV * VL;
    EK_NO_UNROLL
    do {
        EK_UNROLL
        for (int half = 0; half < 2; half++) { /* weights of eight columns are loaded together */
            vi wv[2][RV];
            x6 xv[2];
            EK_UNROLL
            for (size_t k = 0; k < 2; k++) {
                xv[k] = x6_load(x + 4 * k * T);
                EK_UNROLL
                for (size_t r = 0; r < RV; r++)
                    wv[k][r] = i_load(w + (k * RV + r) * VECTOR_WEIGHTS);
            }
            DOT_TOKENS(0) DOT_TOKENS(1) w += 2 * RV * VECTOR_WEIGHTS, x += 8 * T;
        }
    } while (w != end);
}
#endif

/* Narrow sums hold eight steps: they are taken 32 columns at a time. */
EK_INLINE int is_narrow(const struct ek_geometry *f)
{
    return DOT4_NARROW && f->bits == 4;
}
/* Do dot products count codes from 0, so that the zero code's share has to go? */
EK_INLINE int has_bias(const struct ek_geometry *f)
{
    return f->kind == EK_FMT_SYM && (f->bits == 4 || DOT8_ZERO != 0);
}

/* f32 sums of group g, or of a run of 32 of its columns, the first or a later one. */
EK_INLINE void add_group(const struct ek_geometry *f, int per_token, const struct tiles8 *t,
                         size_t g, const float *d, const int32_t *s, int first, vi sum[RV][T],
                         vf acc[RV][T])
{
    const float *scales = t->scales + g * RV * VL, *minima = t->minima + g * RV * VL;
    EK_UNROLL
    for (size_t i = 0; i < T; i++) {
        const float di = per_token ? 1.0f : d[g * T + i];
        EK_UNROLL
        for (size_t r = 0; r < RV; r++) {
            vi dot = is_narrow(f) ? dot_sum(sum[r][i]) : sum[r][i];
            if (is_narrow(f) && has_bias(f) && first) dot = i_add(dot, dot_start(&s[g * T + i]));
            vf scale = v_load(scales + r * VL);
            if (!per_token) scale = v_mul(scale, v_set(di));
            acc[r][i] = v_fma(i_to_float(dot), scale, acc[r][i]);
            if (f->kind != EK_FMT_SYM && first)
                acc[r][i] =
                    v_fma(v_load(minima + r * VL), v_set(di * (float)s[g * T + i]), acc[r][i]);
        }
    }
}

/* One tile, `real` of its six tokens wanted. */
EK_INLINE void tile_sums(const struct ek_geometry *f, int per_token, const struct tiles8 *t,
                         size_t token, size_t real, const int8_t *x, const float *d,
                         const int32_t *s, const float *token_scale)
{
    const size_t run = is_narrow(f) ? 32 : f->group;
    vf           acc[RV][T];
    EK_UNROLL
    for (size_t i = 0; i < T; i++) {
        EK_UNROLL
        for (size_t r = 0; r < RV; r++)
            acc[r][i] = t->fresh || i >= real ? v_set(0.0f) : load_out(&t->out, token + i, r);
    }
    for (size_t c = 0; c < t->width; c += run) {
        const size_t g     = c / f->group;
        const int    first = c % f->group == 0;
        vi           sum[RV][T];
        EK_UNROLL
        for (size_t i = 0; i < T; i++) {
            EK_UNROLL
            for (size_t r = 0; r < RV; r++)
                sum[r][i] = has_bias(f) && !is_narrow(f) ? dot_start(&s[g * T + i]) : i_set(0);
        }
        dot_columns(f->bits, t->w + c * RV * VL, x + c * T, run, sum);
        add_group(f, per_token, t, g, d, s, first, sum, acc);
    }
    EK_UNROLL
    for (size_t i = 0; i < T; i++) {
        const vf k = v_set(per_token && token_scale && i < real ? token_scale[i] : 1.0f);
        EK_UNROLL
        for (size_t r = 0; r < RV; r++)
            if (i < real)
                store_out(&t->out, token + i, r, per_token ? v_mul(acc[r][i], k) : acc[r][i]);
    }
}

EK_INLINE void tiles_block(const struct ek_geometry *f, int per_token, struct tiles8 *t)
{
    const int8_t  *x = t->x;
    const float   *d = t->d, *token_scale = t->token_scale;
    const int32_t *s     = t->s;
    const size_t   cells = t->width / f->group * T;
    for (size_t token = 0; token < t->tokens; token += T) {
        const size_t left = t->tokens - token, real = left < T ? left : T;
        feed(&t->feeder);
        fetch_out(&t->out, token + real, left - real < T ? left - real : T);
        tile_sums(f, per_token, t, token, real, x, d, s, token_scale);
        x += t->width * T, d += cells, s += cells;
        if (token_scale) token_scale += t->token_stride;
    }
}

/* ---- a set of rows, all tokens ---- */

EK_INLINE void set_block(const struct ek_geometry *f, const struct set8 *s, tiles8_fn *tiles_fn,
                         size_t row, size_t kb, size_t begin, size_t end)
{
    const struct ek_gemm_i8_args *a     = s->a;
    const size_t                  width = a->k - kb < EK_GEMM_KB_I8 ? a->k - kb : EK_GEMM_KB_I8;
    const size_t                  panel = row / EK_PANEL_ROWS, at = kb * s->tiles * T;
    EK_UNROLL
    for (size_t p = 0; p < SET_PANELS; p++) /* a panel that is not there: the last one again */
        unpack_panel(f, s, panel + p < s->panels ? panel + p : s->panels - 1, p, kb, width);

    const size_t   first = a->k < EK_GEMM_KB_I8 ? a->k : EK_GEMM_KB_I8; /* columns of K block 0 */
    const uint8_t *next  = (const uint8_t *)a->w + (panel + SET_PANELS) * s->panel_bytes +
                          kb / f->block * ek_block_bytes(f);
    struct tiles8 t = {
        .w            = s->mem.weights,
        .scales       = s->mem.scales,
        .minima       = s->mem.minima,
        .x            = a->x + at,
        .d            = a->xd + at / f->group,
        .s            = a->xs + at / f->group,
        .token_scale  = a->per_token && kb + width == a->k ? a->xd : NULL,
        .token_stride = first / f->group * T,
        .width        = width,
        .tokens       = a->m,
        .fresh        = kb == 0,
        .out          = {a->y, a->ldy, row, begin, end},
        .feeder = feeder_make(next, s->panel_bytes, EK_GEMM_KB_I8 / f->block * ek_block_bytes(f),
                              SET_PANELS, s->tiles),
    };
    tiles_fn(&t);
}

/* K blocks outside, rows inside: the activations of a K block stay in the second level of cache,
 * every weight is read once, and y, touched once a K block, carries the sums. */
EK_INLINE void gemm_range(const struct ek_geometry *f, tiles8_fn *tiles_fn,
                          const struct ek_gemm_i8_args *a, size_t begin, size_t end)
{
    const struct set8 s = {.a           = a,
                           .mem         = gemm_memory_at(a->scratch),
                           .panel_bytes = ek_panel_bytes(f, a->k),
                           .panels      = (a->n + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS,
                           .tiles       = (a->m + T - 1) / T};
    for (size_t kb = 0; kb < a->k; kb += EK_GEMM_KB_I8)
        for (size_t row = begin / SET_ROWS * SET_ROWS; row < end; row += SET_ROWS)
            set_block(f, &s, tiles_fn, row, kb, begin, end);
}

/* The tiles are a function of their own: inlined, they would share registers with the walk. */
#define DEFINE_GEMM_I8(fmt)                                                                        \
    static __attribute__((noinline)) void tiles_token_##fmt(struct tiles8 *t)                      \
    {                                                                                              \
        tiles_block(&ek_geometry_##fmt, 1, t);                                                     \
    }                                                                                              \
    static __attribute__((noinline)) void tiles_group_##fmt(struct tiles8 *t)                      \
    {                                                                                              \
        tiles_block(&ek_geometry_##fmt, 0, t);                                                     \
    }                                                                                              \
    void FN(fmt)(const struct ek_gemm_i8_args *a, size_t begin, size_t end)                        \
    {                                                                                              \
        gemm_range(&ek_geometry_##fmt, a->per_token ? tiles_token_##fmt : tiles_group_##fmt, a,    \
                   begin, end);                                                                    \
    }
DEFINE_GEMM_I8(q8g32)
DEFINE_GEMM_I8(q4g32)
DEFINE_GEMM_I8(q4g64)
DEFINE_GEMM_I8(q4g128)
DEFINE_GEMM_I8(q4g32m)
DEFINE_GEMM_I8(q4k)
