/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/sparse_i8.h - sparse_mlp over packed neurons with 8-bit activations. The
 * including file has its simd.h, a decode.h and a dot_*.h (kernels/template/gemv_i8.h says what that
 * gives), and defines FN(fmt), symbol of the kernel. Lanes are groups: products inside a group are
 * exact integers, and scales of sixteen groups apply as a vector. */
#include "kernels/template/sparse_packed.h"

struct tokens8 {
    const int8_t  *q[TOKENS];
    const float   *d[TOKENS];
    const int32_t *s[TOKENS];
};

/* Integer dot products of vector v of the groups of run r, less the zero code: N rows, M tokens. */
EK_INLINE void dot_groups(const struct ek_geometry *f, size_t N, size_t M, const struct rows *s,
                          const struct tokens8 *x, size_t r, size_t v, vi total[SIDE][TOKENS])
{
    const size_t codes    = s->offset + run_codes(f, r);
    const int    in_place = DOT4_WIDE && f->bits == 4 && M == 1;
    const int    narrow   = DOT4_NARROW && f->bits == 4;
    const int    zero     = f->bits == 4 ? 8 : DOT8_ZERO;
    vi           sum[SIDE][TOKENS], high[SIDE][TOKENS];
    EK_UNROLL
    for (size_t i = 0; i < N; i++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++) {
            const vi sums = i_load(x->s[t] + r * EK_PANEL_ROWS + v * VL);
            total[i][t]   = i_set(0);
            if (zero == 8) total[i][t] = i_sub(total[i][t], i_sll(sums, 3));
            if (zero == 128) total[i][t] = i_sub(total[i][t], i_sll(sums, 7));
            sum[i][t] = narrow ? i_set(0) : total[i][t], high[i][t] = i_set(0);
        }
    }
    EK_UNROLL
    for (size_t u = 0; u < run_bytes(f) / 64; u++) {
        EK_UNROLL
        for (size_t i = 0; i < N; i++) {
            const vi q = i_load(s->w->now[s->first + i] + codes + u * 64 + v * VECTOR_BYTES);
            if (v == 0) fetch_ahead(s->w, s->first + i, 1, codes + u * 64);
            EK_UNROLL
            for (size_t t = 0; t < M; t++) {
                const int8_t *p = x->q[t] + r * EK_SPARSE_RUN + v * VECTOR_BYTES;
                if (f->bits == 8) {
                    sum[i][t] = DOT8_LANES(sum[i][t], codes8_ready(q), i_load(p + u * 64));
                } else if (in_place) {
                    sum[i][t] = DOT4_LANES(sum[i][t], nibbles_low(q), i_load(p + 2 * u * 64));
                    high[i][t] =
                        DOT4_LANES(high[i][t], HIGH_IN_PLACE(q), i_load(p + (2 * u + 1) * 64));
                } else {
                    sum[i][t] = DOT4_LANES(sum[i][t], nibbles_low(q), i_load(p + 2 * u * 64));
                    sum[i][t] =
                        DOT4_LANES(sum[i][t], nibbles_high(q), i_load(p + (2 * u + 1) * 64));
                }
            }
        }
    }
    EK_UNROLL
    for (size_t i = 0; i < N; i++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++)
            total[i][t] = narrow     ? i_add(total[i][t], dot_sum(sum[i][t]))
                          : in_place ? i_add(sum[i][t], i_sra(high[i][t], 4))
                                     : sum[i][t];
    }
}

