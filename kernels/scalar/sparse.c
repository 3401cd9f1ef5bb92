/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/scalar/sparse.c - reference for lists of neurons and columns: rows as docs/formats.md
 * defines them, sums in double. */
#include "kernels/neuron.h"
#include "kernels/scalar/math.h"
#include "kernels/scalar/packed.h"

enum { SIDE_PLACES = 64 };

/* Columns [c0, c0 + n) of a row, c0 the start of a run, n at most a run. */
static void read_run(enum ek_fmt fmt, const struct ek_geometry *f, const uint8_t *row, size_t c0,
                     size_t n, double *to)
{
    for (size_t c = 0; c < n && f->kind == EK_FMT_FLOAT; c++)
        to[c] = fmt == EK_FMT_f32   ? load_f32(row, c0 + c)
                : fmt == EK_FMT_f16 ? load_f16(row, c0 + c)
                                    : load_bf16(row, c0 + c);
    for (size_t lane = 0; lane < EK_PANEL_ROWS && f->kind != EK_FMT_FLOAT; lane++) {
        const struct scalar_group g =
            scalar_group_at(f, row, 0, lane, c0 / EK_SPARSE_RUN * EK_LANE_COLUMNS);
        for (size_t i = 0; i < EK_LANE_COLUMNS; i++)
            to[lane * EK_LANE_COLUMNS + i] = g.scale * scalar_code(f, &g, i);
    }
}

/* What the three ops have in common. */
struct list {
    enum ek_fmt               fmt;
    const struct ek_geometry *f;
    const uint8_t            *w;
    const uint32_t           *at;
    size_t                    count, items, rows, width, m, part_stride;
    float                    *part;
};

static const uint8_t *row_of(const struct list *l, size_t place, size_t row)
{
    return l->w + (l->at[place] * l->rows + row) * ek_neuron_row_bytes(l->f, l->width);
}
/* Place of column c in a part, or in x. */
static size_t place_of(const struct list *l, size_t c)
{
    return l->f->kind == EK_FMT_FLOAT ? c : ek_lane_place(c);
}

static size_t run_at(const struct list *l, size_t c0)
{
    return l->width - c0 < EK_SPARSE_RUN ? l->width - c0 : EK_SPARSE_RUN;
}

/* What a place's last row is multiplied with, for each token. */
typedef void hidden_fn(const struct list *l, const void *args, size_t place,
                       double h[EK_GEMV_MAX_M]);

/* part += the sum over some places of h times their last row. */
static void add_places(const struct list *l, size_t first, size_t n, double (*h)[EK_GEMV_MAX_M],
                       float *part)
{
    double row[EK_SPARSE_RUN], sum[EK_GEMV_MAX_M][EK_SPARSE_RUN];
    for (size_t c0 = 0; c0 < l->width; c0 += EK_SPARSE_RUN) {
        const size_t cols = run_at(l, c0);
        memset(sum, 0, sizeof sum);
        for (size_t j = 0; j < n; j++) {
            read_run(l->fmt, l->f, row_of(l, first + j, l->rows - 1), c0, cols, row);
            for (size_t t = 0; t < l->m; t++)
                for (size_t c = 0; c < cols; c++) sum[t][c] += h[j][t] * row[c];
        }
        for (size_t t = 0; t < l->m; t++)
            for (size_t c = 0; c < cols; c++) {
                float *y = part + t * l->width + place_of(l, c0 + c);
                *y       = (float)((double)*y + sum[t][c]);
            }
    }
}
static void add_rows(const struct list *l, size_t item, hidden_fn *hidden, const void *args)
{
    float *part = l->part + item * l->part_stride;
    memset(part, 0, l->m * l->width * sizeof *part);
    const size_t begin = ek_stretch_begin(item, l->items, l->count);
    const size_t end   = ek_stretch_begin(item + 1, l->items, l->count);
    for (size_t j = begin; j < end; j += SIDE_PLACES) {
        const size_t n = end - j < SIDE_PLACES ? end - j : SIDE_PLACES;
        double       h[SIDE_PLACES][EK_GEMV_MAX_M];
        for (size_t i = 0; i < n; i++) hidden(l, args, j + i, h[i]);
        add_places(l, j, n, h, part);
    }
}

/* ---- sparse_mlp ---- */

