/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/sparse_f32.h - sparse_mlp with float activations, sparse_gemv, sparse_merge. The
 * including file has its simd.h and a decode.h and defines FN(op, fmt), symbol of the kernel. Lanes
 * of packed rows are groups. Each (neuron, token) has sums of its own, so its bits do not depend on
 * its neighbours. */
#include "kernels/template/sparse_packed.h"

/* ---- dot products with rows of numbers ---- */

/* N rows and M tokens. */
EK_INLINE void dot_numbers(enum ek_fmt fmt, size_t N, size_t M, const struct rows *s,
                           const float *const x[TOKENS], float dot[SIDE][TOKENS])
{
    const size_t line = 64 / number_bytes(fmt);
    vf           sum[SIDE][TOKENS];
    EK_UNROLL
    for (size_t i = 0; i < N; i++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++) sum[i][t] = v_set(0.0f);
    }
    for (size_t c = 0; c < s->width; c += line) {
        const size_t at = s->offset + c * number_bytes(fmt);
        EK_UNROLL
        for (size_t i = 0; i < N; i++) {
            fetch_ahead(s->w, s->first + i, 1, at);
            EK_UNROLL
            for (size_t v = 0; v < line; v += VL) {
                const vf q = load_number(fmt, s->w->now[s->first + i] + at, v);
                EK_UNROLL
                for (size_t t = 0; t < M; t++)
                    sum[i][t] = v_fma(q, v_load(x[t] + c + v), sum[i][t]);
            }
        }
    }
    EK_UNROLL
    for (size_t i = 0; i < N; i++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++) dot[i][t] = v_hsum(sum[i][t]);
    }
}

/* ---- dot products with packed rows ---- */

#define DOT_COLUMN(decode, j)                                                                      \
    {                                                                                              \
        const vf d = decode(f, q, j);                                                              \
        EK_UNROLL                                                                                  \
        for (size_t t = 0; t < M; t++)                                                             \
            sum[t] = v_fma(d, v_load(x[t] + at + (j)*EK_PANEL_ROWS), sum[t]);                      \
    }
EK_INLINE void dot_unit(const struct ek_geometry *f, size_t M, vi q, const float *const x[TOKENS],
                        size_t at, vf sum[TOKENS])
{
    if (f->bits == 4) {
        DOT_COLUMN(DECODE4, 0);
        DOT_COLUMN(DECODE4, 1);
        DOT_COLUMN(DECODE4, 2);
        DOT_COLUMN(DECODE4, 3);
        DOT_COLUMN(DECODE4, 4);
        DOT_COLUMN(DECODE4, 5);
        DOT_COLUMN(DECODE4, 6);
        DOT_COLUMN(DECODE4, 7);
    } else {
        DOT_COLUMN(DECODE8, 0);
        DOT_COLUMN(DECODE8, 1);
        DOT_COLUMN(DECODE8, 2);
        DOT_COLUMN(DECODE8, 3);
    }
}

