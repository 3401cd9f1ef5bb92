/* SPDX-License-Identifier: Apache-2.0 */
/* ops/neurons.c - the NEURON layout: sizes, rounding, packing, reading back. */
#include "kernels/neuron.h"

#include "ek/sparse.h"

#include <string.h>

/* A row is handled in blocks: of a packed one, the two runs that share a head. */
enum { BLOCK = 2 * EK_SPARSE_RUN, LANE = BLOCK / EK_PANEL_ROWS };

static const struct ek_geometry *geometry_of(enum ek_fmt fmt)
{
    switch (fmt) {
    case EK_FMT_f32: return &ek_geometry_f32;
    case EK_FMT_f16: return &ek_geometry_f16;
    case EK_FMT_bf16: return &ek_geometry_bf16;
    case EK_FMT_q8g32: return &ek_geometry_q8g32;
    case EK_FMT_q4g32: return &ek_geometry_q4g32;
    default: return NULL;
    }
}

size_t ek_neuron_width(enum ek_fmt fmt, size_t d)
{
    const struct ek_geometry *f = geometry_of(fmt);
    return f && d <= SIZE_MAX / 256 ? ek_neuron_columns(f, d) : 0;
}

ek_status ek_neurons_bytes(enum ek_fmt fmt, size_t n, size_t d, size_t rows, size_t *bytes,
                           size_t *one)
{
    const struct ek_geometry *f = geometry_of(fmt);
    if (!f || !n || !d || rows < 1 || rows > 3 || !bytes) return EK_E_ARG;
    if (d > SIZE_MAX / 256) return EK_E_OVERFLOW;
    const size_t neuron = rows * ek_neuron_row_bytes(f, ek_neuron_columns(f, d));
    if (__builtin_mul_overflow(neuron, n, bytes)) return EK_E_OVERFLOW;
    if (one) *one = neuron;
    return EK_OK;
}

/* ---- writing ---- */

/* One row of each neuron, in a memory that was found large enough. */
struct rows {
    enum ek_fmt               fmt;
    const struct ek_geometry *f;
    size_t                    n, d, width, step;
    unsigned char            *first; /* the row of neuron 0 */
};

static ek_status find_rows(struct rows *r, enum ek_fmt fmt, size_t n, size_t d, size_t rows,
                           size_t row, void *out, size_t out_bytes)
{
    size_t          bytes;
    const ek_status s = ek_neurons_bytes(fmt, n, d, rows, &bytes, &r->step);
    if (s) return s;
    if (row >= rows || !out || (uintptr_t)out % 64) return EK_E_ARG;
    if (out_bytes < bytes) return EK_E_NOMEM;
    r->fmt = fmt, r->f = geometry_of(fmt), r->n = n, r->d = d, r->width = ek_neuron_width(fmt, d);
    r->first = (unsigned char *)out + row * ek_neuron_row_bytes(r->f, r->width);
    return EK_OK;
}

static int is_float(const struct rows *r)
{
    return r->f->kind == EK_FMT_FLOAT;
}
/* Columns of the block that starts at column c; its bytes. */
static size_t block_columns(const struct rows *r, size_t c)
{
    return r->width - c < BLOCK ? r->width - c : BLOCK;
}
static unsigned char *block_at(const struct rows *r, size_t neuron, size_t c, size_t *bytes)
{
    const size_t at = is_float(r) ? c * r->f->bits / 8 : c / BLOCK * ek_block_bytes(r->f);
    *bytes          = ek_neuron_row_bytes(r->f, block_columns(r, c));
    return r->first + neuron * r->step + at;
}
/* Where column c of a block stands in a matrix of sixteen lanes, `lane` columns each. */
static size_t in_lanes(size_t c, size_t lane)
{
    return c % EK_SPARSE_RUN / EK_LANE_COLUMNS * lane + c / EK_SPARSE_RUN * EK_LANE_COLUMNS +
           c % EK_LANE_COLUMNS;
}

