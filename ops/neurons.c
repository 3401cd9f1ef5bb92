/* SPDX-License-Identifier: Apache-2.0 */
/* ops/neurons.c - the NEURON layout: sizes, rounding, packing, reading back, as matrices. */
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

/* The rows of neurons that are only read: struct rows can write as well. */
static ek_status stored_rows(struct rows *r, const struct ek_neurons *w, size_t row, size_t n0,
                             size_t n1)
{
    union {
        const void *in;
        void       *at;
    } data = {.in = w ? w->data : NULL};
    if (!w || n0 > n1 || n1 > w->n) return EK_E_ARG;
    return find_rows(r, w->fmt, w->n, w->d, w->rows, row, data.at, SIZE_MAX);
}

ek_status ek_neurons_dequantize(const struct ek_neurons *w, size_t row, size_t n0, size_t n1,
                                float *out)
{
    struct rows r;
    ek_status   s = out ? stored_rows(&r, w, row, n0, n1) : EK_E_ARG;
    for (size_t i = n0; !s && i < n1; i++)
        for (size_t c0 = 0; !s && c0 < r.width; c0 += BLOCK)
            s = read_block(&r, i, c0, out + (i - n0) * w->d);
    return s;
}

/* ---- as matrices ----
 *
 * A unit of a packed row is sixteen words, one a group. The same unit of sixteen neurons is a square
 * of words that a matrix of these neurons holds the other way round: a unit a group, a word a neuron. */

enum { SIDE = EK_PANEL_ROWS, UNITS_MAX = 8 };

/* One run of sixteen neurons, of fewer at the end, the other way round. */
struct turned {
    uint32_t word[UNITS_MAX][SIDE][SIDE]; /* [unit][group][neuron] */
    uint16_t scale[SIDE][SIDE];           /* [group][neuron], f16  */
};

static size_t scale_at(const struct ek_geometry *f, size_t group)
{
    return group / 2 * ek_block_bytes(f) + group % 2 * SIDE * sizeof(uint16_t);
}
static size_t unit_at(const struct ek_geometry *f, size_t group, size_t unit)
{
    return ek_group_offset(f, group * EK_LANE_COLUMNS) + unit * 64;
}
static size_t units_of(const struct ek_geometry *f)
{
    return EK_LANE_COLUMNS * f->bits / 32;
}

static void turn_run(const struct rows *r, size_t first, size_t count, size_t run, struct turned *t)
{
    if (count < SIDE) { /* of neurons that are not there: the zero code, scales of 0 */
        memset(t->word, r->f->bits == 8 ? 0x80 : 0x88, sizeof t->word);
        memset(t->scale, 0, sizeof t->scale);
    }
    for (size_t i = 0; i < count; i++) {
        const unsigned char *row    = r->first + (first + i) * r->step;
        const unsigned char *scales = row + scale_at(r->f, run),
                            *words  = row + unit_at(r->f, run, 0);
        for (size_t g = 0; g < SIDE; g++) memcpy(&t->scale[g][i], scales + 2 * g, 2);
        for (size_t u = 0; u < units_of(r->f); u++)
            for (size_t g = 0; g < SIDE; g++) memcpy(&t->word[u][g][i], words + u * 64 + 4 * g, 4);
    }
}

/* Sixteen neurons as the panel of a matrix. */
static void turn_panel(const struct rows *r, size_t first, size_t count, unsigned char *panel)
{
    const size_t  groups = (r->d + EK_LANE_COLUMNS - 1) / EK_LANE_COLUMNS;
    struct turned t;
    if (groups % 2) memset(panel + scale_at(r->f, groups), 0, sizeof *t.scale);
    for (size_t run = 0; run * SIDE < groups; run++) {
        turn_run(r, first, count, run, &t);
        for (size_t g = 0; g < SIDE && run * SIDE + g < groups; g++) {
            const size_t group = run * SIDE + g;
            memcpy(panel + scale_at(r->f, group), t.scale[g], sizeof t.scale[g]);
            for (size_t u = 0; u < units_of(r->f); u++)
                memcpy(panel + unit_at(r->f, group, u), t.word[u][g], sizeof t.word[u][g]);
        }
    }
}