EK_INLINE void dot_decoded(const struct ek_geometry *f, size_t N, size_t M, const struct rows *s,
                           const float *const x[TOKENS], float dot[SIDE][TOKENS])
{
    const size_t unit = 32 / f->bits;
    vf           acc[SIDE][TOKENS], sum[SIDE][TOKENS];
    EK_UNROLL
    for (size_t i = 0; i < N; i++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++) acc[i][t] = v_set(0.0f);
    }
    for (size_t r = 0; r < s->width / EK_SPARSE_RUN; r++) {
        const size_t head = s->offset + run_head(f, r), codes = s->offset + run_codes(f, r);
        if (r % 2 == 0) fetch_ahead(s->w, s->first, N, head);
        EK_UNROLL
        for (size_t v = 0; v < NV; v++) {
            EK_UNROLL
            for (size_t i = 0; i < N; i++) {
                EK_UNROLL
                for (size_t t = 0; t < M; t++) sum[i][t] = v_set(0.0f);
            }
            for (size_t u = 0; u < run_bytes(f) / 64; u++) {
                const size_t at = codes + u * 64, c = u * unit * EK_PANEL_ROWS + v * VL;
                EK_UNROLL
                for (size_t i = 0; i < N; i++) {
                    const vi q = i_load(s->w->now[s->first + i] + at + v * VECTOR_BYTES);
                    if (v == 0) fetch_ahead(s->w, s->first + i, 1, at);
                    dot_unit(f, M, decode_ready(f, q), x, r * EK_SPARSE_RUN + c, sum[i]);
                }
            }
            EK_UNROLL
            for (size_t i = 0; i < N; i++) {
                const vf scale = head_halves(s->w->now[s->first + i] + head, r % 2, v);
                EK_UNROLL
                for (size_t t = 0; t < M; t++) acc[i][t] = v_fma(scale, sum[i][t], acc[i][t]);
            }
        }
    }
    EK_UNROLL
    for (size_t i = 0; i < N; i++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++) dot[i][t] = v_hsum(acc[i][t]);
    }
}

EK_INLINE void add_down(enum ek_fmt fmt, const struct ek_geometry *f, const struct walk *w,
                        size_t offset, size_t width, const struct side *s, size_t m, float *part)
{
    if (f->kind == EK_FMT_FLOAT)
        add_numbers(fmt, w, offset, width, s, m, part);
    else
        add_packed(f, w, offset, width, s, m, part);
}

/* ---- one kernel ---- */

/* Dot products of SIDE neurons, as many side by side as there are registers for: their last dot row
 * is up, the one before it gate. */
EK_INLINE void side_dots(enum ek_fmt fmt, const struct ek_geometry *f, size_t R, size_t M,
                         const struct walk *w, const struct ek_sparse_mlp_args *a, struct side *s)
{
    const size_t row_bytes = ek_neuron_row_bytes(f, a->width);
    const size_t N         = (f->kind == EK_FMT_FLOAT ? (size_t)SIDE : REGISTERS / 4) / M;
    for (size_t t0 = 0; t0 < a->m; t0 += M) {
        const float *x[TOKENS];
        for (size_t t = 0; t < M; t++) x[t] = a->x + (t0 + t < a->m ? t0 + t : a->m - 1) * a->width;
        for (size_t i0 = 0; i0 < SIDE; i0 += N)
            for (size_t r = 0; r < R; r++) {
                const struct rows rows = {w, i0, r * row_bytes, a->width};
                float             dot[SIDE][TOKENS];
                if (f->kind == EK_FMT_FLOAT)
                    dot_numbers(fmt, N, M, &rows, x, dot);
                else
                    dot_decoded(f, N, M, &rows, x, dot);
                take_dots(s, N, M, r + 1 == R, t0, i0, dot);
            }
    }
}

EK_INLINE void mlp_range(enum ek_fmt fmt, const struct ek_geometry *f, size_t R, size_t M,
                         const struct ek_sparse_mlp_args *a, size_t begin, size_t end)
{
    const size_t row_bytes = ek_neuron_row_bytes(f, a->width);
    struct side  s         = {{{0}}, {{0}}, {{0}}};
    struct walk  w         = START_WALK(a, (R + 1) * row_bytes, begin, end);
    FOR_SIDES(w, a, begin, end, part, j, n)
    {
        side_dots(fmt, f, R, M, &w, a, &s);
        side_activate(&s, a->act, a->gate ? a->gate + j : NULL, a->count, R + 1, a->m, n);
        add_down(fmt, f, &w, R * row_bytes, a->width, &s, a->m, part);
    }
}

