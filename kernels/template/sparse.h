/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/sparse.h - walking a list of neurons, their activations, and the sum of their
 * down rows; what the sparse kernels share. Needs an ISA's simd.h. */
#ifndef EK_TEMPLATE_SPARSE_H
#define EK_TEMPLATE_SPARSE_H
#include "kernels/neuron.h"
#include "kernels/template/math.h"

enum {
    SIDE      = EK_SPARSE_SIDE,
    SIDE_ROOM = 16,
    M_MAX     = EK_GEMV_MAX_M,
    TOKENS    = 4, /* that share a pass over a neuron's rows */
};

/* ---- the walk ---- */

/* SIDE neurons are read side by side, a line of each in turn: so many streams come faster than a
 * neuron after another. Each line is fetched when the one AHEAD bytes before it is read. */
enum { AHEAD = 1024 };

struct walk {
    const uint8_t  *w;
    const uint32_t *list;
    size_t          bytes; /* of a neuron                           */
    size_t          last;  /* places of the list that may be fetched */
    const uint8_t  *now[SIDE], *next[SIDE];
};

/* The neurons from place j on; short lists repeat the last. */
EK_INLINE void aim(const struct walk *w, size_t j, size_t end, const uint8_t *at[SIDE])
{
    for (size_t i = 0; i < SIDE; i++)
        at[i] = w->w + w->list[j + i < end ? j + i : end - 1] * w->bytes;
}
EK_INLINE struct walk start_walk(const void *neurons, size_t bytes, const uint32_t *list, size_t j,
                                 size_t last)
{
    struct walk w = {.w = neurons, .list = list, .bytes = bytes, .last = last};
    aim(&w, j, last, w.next);
    for (size_t at = 0; at < AHEAD; at += 64)
        for (size_t i = 0; i < SIDE; i++) prefetch(w.next[i] + at);
    return w;
}
/* Takes up the neurons [j, end), at most SIDE. 0: none left. */
EK_INLINE int step_walk(struct walk *w, size_t j, size_t end)
{
    if (j >= end) return 0;
    aim(w, j, end, w->now);
    aim(w, j + SIDE < w->last ? j + SIDE : j, w->last, w->next);
    return 1;
}
/* Called as line `at` of neurons [i, i + n) is read. */
EK_INLINE void fetch_ahead(const struct walk *w, size_t i, size_t n, size_t at)
{
    const int here = at + AHEAD < w->bytes;
    EK_UNROLL
    for (size_t j = i; j < i + n; j++)
        prefetch(here ? w->now[j] + at + AHEAD : w->next[j] + (at + AHEAD - w->bytes));
}

/* Rows that are multiplied together: those `offset` bytes into neurons [first, first + N) of a walk. */
struct rows {
    const struct walk *w;
    size_t             first, offset, width;
};

EK_INLINE float *cleared(float *part, size_t n)
{
    memset(part, 0, n * sizeof *part);
    return part;
}

/* A walk over the stretches [begin, end) of a's list, whose neurons are `size` bytes. */
#define START_WALK(a, size, begin, end)                                                            \
    start_walk((a)->w, size, (a)->list, ek_stretch_begin(begin, (a)->items, (a)->count),           \
               ek_stretch_begin(end, (a)->items, (a)->count))

/* SIDE neurons after SIDE neurons: w.now holds those of places [j, j + n), part their sum. */
#define FOR_SIDES(w, a, begin, end, part, j, n)                                                    \
    for (size_t item_ = begin; item_ < (end); item_++)                                             \
        for (float *part = cleared((a)->part + item_ * (a)->part_stride, (a)->m * (a)->width);     \
             part; part  = NULL)                                                                   \
            for (size_t j     = ek_stretch_begin(item_, (a)->items, (a)->count),                  \
                        stop_ = ek_stretch_begin(item_ + 1, (a)->items, (a)->count),              \
                        n     = stop_ - j < SIDE ? stop_ - j : SIDE;                              \
                 step_walk(&(w), j, stop_); j += SIDE, n = stop_ - j < SIDE ? stop_ - j : SIDE)

/* ---- activations ---- */

/* What the dot products of SIDE neurons gave, and what their down rows are multiplied with. */
struct side {
    float gate[M_MAX][SIDE_ROOM], up[M_MAX][SIDE_ROOM], h[M_MAX][SIDE_ROOM];
};

/* Takes the dot products of neurons [i0, i0 + N) with tokens [t0, t0 + M). */
EK_INLINE void take_dots(struct side *s, size_t N, size_t M, int up, size_t t0, size_t i0,
                         float dot[SIDE][TOKENS])
{
    EK_UNROLL
    for (size_t t = 0; t < M; t++) {
        EK_UNROLL
        for (size_t i = 0; i < N; i++) (up ? s->up : s->gate)[t0 + t][i0 + i] = dot[i][t];
    }
}

/* h of n neurons; the rest get 0, so that their down rows, which are read, do not count. */
EK_INLINE void side_activate(struct side *s, enum ek_act_kind act, const float *gate, size_t ld,
                             size_t rows, size_t m, size_t n)
{
    for (size_t t = 0; t < m; t++) {
        for (size_t i = 0; i < SIDE_ROOM; i += VL) {
            const vf up = v_load(s->up[t] + i);
            if (rows == 3)
                v_store(s->h[t] + i, v_mul(activation(act, v_load(s->gate[t] + i)), up));
            else
                v_store(s->h[t] + i, gate ? up : activation(act, up));
        }
        for (size_t i = 0; rows == 2 && gate && i < n; i++) s->h[t][i] *= gate[t * ld + i];
        for (size_t i = n; i < SIDE; i++) s->h[t][i] = 0;
    }
}

/* ---- down rows of numbers ---- */

EK_INLINE vf load_number(enum ek_fmt fmt, const uint8_t *row, size_t c)
{
    const void *f = row + c * sizeof(float), *h = row + c * sizeof(uint16_t);
    return fmt == EK_FMT_f32 ? v_load(f) : fmt == EK_FMT_f16 ? v_load_f16(h) : v_load_bf16(h);
}
EK_INLINE size_t number_bytes(enum ek_fmt fmt)
{
    return fmt == EK_FMT_f32 ? sizeof(float) : sizeof(uint16_t);
}

/* part[t] += h[t][i] * row of neuron i, `offset` bytes into it. */
EK_INLINE void add_numbers(enum ek_fmt fmt, const struct walk *w, size_t offset, size_t width,
                           const struct side *s, size_t m, float *part)
{
    const size_t line = 64 / number_bytes(fmt);
    for (size_t c = 0; c < width; c += line) {
        fetch_ahead(w, 0, SIDE, offset + c * number_bytes(fmt));
        EK_UNROLL
        for (size_t v = 0; v < line; v += VL) {
            vf row[SIDE];
            EK_UNROLL
            for (size_t i = 0; i < SIDE; i++) row[i] = load_number(fmt, w->now[i] + offset, c + v);
            for (size_t t = 0; t < m; t++) {
                float *y   = part + t * width + c + v;
                vf     sum = v_load(y);
                EK_UNROLL
                for (size_t i = 0; i < SIDE; i++) sum = v_fma(v_set(s->h[t][i]), row[i], sum);
                v_store(y, sum);
            }
        }
    }
}
#endif
