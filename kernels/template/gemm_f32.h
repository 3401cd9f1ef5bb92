/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/gemm_f32.h - GEMM with float activations, for every weight format: a K block of
 * weights is turned to floats once and multiplied by FMA. The including file has its simd.h and
 * decode.h and defines SET_PANELS and
 *     FN(fmt)         symbol of the kernel
 *     PAIRED_TILES    1: tiles are taken two at a time, twelve tokens */
#include "kernels/template/gemm.h"

enum { T = EK_TILE, T_MAX = T * (1 + PAIRED_TILES) };

struct set32 {
    const struct ek_gemm_args *a;
    struct gemm_memory         mem;
    size_t                     row_bytes; /* of a panel, or of a row of a float format */
    size_t                     rows;      /* that can be read: n, or whole panels      */
    size_t                     tiles;
};

/* ---- weights of a K block as floats, [column][RV][VL] ---- */

EK_INLINE vf load_some(enum ek_fmt fmt, const uint8_t *row, size_t col, size_t n)
{
    const void *p = row + col * (fmt == EK_FMT_f32 ? 4 : 2);
    if (n == VL)
        return fmt == EK_FMT_f32 ? v_load(p) : fmt == EK_FMT_f16 ? v_load_f16(p) : v_load_bf16(p);
    return fmt == EK_FMT_f32   ? v_load_n(p, n)
           : fmt == EK_FMT_f16 ? v_load_f16_n(p, n)
                               : v_load_bf16_n(p, n);
}

/* Rows of a float format: VL x VL squares, turned. A row that is not there counts as zeros. */
EK_INLINE void floats_block(enum ek_fmt fmt, const struct set32 *s, size_t row, size_t col,
                            size_t width)
{
    float *out = (float *)(void *)s->mem.weights;
    for (size_t v = 0; v < RV; v++)
        for (size_t c = 0; c < width; c += VL) {
            const size_t n = width - c < VL ? width - c : VL;
            vf           square[VL];
            EK_UNROLL
            for (size_t i = 0; i < VL; i++) {
                const size_t r = row + v * VL + i;
                square[i] =
                    r < s->rows
                        ? load_some(fmt, (const uint8_t *)s->a->w + r * s->row_bytes, col + c, n)
                        : v_set(0.0f);
            }
            v_transpose(square);
            for (size_t i = 0; i < n; i++) v_store(out + ((c + i) * RV + v) * VL, square[i]);
        }
}

/* One group of a panel: w = scale * (code - zero) + minimum. */
EK_INLINE void decode_group(const struct ek_geometry *f, const uint8_t *codes, vf scale, vf minimum,
                            float *out)
{
#define PUT(decode, j)                                                                             \
    v_store(out + ((c + (j)) * RV) * VL, f->kind == EK_FMT_SYM                                     \
                                             ? v_mul(scale, decode(f, q, j))                       \
                                             : v_fma(scale, decode(f, q, j), minimum));
    for (size_t c = 0; c < f->group; c += 32 / f->bits, codes += 64) {
        const vi q = decode_ready(f, i_load(codes));
        if (f->bits == 4) {
            PUT(DECODE4, 0)
            PUT(DECODE4, 1)
            PUT(DECODE4, 2)
            PUT(DECODE4, 3) PUT(DECODE4, 4) PUT(DECODE4, 5) PUT(DECODE4, 6) PUT(DECODE4, 7)
        } else {
            PUT(DECODE8, 0) PUT(DECODE8, 1) PUT(DECODE8, 2) PUT(DECODE8, 3)
        }
    }
#undef PUT
}

EK_INLINE void decode_panel(const struct ek_geometry *f, const struct set32 *s, size_t panel,
                            size_t p, size_t col, size_t width)
{
    const uint8_t *w   = (const uint8_t *)s->a->w + panel * s->row_bytes;
    float         *out = (float *)(void *)s->mem.weights;
    for (size_t v = 0; v < NV; v++) {
        struct super_bytes sb = {i_set(0), i_set(0)};
        for (size_t c = 0; c < width; c += f->group) {
            const uint8_t *head  = w + (col + c) / f->block * ek_block_bytes(f);
            const uint8_t *codes = w + ek_group_offset(f, col + c) + v * VECTOR_BYTES;
            vf             scale = v_set(0.0f), minimum = v_set(0.0f);
            group_scale(f, head, v, (col + c) % f->block / f->group, &sb, &scale, &minimum);
            decode_group(f, codes, scale, minimum, out + (c * RV + p * NV + v) * VL);
        }
    }
}

/* ---- tiles ---- */

struct tiles32 {
    const float   *w;
    const float   *x; /* of the first tile; each tile's follow the last one's */
    size_t         width, tokens;
    int            fresh; /* 1: sums start at zero */
    struct set_out out;
    struct feeder  feeder;
};