/* Block c0 of a row whose columns are `step` apart. */
static ek_status quantize_block(const struct rows *r, const float *row, size_t step, size_t neuron,
                                size_t c0)
{
    const size_t   cols = block_columns(r, c0), lane = cols / EK_PANEL_ROWS;
    float          x[BLOCK] = {0};
    size_t         bytes;
    unsigned char *to = block_at(r, neuron, c0, &bytes);
    for (size_t c = 0; c < cols && c0 + c < r->d; c++)
        x[is_float(r) ? c : in_lanes(c, lane)] = row[(c0 + c) * step];
    return is_float(r) ? ek_weights_quantize(r->fmt, x, 1, cols, to, bytes)
                       : ek_weights_quantize(r->fmt, x, EK_PANEL_ROWS, lane, to, bytes);
}

/* NOLINTNEXTLINE(readability-function-size): sizes and strides one by one, as in BLAS */
ek_status ek_neurons_quantize(enum ek_fmt fmt, const float *w, size_t neuron_step,
                              size_t column_step, size_t n, size_t d, size_t rows, size_t row,
                              void *out, size_t out_bytes)
{
    struct rows r;
    ek_status   s = w ? find_rows(&r, fmt, n, d, rows, row, out, out_bytes) : EK_E_ARG;
    for (size_t i = 0; !s && i < n; i++)
        for (size_t c0 = 0; !s && c0 < r.width; c0 += BLOCK)
            s = quantize_block(&r, w + i * neuron_step, column_step, i, c0);
    return s;
}

ek_status ek_neurons_pack(enum ek_fmt fmt, const struct ek_codes *codes, size_t n, size_t d,
                          size_t rows, size_t row, void *out, size_t out_bytes)
{
    struct rows r;
    ek_status   s = codes && codes->q && codes->d
                        ? find_rows(&r, fmt, n, d, rows, row, out, out_bytes)
                        : EK_E_ARG;
    if (!s && is_float(&r)) s = EK_E_ARG;
    const size_t k = ek_padded_k(fmt, d);
    for (size_t i = 0; !s && i < n; i++)
        for (size_t c0 = 0; !s && c0 < r.width; c0 += BLOCK) {
            const size_t    lane = block_columns(&r, c0) / EK_PANEL_ROWS;
            uint8_t         q[BLOCK];
            uint16_t        half[BLOCK / EK_LANE_COLUMNS] = {0};
            struct ek_codes block                         = {.q = q, .d = half};
            size_t          bytes;
            unsigned char  *to = block_at(&r, i, c0, &bytes);
            memset(q, 1 << (r.f->bits - 1), sizeof q);
            for (size_t c = 0; c < lane * EK_PANEL_ROWS && c0 + c < k; c++) {
                const size_t place            = in_lanes(c, lane);
                q[place]                      = codes->q[i * k + c0 + c];
                half[place / EK_LANE_COLUMNS] = codes->d[(i * k + c0 + c) / EK_LANE_COLUMNS];
            }
            s = ek_weights_pack(fmt, &block, EK_PANEL_ROWS, lane, to, bytes);
        }
    return s;
}

/* ---- reading ---- */

static ek_status read_block(const struct rows *r, size_t neuron, size_t c0, float *out)
{
    size_t                  bytes;
    const size_t            cols = block_columns(r, c0), lane = cols / EK_PANEL_ROWS;
    float                   x[BLOCK];
    const struct ek_weights w = {.fmt    = r->fmt,
                                 .layout = ek_fmt_info(r->fmt)->layout,
                                 .n      = is_float(r) ? 1 : EK_PANEL_ROWS,
                                 .k      = is_float(r) ? cols : lane,
                                 .data   = block_at(r, neuron, c0, &bytes)};
    const ek_status         s = ek_weights_dequantize(&w, 0, w.n, x);
    for (size_t c = 0; !s && c < cols && c0 + c < r->d; c++)
        out[c0 + c] = x[is_float(r) ? c : in_lanes(c, lane)];
    return s;
}

ek_status ek_neurons_dequantize(const struct ek_neurons *w, size_t row, size_t n0, size_t n1,
                                float *out)
{
    struct rows r;
    union {
        const void *in;
        void       *at;
    } data = {.in = w ? w->data : NULL}; /* struct rows can write; this call does not */
    if (!w || !out || n0 > n1 || n1 > w->n) return EK_E_ARG;
    ek_status s = find_rows(&r, w->fmt, w->n, w->d, w->rows, row, data.at, SIZE_MAX);
    for (size_t i = n0; !s && i < n1; i++)
        for (size_t c0 = 0; !s && c0 < r.width; c0 += BLOCK)
            s = read_block(&r, i, c0, out + (i - n0) * w->d);
    return s;
}
