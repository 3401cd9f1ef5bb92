/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/gemv_i8.h - GEMV over packed weights with 8-bit activations. The including file
 * has its simd.h and a dot_*.h, and defines
 *     FN(fmt)         symbol of the kernel
 *     PANELS_OF(m)    panels walked side by side for m tokens; one when m and streams are 1
 *     AHEAD(streams)  bytes prefetched ahead, all streams together
 * A dot_*.h gives
 *     xq, x_load(p)              sixteen activations, as dot products want them
 *     DOT4(acc, w, x, lane)      acc += codes 0..15 times activations [4 lane, 4 lane + 4)
 *     DOT8(acc, w, x, lane)      acc += codes8_ready(codes 0..255), which are DOT8_ZERO too large
 *     DOT4_LANES, DOT8_LANES(acc, w, x)  the same where each lane has four activations of its own
 *     dot_sum(acc)               what was accumulated, one i32 per row
 *     DOT4_NARROW                1: DOT4 may be used eight times, then acc must be summed
 *     nibbles_low(w), nibbles_high(w), and HIGH_IN_PLACE(w): sixteen times the high ones, where
 *                                DOT4 can take them (DOT4_WIDE 1)
 * Products inside a group are exact integers; lanes are rows. */
#include "kernels/template/panel.h"

enum { P_MAX = 4, M_MAX = EK_GEMV_MAX_M };

/* Tokens of one call, the last one repeated up to a width the loops are compiled for. */
struct io8 {
    const uint8_t *w;
    size_t         k, groups, panel_bytes, ahead;
    const int8_t  *xq[M_MAX];
    const float   *xd[M_MAX];
    const int32_t *xs[M_MAX];
    float         *y[M_MAX];
};

/* Running integer sums of P panels and M tokens; high: those of nibbles left in place. */
struct sums8 {
    vi sum[P_MAX][M_MAX], high[P_MAX][M_MAX];
};

/* One 64-byte unit of 4-bit codes: columns [8 u, 8 u + 8) of a run of 32. */
#define STEP4(u)                                                                                   \
    EK_UNROLL                                                                                      \
    for (size_t p = 0; p < P; p++) {                                                               \
        if (fetch) prefetch(ahead + p * stride + (u)*64);                                          \
        const vi q   = i_load(w + p * stride + (u)*64);                                            \
        const vi low = nibbles_low(q), high = in_place ? HIGH_IN_PLACE(q) : nibbles_high(q);       \
        EK_UNROLL                                                                                  \
        for (size_t t = 0; t < M; t++) {                                                           \
            s->sum[p][t] = DOT4(s->sum[p][t], low, x[t][(u) / 2], (u) % 2 * 2);                    \
            if (in_place)                                                                          \
                s->high[p][t] = DOT4(s->high[p][t], high, x[t][(u) / 2], (u) % 2 * 2 + 1);         \
            else                                                                                   \
                s->sum[p][t] = DOT4(s->sum[p][t], high, x[t][(u) / 2], (u) % 2 * 2 + 1);           \
        }                                                                                          \
    }
/* One unit of 8-bit codes: columns [4 u, 4 u + 4). */
#define STEP8(u)                                                                                   \
    EK_UNROLL                                                                                      \
    for (size_t p = 0; p < P; p++) {                                                               \
        if (fetch) prefetch(ahead + p * stride + (u)*64);                                          \
        const vi q = codes8_ready(i_load(w + p * stride + (u)*64));                                \
        EK_UNROLL                                                                                  \
        for (size_t t = 0; t < M; t++)                                                             \
            s->sum[p][t] = DOT8(s->sum[p][t], q, x[t][(u) / 4], (u) % 4);                          \
    }