/* `tokens` tokens from token t on; x2: activations of the second tile. */
EK_INLINE void tile_sums(const struct tiles32 *t, const float *x, size_t token, size_t tokens,
                         size_t real)
{
    const float *w = t->w, *x2 = x + t->width * T;
    vf           sum[T_MAX][RV];
    EK_UNROLL
    for (size_t i = 0; i < tokens; i++) {
        EK_UNROLL
        for (size_t r = 0; r < RV; r++)
            sum[i][r] = t->fresh || i >= real ? v_set(0.0f) : load_out(&t->out, token + i, r);
    }
    EK_NO_UNROLL
    for (size_t c = 0; c < t->width; c++, w += RV * VL, x += T, x2 += T) {
        vf wv[RV];
        EK_UNROLL
        for (size_t r = 0; r < RV; r++) wv[r] = v_load(w + r * VL);
        EK_UNROLL
        for (size_t i = 0; i < tokens; i++) {
            const vf xv = v_set(i < T ? x[i] : x2[i - T]);
            EK_UNROLL
            for (size_t r = 0; r < RV; r++) sum[i][r] = v_fma(wv[r], xv, sum[i][r]);
        }
    }
    EK_UNROLL
    for (size_t i = 0; i < tokens; i++) {
        EK_UNROLL
        for (size_t r = 0; r < RV; r++)
            if (i < real) store_out(&t->out, token + i, r, sum[i][r]);
    }
}

/* A function of its own: inlined, it would share registers with the walk. */
static __attribute__((noinline)) void tiles_block(struct tiles32 *t)
{
    const float *x = t->x;
    for (size_t token = 0; token < t->tokens;) {
        const size_t left = t->tokens - token;
        const size_t step = PAIRED_TILES && left > T ? T_MAX : T, real = left < step ? left : step;
        feed(&t->feeder);
        fetch_out(&t->out, token + real, left - real < step ? left - real : step);
        if (PAIRED_TILES && left > T)
            tile_sums(t, x, token, T_MAX, real), feed(&t->feeder);
        else
            tile_sums(t, x, token, T, real);
        x += step * t->width, token += step;
    }
}

/* ---- a set of rows, all tokens ---- */

/* The same columns of the next set of rows. */
EK_INLINE struct feeder next_block(const struct ek_geometry *f, const struct set32 *s, size_t row,
                                   size_t col)
{
    const uint8_t *w = s->a->w;
    row += SET_ROWS;
    if (f->kind == EK_FMT_FLOAT)
        return feeder_make(w + row * s->row_bytes + col * f->bits / 8, s->row_bytes,
                           EK_GEMM_KB_F32 * f->bits / 8, SET_ROWS, s->tiles);
    return feeder_make(w + row / EK_PANEL_ROWS * s->row_bytes + col / f->block * ek_block_bytes(f),
                       s->row_bytes, EK_GEMM_KB_F32 / f->block * ek_block_bytes(f), SET_PANELS,
                       s->tiles);
}

EK_INLINE void set_block(enum ek_fmt fmt, const struct ek_geometry *f, const struct set32 *s,
                         size_t row, size_t kb, size_t begin, size_t end)
{
    const struct ek_gemm_args *a      = s->a;
    const size_t               width  = a->k - kb < EK_GEMM_KB_F32 ? a->k - kb : EK_GEMM_KB_F32;
    const size_t               panels = s->rows / EK_PANEL_ROWS, panel = row / EK_PANEL_ROWS;
    if (f->kind == EK_FMT_FLOAT)
        floats_block(fmt, s, row, kb, width);
    else
        for (size_t p = 0; p < SET_PANELS; p++) /* one that is not there: the last one again */
            decode_panel(f, s, panel + p < panels ? panel + p : panels - 1, p, kb, width);
    struct tiles32 t = {.w      = (const float *)(void *)s->mem.weights,
                        .x      = a->x + kb * s->tiles * T,
                        .width  = width,
                        .tokens = a->m,
                        .fresh  = kb == 0,
                        .out    = {a->y, a->ldy, row, begin, end},
                        .feeder = next_block(f, s, row, kb)};
    tiles_block(&t);
}

/* K blocks outside, rows inside: the activations of a K block stay in the second level of cache,
 * every weight is read once, and y, touched once a K block, carries the sums. */
EK_INLINE void gemm_range(enum ek_fmt fmt, const struct ek_geometry *f,
                          const struct ek_gemm_args *a, size_t begin, size_t end)
{
    const int          is_float = f->kind == EK_FMT_FLOAT;
    const size_t       panels   = (a->n + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS;
    const struct set32 s        = {.a         = a,
                                   .mem       = gemm_memory_at(a->scratch),
                                   .row_bytes = is_float ? a->k * f->bits / 8 : ek_panel_bytes(f, a->k),
                                   .rows      = is_float ? a->n : panels * EK_PANEL_ROWS,
                                   .tiles     = (a->m + T - 1) / T};
    for (size_t kb = 0; kb < a->k; kb += EK_GEMM_KB_F32)
        for (size_t row = begin / SET_ROWS * SET_ROWS; row < end; row += SET_ROWS)
            set_block(fmt, f, &s, row, kb, begin, end);
}

#define DEFINE_GEMM(fmt)                                                                           \
    void FN(fmt)(const struct ek_gemm_args *a, size_t begin, size_t end)                           \
    {                                                                                              \
        gemm_range(EK_FMT_##fmt, &ek_geometry_##fmt, a, begin, end);                               \
    }
DEFINE_GEMM(f32)
DEFINE_GEMM(f16)
DEFINE_GEMM(bf16)
DEFINE_GEMM(q8g32)
DEFINE_GEMM(q4g32)
DEFINE_GEMM(q4g64)
DEFINE_GEMM(q4g128)
DEFINE_GEMM(q4g32m)
DEFINE_GEMM(q4k)
