/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/gemv_packed.h - GEMV over packed weights with float activations. The including
 * file has its simd.h and a decode.h and defines
 *     FN(fmt)         symbol of the kernel
 *     PANELS_OF(m)    panels walked side by side for m tokens; one when m and streams are 1
 *     AHEAD(streams)  bytes prefetched ahead, all streams together
 * A decode.h gives
 *     decode_ready(f, q)      a unit's codes, prepared once for its columns
 *     DECODE4(f, q, j)        column j (0..7) of a unit of 4-bit codes as floats, less the zero
 *     DECODE8(f, q, j)        column j (0..3) of a unit of 8-bit codes
 * Lanes are rows. Each (row, token) has two running sums per 32 columns, even and odd ones, so its
 * bits do not depend on its neighbours. */
#include "kernels/template/panel.h"

enum { P_MAX = 4, M_MAX = EK_GEMV_MAX_M };

struct io32 {
    const uint8_t *w;
    size_t         k, panel_bytes, ahead;
    const float   *x[M_MAX], *xsum[M_MAX];
    float         *y[M_MAX];
};

/* sums[p][t][j % 2] += column j of the unit times x[t][col + j]. */
#define COLUMN(decode, j)                                                                          \
    {                                                                                              \
        const vf c = decode(f, q, j);                                                              \
        EK_UNROLL                                                                                  \
        for (size_t t = 0; t < M; t++)                                                             \
            sums[p][t][(j) % 2] = v_fma(c, v_set(io->x[t][col + (j)]), sums[p][t][(j) % 2]);       \
    }

/* Units u of P panels, `stride` bytes apart; columns from col on. */
EK_INLINE void add_unit(const struct ek_geometry *f, size_t P, size_t M, int fetch,
                        const uint8_t *w, const uint8_t *ahead, size_t stride,
                        const struct io32 *io, size_t col, vf sums[P_MAX][M_MAX][2])
{
    EK_UNROLL
    for (size_t p = 0; p < P; p++) {
        if (fetch) prefetch(ahead + p * stride);
        const vi q = decode_ready(f, i_load(w + p * stride));
        if (f->bits == 4) {
            COLUMN(DECODE4, 0);
            COLUMN(DECODE4, 1);
            COLUMN(DECODE4, 2);
            COLUMN(DECODE4, 3);
            COLUMN(DECODE4, 4);
            COLUMN(DECODE4, 5);
            COLUMN(DECODE4, 6);
            COLUMN(DECODE4, 7);
        } else {
            COLUMN(DECODE8, 0);
            COLUMN(DECODE8, 1);
            COLUMN(DECODE8, 2);
            COLUMN(DECODE8, 3);
        }
    }
}

/* 32 columns of P panels: acc[p][t] += scale[p] * sum of codes times activations. */
EK_INLINE void add_run(const struct ek_geometry *f, size_t P, size_t M, int fetch, const uint8_t *w,
                       const uint8_t *ahead, size_t stride, const struct io32 *io, size_t col,
                       const vf scale[P_MAX], vf acc[P_MAX][M_MAX])
{
    const size_t unit = 32 / f->bits;
    vf           sums[P_MAX][M_MAX][2];
    EK_UNROLL
    for (size_t p = 0; p < P; p++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++) sums[p][t][0] = sums[p][t][1] = v_set(0.0f);
    }
    for (size_t c = 0; c < 32; c += unit) {
        const size_t at = c / unit * 64;
        add_unit(f, P, M, fetch, w + at, ahead + at, stride, io, col + c, sums);
    }
    EK_UNROLL
    for (size_t p = 0; p < P; p++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++)
            acc[p][t] = v_fma(scale[p], v_add(sums[p][t][0], sums[p][t][1]), acc[p][t]);
    }
}

/* P panels, `apart` panels from each other; rows outside [begin, end) are computed and not
 * stored. */
EK_INLINE void panel_set(const struct ek_geometry *f, const struct io32 *io, size_t P, size_t M,
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
                const size_t c0 = col + j * f->group, g = c0 / f->group;
                const size_t at = offset + f->head + j * group_bytes;
                vf           scale[P_MAX];
                EK_UNROLL
                for (size_t p = 0; p < P; p++) {
                    vf minimum = v_set(0.0f);
                    scale[p]   = minimum;
                    group_scale(f, w + p * stride + offset, v, j, &sb[p], &scale[p], &minimum);
                    if (f->kind == EK_FMT_SYM) continue;
                    EK_UNROLL
                    for (size_t t = 0; t < M; t++)
                        acc[v][p][t] = v_fma(minimum, v_set(io->xsum[t][g]), acc[v][p][t]);
                }
                for (size_t c = 0; c < f->group; c += 32) {
                    const size_t u = at + ek_code_bytes(f, c);
                    add_run(f, P, M, v == 0, w + u + v * VECTOR_BYTES, ahead + (u - offset), stride,
                            io, c0 + c, scale, acc[v]);
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

EK_INLINE void range32(const struct ek_geometry *f, const struct ek_gemv_args *a, size_t M,
                       size_t begin, size_t end)
{
    struct io32 io = {
        .w = a->w, .k = a->k, .panel_bytes = ek_panel_bytes(f, a->k), .ahead = AHEAD(a->streams)};
    for (size_t t = 0; t < M; t++) {
        const size_t token = t < a->m ? t : a->m - 1;
        io.x[t] = a->x + token * a->ldx, io.y[t] = a->y + token * a->ldy;
        io.xsum[t] = a->xsum ? a->xsum + token * (a->k / f->group) : NULL;
    }
    const size_t last  = (end + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS;
    const size_t first = begin / EK_PANEL_ROWS, P = PANELS_OF(M);
    /* Each of the panels side by side goes on in memory where its last one ended. */
    const size_t sets = M == 1 && a->streams == 1 ? 0 : (last - first) / P;
    for (size_t i = 0; i < sets; i++)
        panel_set(f, &io, PANELS_OF(M), M, first + i, sets, begin, end);
    for (size_t i = first + sets * P; i < last; i++) panel_set(f, &io, 1, M, i, 1, begin, end);
}

#define DEFINE_GEMV_PACKED(fmt)                                                                    \
    void FN(fmt)(const struct ek_gemv_args *a, size_t begin, size_t end)                           \
    {                                                                                              \
        const struct ek_geometry *f = &ek_geometry_##fmt;                                          \
        if (begin >= end) return;                                                                  \
        switch (a->m) { /* compiled for 1, 2, 4 and 8 tokens */                                    \
        case 1: range32(f, a, 1, begin, end); break;                                               \
        case 2: range32(f, a, 2, begin, end); break;                                               \
        case 3:                                                                                    \
        case 4: range32(f, a, 4, begin, end); break;                                               \
        default: range32(f, a, 8, begin, end); break;                                              \
        }                                                                                          \
    }
DEFINE_GEMV_PACKED(q8g32)
DEFINE_GEMV_PACKED(q4g32)
DEFINE_GEMV_PACKED(q4g64)
DEFINE_GEMV_PACKED(q4g128)
DEFINE_GEMV_PACKED(q4g32m)
DEFINE_GEMV_PACKED(q4k)
#undef COLUMN
