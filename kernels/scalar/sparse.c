/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/scalar/sparse.c - reference for lists of neurons and columns: rows as docs/formats.md
 * defines them, sums in double. */
#include "kernels/neuron.h"
#include "kernels/scalar/math.h"
#include "kernels/scalar/packed.h"

/* Column c of a row. */
static double row_at(enum ek_fmt fmt, const struct ek_geometry *f, const uint8_t *row, size_t c)
{
    switch (fmt) {
    case EK_FMT_f32: return load_f32(row, c);
    case EK_FMT_f16: return load_f16(row, c);
    case EK_FMT_bf16: return load_bf16(row, c);
    default: break;
    }
    const size_t              lane = c % EK_SPARSE_RUN / EK_LANE_COLUMNS;
    const size_t              at   = c / EK_SPARSE_RUN * EK_LANE_COLUMNS;
    const struct scalar_group g    = scalar_group_at(f, row, 0, lane, at);
    return g.scale * scalar_code(f, &g, c % EK_LANE_COLUMNS);
}

/* What the three ops have in common. */
struct list {
    enum ek_fmt               fmt;
    const struct ek_geometry *f;
    const uint8_t            *w;
    const uint32_t           *at;
    size_t                    count, chunk, rows, width, m, part_stride;
    float                    *part;
};

static const uint8_t *row_of(const struct list *l, size_t place, size_t row)
{
    return l->w + (l->at[place] * l->rows + row) * ek_neuron_row_bytes(l->f, l->width);
}
static size_t item_end(const struct list *l, size_t item)
{
    return l->count - item * l->chunk < l->chunk ? l->count : (item + 1) * l->chunk;
}
/* Place of column c in a part, or in x. */
static size_t place_of(const struct list *l, size_t c)
{
    return l->f->kind == EK_FMT_FLOAT ? c : ek_lane_place(c);
}

/* part = sum over an item's places of h(place, token) * its last row. */
static void add_rows(const struct list *l, size_t item,
                     double      h(const struct list *l, const void *args, size_t place, size_t t),
                     const void *args)
{
    float *part = l->part + item * l->part_stride;
    for (size_t t = 0; t < l->m; t++) {
        double sum[EK_SPARSE_RUN];
        for (size_t c0 = 0; c0 < l->width; c0 += EK_SPARSE_RUN) {
            const size_t n = l->width - c0 < EK_SPARSE_RUN ? l->width - c0 : EK_SPARSE_RUN;
            memset(sum, 0, sizeof sum);
            for (size_t j = item * l->chunk; j < item_end(l, item); j++) {
                const double   a    = h(l, args, j, t);
                const uint8_t *down = row_of(l, j, l->rows - 1);
                for (size_t c = 0; c < n; c++) sum[c] += a * row_at(l->fmt, l->f, down, c0 + c);
            }
            for (size_t c = 0; c < n; c++) part[t * l->width + place_of(l, c0 + c)] = (float)sum[c];
        }
    }
}

/* ---- sparse_mlp ---- */

static double dot_f32(const struct list *l, const struct ek_sparse_mlp_args *a, size_t place,
                      size_t row, size_t t)
{
    double sum = 0;
    for (size_t c = 0; c < l->width; c++)
        sum += row_at(l->fmt, l->f, row_of(l, place, row), c) *
               (double)a->x[t * l->width + place_of(l, c)];
    return sum;
}
static double dot_i8(const struct list *l, const struct ek_sparse_mlp_i8_args *a, size_t place,
                     size_t row, size_t t)
{
    const size_t groups = l->width / EK_LANE_COLUMNS;
    double       sum    = 0;
    for (size_t c = 0; c < l->width; c++)
        sum += row_at(l->fmt, l->f, row_of(l, place, row), c) *
               (double)a->xd[t * groups + c / EK_LANE_COLUMNS] *
               a->xq[t * l->width + ek_lane_byte(c)];
    return sum;
}
static double hidden(enum ek_act_kind act, const float *factor, size_t rows, double first,
                     double last)
{
    if (rows == 3) return scalar_activation(act, first) * last;
    return factor ? (double)*factor * last : scalar_activation(act, last);
}
static double hidden_f32(const struct list *l, const void *args, size_t place, size_t t)
{
    const struct ek_sparse_mlp_args *a = args;
    return hidden(a->act, a->gate ? a->gate + t * a->count + place : NULL, a->rows,
                  dot_f32(l, a, place, 0, t), dot_f32(l, a, place, a->rows - 2, t));
}
static double hidden_i8(const struct list *l, const void *args, size_t place, size_t t)
{
    const struct ek_sparse_mlp_i8_args *a = args;
    return hidden(a->act, a->gate ? a->gate + t * a->count + place : NULL, a->rows,
                  dot_i8(l, a, place, 0, t), dot_i8(l, a, place, a->rows - 2, t));
}
static double given(const struct list *l, const void *args, size_t place, size_t t)
{
    const struct ek_sparse_gemv_args *a = args;
    return (double)a->x[t * l->count + place];
}

#define LIST(fmt_, a, rows_)                                                                       \
    {                                                                                              \
        EK_FMT_##fmt_, &ek_geometry_##fmt_, (a)->w, (a)->list, (a)->count, (a)->chunk, rows_,      \
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