/* N rows and M tokens. */
EK_INLINE void dot_rows(const struct ek_geometry *f, size_t N, size_t M, const struct rows *s,
                        const struct tokens8 *x, float dot[SIDE][TOKENS])
{
    vf acc[SIDE][TOKENS];
    EK_UNROLL
    for (size_t i = 0; i < N; i++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++) acc[i][t] = v_set(0.0f);
    }
    for (size_t r = 0; r < s->width / EK_SPARSE_RUN; r++) {
        const size_t head = s->offset + run_head(f, r);
        if (r % 2 == 0) fetch_ahead(s->w, s->first, N, head);
        EK_UNROLL
        for (size_t v = 0; v < NV; v++) {
            vi total[SIDE][TOKENS];
            dot_groups(f, N, M, s, x, r, v, total);
            EK_UNROLL
            for (size_t i = 0; i < N; i++) {
                const vf scale = head_halves(s->w->now[s->first + i] + head, r % 2, v);
                EK_UNROLL
                for (size_t t = 0; t < M; t++) {
                    const vf d = v_mul(scale, v_load(x->d[t] + r * EK_PANEL_ROWS + v * VL));
                    acc[i][t]  = v_fma(d, i_to_float(total[i][t]), acc[i][t]);
                }
            }
        }
    }
    EK_UNROLL
    for (size_t i = 0; i < N; i++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++) dot[i][t] = v_hsum(acc[i][t]);
    }
}

/* Dot products of SIDE neurons, as many side by side as there are registers for: their last dot row
 * is up, the one before it gate. */
EK_INLINE void side_dots(const struct ek_geometry *f, size_t R, size_t M, const struct walk *w,
                         const struct ek_sparse_mlp_i8_args *a, struct side *s)
{
    const size_t row_bytes = ek_neuron_row_bytes(f, a->width), N = REGISTERS / 4 / M;
    for (size_t t0 = 0; t0 < a->m; t0 += M) {
        struct tokens8 x;
        for (size_t t = 0; t < M; t++) {
            const size_t token = t0 + t < a->m ? t0 + t : a->m - 1;
            x.q[t]             = a->xq + token * a->width;
            x.d[t]             = a->xd + token * (a->width / EK_LANE_COLUMNS);
            x.s[t]             = a->xs + token * (a->width / EK_LANE_COLUMNS);
        }
        for (size_t i0 = 0; i0 < SIDE; i0 += N)
            for (size_t r = 0; r < R; r++) {
                const struct rows rows = {w, i0, r * row_bytes, a->width};
                float             dot[SIDE][TOKENS];
                dot_rows(f, N, M, &rows, &x, dot);
                take_dots(s, N, M, r + 1 == R, t0, i0, dot);
            }
    }
}

EK_INLINE void mlp_range(const struct ek_geometry *f, size_t R, size_t M,
                         const struct ek_sparse_mlp_i8_args *a, size_t begin, size_t end)
{
    const size_t row_bytes = ek_neuron_row_bytes(f, a->width);
    struct side  s         = {{{0}}, {{0}}, {{0}}};
    struct walk  w         = START_WALK(a, (R + 1) * row_bytes, begin, end);
    FOR_SIDES(w, a, begin, end, part, j, n)
    {
        side_dots(f, R, M, &w, a, &s);
        side_activate(&s, a->act, a->gate ? a->gate + j : NULL, a->count, R + 1, a->m, n);
        add_packed(f, &w, R * row_bytes, a->width, &s, a->m, part);
    }
}

#define DEFINE_SPARSE_I8(fmt)                                                                      \
    void FN(fmt)(const struct ek_sparse_mlp_i8_args *a, size_t begin, size_t end)                  \
    {                                                                                              \
        const struct ek_geometry *f = &ek_geometry_##fmt;                                          \
        if (begin >= end) return;                                                                  \
        switch (a->m * 4 + a->rows) { /* compiled for 1 and 4 tokens, 1 and 2 dot products */      \
        case 4 + 2: mlp_range(f, 1, 1, a, begin, end); break;                                      \
        case 4 + 3: mlp_range(f, 2, 1, a, begin, end); break;                                      \
        default:                                                                                   \
            if (a->rows == 2)                                                                      \
                mlp_range(f, 1, TOKENS, a, begin, end);                                            \
            else                                                                                   \
                mlp_range(f, 2, TOKENS, a, begin, end);                                            \
        }                                                                                          \
    }
DEFINE_SPARSE_I8(q8g32)
DEFINE_SPARSE_I8(q4g32)
