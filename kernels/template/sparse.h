/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/sparse.h - walking a list of neurons, their activations, and the sum of their
 * down rows; what the sparse kernels share. Needs an ISA's simd.h. */
#ifndef EK_TEMPLATE_SPARSE_H
#define EK_TEMPLATE_SPARSE_H
#include "kernels/neuron.h"
#include "kernels/template/math.h"

enum { SIDE = EK_SPARSE_SIDE, SIDE_ROOM = 16, M_MAX = EK_GEMV_MAX_M };

/* ---- fetching ahead ---- */

/* The neurons after those at work, a line of each in turn: eight streams come faster than a neuron
 * after another, whose few lines end before the hardware's prefetchers have settled. Into the second
 * level: eight neurons are more than the first holds. All phases advance it, evenly in time. */
struct ahead {
    const uint8_t *next[SIDE];
    size_t         at, bytes; /* of each: fetched so far, in all */
};
EK_INLINE void fetch_round(struct ahead *f)
{
    if (f->at >= f->bytes) return;
    EK_UNROLL
    for (size_t i = 0; i < SIDE; i++) prefetch_far(f->next[i] + f->at);
    f->at += 64;
}

/* ---- the walk ---- */

struct walk {
    const uint8_t  *w;
    const uint32_t *list;
    size_t          bytes; /* of a neuron                                 */
    size_t          last;  /* places of the list that may be fetched      */
    const uint8_t  *now[SIDE];
    struct ahead    ahead;
};

/* The neurons from place j on; short lists repeat the last. */
EK_INLINE void aim(const struct walk *w, size_t j, size_t end, const uint8_t *at[SIDE])
{
    for (size_t i = 0; i < SIDE; i++)
        at[i] = w->w + w->list[j + i < end ? j + i : end - 1] * w->bytes;
}
/* Takes up the neurons [j, end), at most SIDE, and starts to fetch those after them. 0: none left. */
EK_INLINE int step_walk(struct walk *w, size_t j, size_t end)
{
    if (j >= end) return 0;
    aim(w, j, end, w->now);
    while (w->ahead.at < w->ahead.bytes) fetch_round(&w->ahead);
    w->ahead.at = j + SIDE < w->last ? 0 : w->ahead.bytes;
    if (j + SIDE < w->last) aim(w, j + SIDE, w->last, w->ahead.next);
    return 1;
}

EK_INLINE size_t stretch_end(size_t item, size_t chunk, size_t count)
{
    return count - item * chunk < chunk ? count : (item + 1) * chunk;
}
EK_INLINE float *cleared(float *part, size_t n)
{
    memset(part, 0, n * sizeof *part);
    return part;
}

/* A walk over the stretches [begin, end) of a's list, whose neurons are `size` bytes; its first
 * neurons are fetched at once. */
#define START_WALK(w, a, size, begin, end)                                                         \
    struct walk w = {.w     = (a)->w,                                                              \
                     .list  = (a)->list,                                                           \
                     .bytes = (size),                                                              \
                     .last  = stretch_end((end)-1, (a)->chunk, (a)->count),                        \
                     .ahead = {.bytes = (size)}};                                                  \
    aim(&w, (begin) * (a)->chunk, w.last, w.ahead.next)

/* SIDE neurons after SIDE neurons: w.now holds those of places [j, j + n), part their sum. */
#define FOR_SIDES(w, a, begin, end, part, j, n)                                                    \
    for (size_t item_ = begin; item_ < (end); item_++)                                             \
        for (float *part = cleared((a)->part + item_ * (a)->part_stride, (a)->m * (a)->width);     \
             part; part  = NULL)                                                                   \
            for (size_t j     = item_ * (a)->chunk,                                               \
                        stop_ = stretch_end(item_, (a)->chunk, (a)->count),                       \
                        n     = stop_ - j < SIDE ? stop_ - j : SIDE;                              \
                 step_walk(&(w), j, stop_); j += SIDE, n = stop_ - j < SIDE ? stop_ - j : SIDE)

/* ---- activations ---- */

/* What the dot products of SIDE neurons gave, and what their down rows are multiplied with. */
struct side {
    float gate[M_MAX][SIDE_ROOM], up[M_MAX][SIDE_ROOM], h[M_MAX][SIDE_ROOM];
};

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
EK_INLINE void add_numbers(enum ek_fmt fmt, struct walk *w, size_t offset, size_t width,
                           const struct side *s, size_t m, float *part)
{
    const size_t line = 64 / number_bytes(fmt);
    for (size_t c = 0; c < width; c += line) {
        fetch_round(&w->ahead);
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