/* 32 columns of P panels, `stride` bytes apart, for M tokens. */
EK_INLINE void dot32(unsigned bits, size_t P, size_t M, int in_place, int fetch, const uint8_t *w,
                     const uint8_t *ahead, size_t stride, const int8_t *const xp[], size_t col,
                     struct sums8 *s)
{
    xq x[M_MAX][2];
    EK_UNROLL
    for (size_t t = 0; t < M; t++)
        x[t][0] = x_load(xp[t] + col), x[t][1] = x_load(xp[t] + col + 16);
    if (bits == 4) {
        STEP4(0) STEP4(1) STEP4(2) STEP4(3)
    } else {
        STEP8(0) STEP8(1) STEP8(2) STEP8(3) STEP8(4) STEP8(5) STEP8(6) STEP8(7)
    }
}

/* Integer dot products of one group, less the zero code: total[p][t]. */
EK_INLINE void dot_group(const struct ek_geometry *f, size_t P, size_t M, int fetch,
                         const uint8_t *w, const uint8_t *ahead, size_t stride,
                         const struct io8 *io, size_t col, vi total[P_MAX][M_MAX])
{
    const size_t g        = col / f->group;
    const int    in_place = DOT4_WIDE && f->bits == 4 && M == 1;
    const int    narrow   = DOT4_NARROW && f->bits == 4;
    const int    zero     = f->kind != EK_FMT_SYM ? 0 : f->bits == 4 ? 8 : DOT8_ZERO;
    struct sums8 s;
    EK_UNROLL
    for (size_t p = 0; p < P; p++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++) {
            total[p][t] = i_set(zero ? -zero * io->xs[t][g] : 0);
            s.sum[p][t] = narrow ? i_set(0) : total[p][t], s.high[p][t] = i_set(0);
        }
    }
    for (size_t c = 0; c < f->group; c += 32) {
        const size_t at = ek_code_bytes(f, c);
        dot32(f->bits, P, M, in_place, fetch, w + at, ahead + at, stride, io->xq, col + c, &s);
        EK_UNROLL
        for (size_t p = 0; narrow && p < P; p++) {
            EK_UNROLL
            for (size_t t = 0; t < M; t++) {
                total[p][t] = i_add(total[p][t], dot_sum(s.sum[p][t]));
                s.sum[p][t] = i_set(0);
            }
        }
    }
    EK_UNROLL
    for (size_t p = 0; !narrow && p < P; p++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++) {
            total[p][t] = in_place ? i_add(s.sum[p][t], i_sra(s.high[p][t], 4)) : s.sum[p][t];
        }
    }
}

/* P panels, `apart` panels from each other; rows outside [begin, end) are computed and not
 * stored. */
EK_INLINE void panel_set(const struct ek_geometry *f, const struct io8 *io, size_t P, size_t M,
                         size_t panel, size_t apart, size_t begin, size_t end)
{
    const size_t   stride      = apart * io->panel_bytes;
    const uint8_t *w           = io->w + panel * io->panel_bytes;
    const size_t   block_bytes = ek_block_bytes(f), group_bytes = ek_code_bytes(f, f->group);
    vf             acc[NV][P_MAX][M_MAX];
    EK_UNROLL
    for (size_t v = 0; v < NV; v++) {
        EK_UNROLL
        for (size_t p = 0; p < P; p++) {
            EK_UNROLL
            for (size_t t = 0; t < M; t++) acc[v][p][t] = v_set(0.0f);
        }
    }
    for (size_t col = 0, offset = 0; col < io->k; col += f->block, offset += block_bytes) {
        const uint8_t *ahead = w + offset + io->ahead / P;
        const size_t   groups =
            f->kind == EK_FMT_SYM && io->k - col < f->block ? 1 : f->block / f->group;
        EK_UNROLL
        for (size_t v = 0; v < NV; v++) {
            struct super_bytes sb[P_MAX] = {{i_set(0), i_set(0)}};
            EK_UNROLL
            for (size_t p = 0; v == 0 && p < P; p++)
                for (size_t line = 0; line < f->head; line += 64)
                    prefetch(ahead + p * stride + line);
            for (size_t j = 0; j < groups; j++) {
                const size_t g = col / f->group + j, at = offset + f->head + j * group_bytes;
                vi           total[P_MAX][M_MAX];
                dot_group(f, P, M, v == 0, w + at + v * VECTOR_BYTES, ahead + (at - offset), stride,
                          io, col + j * f->group, total);
                EK_UNROLL
                for (size_t p = 0; p < P; p++) {
                    vf scale = v_set(0.0f), minimum = v_set(0.0f);
                    group_scale(f, w + p * stride + offset, v, j, &sb[p], &scale, &minimum);
                    EK_UNROLL
                    for (size_t t = 0; t < M; t++) {
                        const vf d   = v_mul(scale, v_set(io->xd[t][g]));
                        acc[v][p][t] = v_fma(d, i_to_float(total[p][t]), acc[v][p][t]);
                        if (f->kind != EK_FMT_SYM)
                            acc[v][p][t] = v_fma(minimum, v_set(io->xd[t][g] * (float)io->xs[t][g]),
                                                 acc[v][p][t]);
                    }
                }
            }
        }
    }
    EK_UNROLL
    for (size_t v = 0; v < NV; v++) {
        EK_UNROLL
        for (size_t p = 0; p < P; p++) {
            EK_UNROLL
            for (size_t t = 0; t < M; t++)
                store_rows(io->y[t], acc[v][p][t], (panel + p * apart) * EK_PANEL_ROWS + v * VL,
                           begin, end);
        }
    }
}