EK_INLINE void gemv_range(enum ek_fmt fmt, const struct ek_geometry *f,
                          const struct ek_sparse_gemv_args *a, size_t begin, size_t end)
{
    struct side s = {{{0}}, {{0}}, {{0}}};
    struct walk w = START_WALK(a, ek_neuron_row_bytes(f, a->width), begin, end);
    FOR_SIDES(w, a, begin, end, part, j, n)
    {
        for (size_t t = 0; t < a->m; t++)
            for (size_t i = 0; i < SIDE; i++) s.h[t][i] = i < n ? a->x[t * a->count + j + i] : 0;
        add_down(fmt, f, &w, 0, a->width, &s, a->m, part);
    }
}

#define DEFINE_SPARSE(fmt)                                                                         \
    void FN(sparse_mlp, fmt)(const struct ek_sparse_mlp_args *a, size_t begin, size_t end)         \
    {                                                                                              \
        const struct ek_geometry *f = &ek_geometry_##fmt;                                          \
        if (begin >= end) return;                                                                  \
        switch (a->m * 4 + a->rows) { /* compiled for 1 and 4 tokens, 1 and 2 dot products */      \
        case 4 + 2: mlp_range(EK_FMT_##fmt, f, 1, 1, a, begin, end); break;                        \
        case 4 + 3: mlp_range(EK_FMT_##fmt, f, 2, 1, a, begin, end); break;                        \
        default:                                                                                   \
            if (a->rows == 2)                                                                      \
                mlp_range(EK_FMT_##fmt, f, 1, TOKENS, a, begin, end);                              \
            else                                                                                   \
                mlp_range(EK_FMT_##fmt, f, 2, TOKENS, a, begin, end);                              \
        }                                                                                          \
    }                                                                                              \
    void FN(sparse_gemv, fmt)(const struct ek_sparse_gemv_args *a, size_t begin, size_t end)       \
    {                                                                                              \
        if (begin < end) gemv_range(EK_FMT_##fmt, &ek_geometry_##fmt, a, begin, end);              \
    }
DEFINE_SPARSE(f32)
DEFINE_SPARSE(f16)
DEFINE_SPARSE(bf16)
DEFINE_SPARSE(q8g32)
DEFINE_SPARSE(q4g32)

/* ---- the sum of parts ---- */

EK_INLINE vf sum_parts(const struct ek_sparse_merge_args *a, size_t at)
{
    vf sum = v_load(a->part + at);
    for (size_t p = 1; p < a->parts; p++)
        sum = v_add(sum, v_load(a->part + p * a->part_stride + at));
    return sum;
}
EK_INLINE void store_columns(const struct ek_sparse_merge_args *a, size_t t, size_t column, vf v)
{
    float *y = a->y + t * a->ldy + column;
    if (column + VL <= a->n)
        v_store(y, v);
    else if (column < a->n)
        v_store_n(y, v, a->n - column);
}
EK_INLINE void merge_lanes(const struct ek_sparse_merge_args *a, size_t t, size_t column)
{
    for (size_t l = 0; l < EK_PANEL_ROWS; l += VL)
        for (size_t j = 0; j < EK_LANE_COLUMNS; j += VL) {
            vf r[VL];
            EK_UNROLL
            for (size_t i = 0; i < VL; i++)
                r[i] = sum_parts(a, t * a->width + column + (j + i) * EK_PANEL_ROWS + l);
            v_transpose(r);
            EK_UNROLL
            for (size_t i = 0; i < VL; i++)
                store_columns(a, t, column + (l + i) * EK_LANE_COLUMNS + j, r[i]);
        }
}

void FN(sparse_merge, f32)(const struct ek_sparse_merge_args *a, size_t begin, size_t end)
{
    for (size_t item = begin; item < end; item++)
        for (size_t t = 0; t < a->m; t++) {
            const size_t column = item * EK_SPARSE_RUN;
            if (a->lanes)
                merge_lanes(a, t, column);
            else
                for (size_t c = column; c < column + EK_SPARSE_RUN && c < a->n; c += VL)
                    store_columns(a, t, c, sum_parts(a, t * a->width + c));
        }
}