ek_status ek_neurons_matrix(const struct ek_neurons *w, size_t row, size_t n0, size_t n1, void *out,
                            size_t out_bytes)
{
    struct rows r;
    size_t      bytes;
    ek_status   s = out ? stored_rows(&r, w, row, n0, n1) : EK_E_ARG;
    if (s || n0 == n1) return s;
    s = ek_weights_bytes(w->fmt, n1 - n0, w->d, &bytes, NULL);
    if (s) return s;
    if (!is_float(&r) && (uintptr_t)out % 64) return EK_E_ARG;
    if (out_bytes < bytes) return EK_E_NOMEM;
    unsigned char *to = out;
    const size_t   line =
        is_float(&r) ? w->d * r.f->bits / 8 : ek_panel_bytes(r.f, ek_padded_k(w->fmt, w->d));
    const size_t step = is_float(&r) ? 1 : SIDE;
    for (size_t i = n0; i < n1; i += step, to += line)
        if (is_float(&r))
            memcpy(to, r.first + i * r.step, line);
        else
            turn_panel(&r, i, n1 - i < SIDE ? n1 - i : SIDE, to);
    return EK_OK;
}

/* One column of sixteen neurons. */
static inline void read_column(const uint32_t *word, const float *scale, unsigned shift,
                               unsigned bits, float *out)
{
    const int32_t mask = (1 << bits) - 1, zero = 1 << (bits - 1);
    for (size_t i = 0; i < SIDE; i++)
        out[i] = (float)((int32_t)(word[i] >> shift & (uint32_t)mask) - zero) * scale[i];
}

/* The columns of sixteen neurons, ld floats apart. */
static void read_columns(const struct rows *r, size_t first, size_t count, float *out, size_t ld)
{
    const size_t  cols = 32 / r->f->bits; /* of a unit */
    struct turned t;
    float         scale[SIDE], last[SIDE];
    for (size_t c = 0; c < r->d; c++) {
        const size_t g = c % EK_SPARSE_RUN / EK_LANE_COLUMNS, u = c % EK_LANE_COLUMNS / cols;
        const size_t j = c % cols;
        if (c % EK_SPARSE_RUN == 0) turn_run(r, first, count, c / EK_SPARSE_RUN, &t);
        if (c % EK_LANE_COLUMNS == 0)
            for (size_t i = 0; i < SIDE; i++) scale[i] = ek_f32_from_f16(t.scale[g][i]);
        read_column(t.word[u][g], scale, (unsigned)(j % 4 * 8 + j / 4 * 4), r->f->bits,
                    count == SIDE ? out + c * ld : last);
        if (count < SIDE) memcpy(out + c * ld, last, count * sizeof *last);
    }
}

/* The same of floats, which stay as they are: bits 16 or 32. */
static void copy_columns(const struct rows *r, size_t first, size_t count, void *out, size_t ld)
{
    const unsigned char *from = r->first + first * r->step;
    uint16_t            *u16  = out;
    uint32_t            *u32  = out;
    for (size_t c = 0; c < r->d; c++)
        for (size_t i = 0; i < count; i++)
            if (r->f->bits == 16)
                memcpy(u16 + c * ld + i, from + i * r->step + c * sizeof *u16, sizeof *u16);
            else
                memcpy(u32 + c * ld + i, from + i * r->step + c * sizeof *u32, sizeof *u32);
}

ek_status ek_neurons_transposed(const struct ek_neurons *w, size_t row, size_t n0, size_t n1,
                                void *out, size_t ld)
{
    struct rows     r;
    const ek_status s =
        out && n0 <= n1 && ld >= n1 - n0 ? stored_rows(&r, w, row, n0, n1) : EK_E_ARG;
    if (s) return s;
    const size_t   size = is_float(&r) ? r.f->bits / 8 : sizeof(float);
    unsigned char *to   = out;
    for (size_t i = n0; i < n1; i += SIDE, to += SIDE * size) {
        const size_t count = n1 - i < SIDE ? n1 - i : SIDE;
        if (is_float(&r))
            copy_columns(&r, i, count, to, ld);
        else
            read_columns(&r, i, count, (float *)(void *)to, ld);
    }
    return EK_OK;
}