EK_INLINE void range8(const struct ek_geometry *f, const struct ek_gemv_i8_args *a, size_t M,
                      size_t begin, size_t end)
{
    struct io8 io = {.w           = a->w,
                     .k           = a->k,
                     .groups      = a->k / f->group,
                     .panel_bytes = ek_panel_bytes(f, a->k),
                     .ahead       = AHEAD(a->streams)};
    for (size_t t = 0; t < M; t++) {
        const size_t token = t < a->m ? t : a->m - 1;
        io.xq[t] = a->xq + token * a->k, io.y[t] = a->y + token * a->ldy;
        io.xd[t] = a->xd + token * io.groups, io.xs[t] = a->xs + token * io.groups;
    }
    const size_t last  = (end + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS;
    const size_t first = begin / EK_PANEL_ROWS, P = PANELS_OF(M);
    /* Each of the panels side by side goes on in memory where its last one ended. */
    const size_t sets = M == 1 && a->streams == 1 ? 0 : (last - first) / P;
    for (size_t i = 0; i < sets; i++)
        panel_set(f, &io, PANELS_OF(M), M, first + i, sets, begin, end);
    for (size_t i = first + sets * P; i < last; i++) panel_set(f, &io, 1, M, i, 1, begin, end);
}

/* Formats that differ in their group alone share code: group, block and panel size are read from
 * the geometry at run time, kind, bits and head are compiled in. */
#define DEFINE_GEMV_I8(fmt)                                                                        \
    void FN(fmt)(const struct ek_gemv_i8_args *a, size_t begin, size_t end)                        \
    {                                                                                              \
        const struct ek_geometry *f = &ek_geometry_##fmt;                                          \
        if (begin >= end) return;                                                                  \
        switch (a->m) { /* compiled for 1, 2, 4 and 8 tokens */                                    \
        case 1: range8(f, a, 1, begin, end); break;                                                \
        case 2: range8(f, a, 2, begin, end); break;                                                \
        case 3:                                                                                    \
        case 4: range8(f, a, 4, begin, end); break;                                                \
        default: range8(f, a, 8, begin, end); break;                                               \
        }                                                                                          \
    }
DEFINE_GEMV_I8(q8g32)
DEFINE_GEMV_I8(q4g32)
DEFINE_GEMV_I8(q4g64)
DEFINE_GEMV_I8(q4g128)
DEFINE_GEMV_I8(q4g32m)
DEFINE_GEMV_I8(q4k)
#undef STEP4
#undef STEP8