/* One row of a place with x, for each token. */
static void dot_row(const struct list *l, const uint8_t *row, const void *args,
                    double x(const struct list *l, const void *args, size_t t, size_t c),
                    double dot[EK_GEMV_MAX_M])
{
    double w[EK_SPARSE_RUN];
    for (size_t t = 0; t < l->m; t++) dot[t] = 0;
    for (size_t c0 = 0; c0 < l->width; c0 += EK_SPARSE_RUN) {
        const size_t cols = run_at(l, c0);
        read_run(l->fmt, l->f, row, c0, cols, w);
        for (size_t t = 0; t < l->m; t++)
            for (size_t c = 0; c < cols; c++) dot[t] += w[c] * x(l, args, t, c0 + c);
    }
}
static double x_f32(const struct list *l, const void *args, size_t t, size_t c)
{
    const struct ek_sparse_mlp_args *a = args;
    return (double)a->x[t * l->width + place_of(l, c)];
}
static double x_i8(const struct list *l, const void *args, size_t t, size_t c)
{
    const struct ek_sparse_mlp_i8_args *a = args;
    return (double)a->xd[t * (l->width / EK_LANE_COLUMNS) + c / EK_LANE_COLUMNS] *
           a->xq[t * l->width + ek_lane_byte(c)];
}
static void hidden_of(const struct list *l, const void *args, size_t place,
                      double x(const struct list *l, const void *args, size_t t, size_t c),
                      enum ek_act_kind act, const float *gate, double h[EK_GEMV_MAX_M])
{
    double first[EK_GEMV_MAX_M] = {0}, last[EK_GEMV_MAX_M] = {0};
    dot_row(l, row_of(l, place, 0), args, x, first);
    dot_row(l, row_of(l, place, l->rows - 2), args, x, last);
    for (size_t t = 0; t < l->m; t++)
        h[t] = l->rows == 3 ? scalar_activation(act, first[t]) * last[t]
               : gate       ? (double)gate[t * l->count + place] * last[t]
                            : scalar_activation(act, last[t]);
}
static void hidden_f32(const struct list *l, const void *args, size_t place,
                       double h[EK_GEMV_MAX_M])
{
    const struct ek_sparse_mlp_args *a = args;
    hidden_of(l, args, place, x_f32, a->act, a->gate, h);
}
static void hidden_i8(const struct list *l, const void *args, size_t place, double h[EK_GEMV_MAX_M])
{
    const struct ek_sparse_mlp_i8_args *a = args;
    hidden_of(l, args, place, x_i8, a->act, a->gate, h);
}
static void given(const struct list *l, const void *args, size_t place, double h[EK_GEMV_MAX_M])
{
    const struct ek_sparse_gemv_args *a = args;
    for (size_t t = 0; t < l->m; t++) h[t] = (double)a->x[t * l->count + place];
}

#define LIST(fmt_, a, rows_)                                                                       \
    {                                                                                              \
        EK_FMT_##fmt_, &ek_geometry_##fmt_, (a)->w, (a)->list, (a)->count, (a)->items, rows_,      \
            (a)->width, (a)->m, (a)->part_stride, (a)->part                                        \
    }
#define SPARSE(op, fmt, rows, h)                                                                   \
    void EK_KERNEL_SYM(op, fmt, scalar, )(const struct ek_##op##_args *a, size_t begin,            \
                                          size_t end)                                              \
    {                                                                                              \
        const struct list l = LIST(fmt, a, rows);                                                  \
        for (size_t item = begin; item < end; item++) add_rows(&l, item, h, a);                    \
    }
#define SPARSE_ALL(fmt)                                                                            \
    SPARSE(sparse_mlp, fmt, a->rows, hidden_f32)                                                   \
    SPARSE(sparse_gemv, fmt, 1, given)
SPARSE_ALL(f32)
SPARSE_ALL(f16)
SPARSE_ALL(bf16)
SPARSE_ALL(q8g32)
SPARSE_ALL(q4g32)
SPARSE(sparse_mlp_i8, q8g32, a->rows, hidden_i8)
SPARSE(sparse_mlp_i8, q4g32, a->rows, hidden_i8)

void EK_KERNEL_SYM(sparse_merge, f32, scalar, )(const struct ek_sparse_merge_args *a, size_t begin,
                                                size_t end)
{
    for (size_t t = 0; t < a->m; t++)
        for (size_t c = begin * EK_SPARSE_RUN; c < end * EK_SPARSE_RUN && c < a->n; c++) {
            const size_t at  = t * a->width + (a->lanes ? ek_lane_place(c) : c);
            float        sum = a->part[at];
            for (size_t p = 1; p < a->parts; p++) sum += a->part[p * a->part_stride + at];
            a->y[t * a->ldy + c] = sum;
        }
}
