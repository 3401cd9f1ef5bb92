/* SPDX-License-Identifier: Apache-2.0 */
/* ops/formats.c - sizes of the weight formats; rounding, packing and unpacking them. */
#include "ek/formats.h"

#include "kernels/half.h"
#include "kernels/packed.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static const struct ek_fmt_info infos[EK_FMT_COUNT] = {
#define EK_FMT(fmt, id, kind_, bits_, group_, groups_, head_, text_)                               \
    [id] = {.name   = #fmt,                                                                        \
            .text   = text_,                                                                       \
            .kind   = EK_FMT_##kind_,                                                              \
            .layout = EK_FMT_##kind_ == EK_FMT_FLOAT ? EK_LAYOUT_ROWS                              \
                      : EK_FMT_##kind_ == EK_FMT_ROW ? EK_LAYOUT_CACHE                             \
                                                     : EK_LAYOUT_PANEL16,                          \
            .bits   = bits_,                                                                       \
            .group  = group_,                                                                      \
            .block  = (group_) * (groups_),                                                        \
            .head   = head_,                                                                       \
            .zero   = EK_FMT_##kind_ == EK_FMT_SYM ? 1u << ((bits_)-1) : 0},
#include "ek/formats.def"
#undef EK_FMT
};

const struct ek_fmt_info *ek_fmt_info(enum ek_fmt fmt)
{
    return (unsigned)fmt < EK_FMT_COUNT ? &infos[fmt] : NULL;
}

ek_status ek_fmt_from_name(const char *name, enum ek_fmt *fmt)
{
    for (size_t i = 0; name && fmt && i < EK_FMT_COUNT; i++)
        if (!strcmp(name, infos[i].name)) {
            *fmt = (enum ek_fmt)i;
            return EK_OK;
        }
    return EK_E_ARG;
}

static int is_float(const struct ek_fmt_info *f)
{
    return !f->block;
}

static struct ek_geometry geometry(const struct ek_fmt_info *f)
{
    return (struct ek_geometry){f->kind, f->bits, f->group, f->block, f->head};
}

/* Columns that a packed row is padded to: SYM ends on a group, the others on a block. */
static size_t padding(const struct ek_fmt_info *f)
{
    return f->kind == EK_FMT_SYM ? f->group : f->block;
}

size_t ek_padded_k(enum ek_fmt fmt, size_t k)
{
    const struct ek_fmt_info *f = ek_fmt_info(fmt);
    if (!f || is_float(f)) return k;
    const size_t p = padding(f);
    return (k + p - 1) / p * p;
}

ek_status ek_weights_bytes(enum ek_fmt fmt, size_t n, size_t k, size_t *bytes, size_t *panel_bytes)
{
    const struct ek_fmt_info *f = ek_fmt_info(fmt);
    if (!f || f->kind == EK_FMT_ROW || !n || !k || !bytes) return EK_E_ARG;
    if (k > SIZE_MAX / 256 || n > SIZE_MAX - EK_PANEL_ROWS) return EK_E_OVERFLOW;
    const struct ek_geometry g = geometry(f);

    const size_t panel = is_float(f) ? k * f->bits / 8 : ek_panel_bytes(&g, ek_padded_k(fmt, k));
    const size_t count = is_float(f) ? n : (n + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS;
    size_t       total;
    if (__builtin_mul_overflow(panel, count, &total)) return EK_E_OVERFLOW;
    *bytes = total;
    if (panel_bytes) *panel_bytes = panel;
    return EK_OK;
}

uint16_t ek_f16_from_f32(float x)
{
    return ek_half_round(x);
}
float ek_f32_from_f16(uint16_t h)
{
    return ek_half_load(h);
}
uint16_t ek_bf16_from_f32(float x)
{
    return ek_bfloat_round(x);
}
float ek_f32_from_bf16(uint16_t h)
{
    return ek_bfloat_load(h);
}

/* ---- one row of one block, between its packed place and plain arrays ---- */

enum { BLOCK_MAX = 256, GROUPS_MAX = 8 };

struct row_block {
    uint8_t  q[BLOCK_MAX];
    uint16_t d[GROUPS_MAX], m[GROUPS_MAX]; /* SUPER: only [0] */
    uint8_t  sd[GROUPS_MAX], sm[GROUPS_MAX];
};

/* Where a row of a block lies: cols = columns really there (the last SYM block may be half). */
struct place {
    struct ek_geometry g;
    uint8_t           *head, *codes;
    size_t             row, cols;
};

static uint16_t *half_at(const struct place *p, size_t array)
{
    return (uint16_t *)(void *)p->head + array * EK_PANEL_ROWS + p->row;
}

/* The row's word of every unit: four bytes, of one code or of two nibbles. */
static void put_codes(const struct place *p, const uint8_t *q)
{
    const size_t unit = 32 / p->g.bits; /* columns */
    for (size_t c = 0; c < p->cols; c += unit) {
        uint8_t *at = p->codes + ek_code_bytes(&p->g, c) + ek_code_offset(p->g.bits, p->row, 0);
        for (size_t i = 0; i < 4; i++)
            at[i] = (uint8_t)(p->g.bits == 8 ? q[c + i] : q[c + i] | q[c + i + 4] << 4);
    }
}

static void store_block(const struct place *p, const struct row_block *b)
{
    const size_t groups = p->cols / p->g.group;
    put_codes(p, b->q);
    switch (p->g.kind) {
    case EK_FMT_SYM:
        for (size_t g = 0; g < p->g.block / p->g.group; g++)
            *half_at(p, g) = g < groups ? b->d[g] : 0;
        break;
    case EK_FMT_MIN: *half_at(p, 0) = b->d[0], *half_at(p, 1) = b->m[0]; break;
    case EK_FMT_SUPER: {
        uint32_t s[3] = {0, 0, 0};
        for (unsigned j = 0; j < GROUPS_MAX; j++) {
            const unsigned sh = 8 * (j % 4), d = b->sd[j], m = b->sm[j];
            s[0] |= j < 4 ? d << sh : d >> 4 << (sh + 6);
            s[1] |= j < 4 ? m << sh : m >> 4 << (sh + 6);
            s[2] |= j < 4 ? 0 : (d & 15) << sh | (m & 15) << (sh + 4);
        }
        *half_at(p, 0) = b->d[0], *half_at(p, 1) = b->m[0];
        for (size_t w = 0; w < 3; w++)
            memcpy(p->head + 64 + 64 * w + 4 * p->row, &s[w], sizeof s[w]);
        break;
    }
    case EK_FMT_FLOAT:
    case EK_FMT_ROW: break;
    }
}

static void load_block(const struct place *p, struct row_block *b)
{
    const size_t groups = p->cols / p->g.group;
    for (size_t c = 0; c < p->cols; c++)
        b->q[c] = (uint8_t)ek_code_get(p->g.bits,
                                       p->codes + ek_code_bytes(&p->g, c / p->g.group * p->g.group),
                                       p->row, c % p->g.group);
    for (size_t g = 0; g < groups && p->g.kind == EK_FMT_SYM; g++) b->d[g] = *half_at(p, g);
    if (p->g.kind == EK_FMT_SYM) return;
    b->d[0] = *half_at(p, 0), b->m[0] = *half_at(p, 1);
    if (p->g.kind == EK_FMT_MIN) return;
    uint32_t s[3];
    for (size_t w = 0; w < 3; w++) memcpy(&s[w], p->head + 64 + 64 * w + 4 * p->row, sizeof s[w]);
    for (unsigned j = 0; j < GROUPS_MAX; j++)
        b->sd[j] = (uint8_t)ek_super_sd(s, j), b->sm[j] = (uint8_t)ek_super_sm(s, j);
}

static struct place place_of(const struct ek_fmt_info *f, uint8_t *data, size_t kp, size_t row,
                             size_t col)
{
    struct place p     = {.g = geometry(f), .row = row % EK_PANEL_ROWS};
    uint8_t     *panel = data + row / EK_PANEL_ROWS * ek_panel_bytes(&p.g, kp);
    p.head             = panel + col / p.g.block * ek_block_bytes(&p.g);
    p.codes            = p.head + p.g.head;
    p.cols             = kp - col < p.g.block ? kp - col : p.g.block;
    return p;
}

/* ---- rounding floats to codes ---- */

/* To the nearest integer, ties to even, within 0..max: rintf without its call. Adding 1.5 * 2^23
 * leaves no bits for a fraction, and limits that are integers may as well come first. */
static unsigned clamp_code(float v, unsigned max)
{
    const float rounder = 12582912.0F, top = (float)max;
    const float within = v <= 0 ? 0 : v >= top ? top : v;
    return (unsigned)(within + rounder - rounder);
}

/* Scale of a symmetric group: the signed extreme lands on the most negative code. */
static void round_sym(const float *x, size_t n, unsigned bits, struct row_block *b, size_t g)
{
    float extreme = 0;
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i]) > fabsf(extreme)) extreme = x[i];
    const unsigned zero = 1u << (bits - 1);
    const float    want = bits == 8 ? fabsf(extreme) / 127 : 0.0f - extreme / (float)zero;
    b->d[g]             = ek_f16_from_f32(want);
    const float d = ek_f32_from_f16(b->d[g]), inv = d != 0 ? 1 / d : 0;
    for (size_t i = 0; i < n; i++)
        b->q[g * n + i] = (uint8_t)clamp_code(x[i] * inv + (float)zero, 2 * zero - 1);
}

static void extent(const float *x, size_t n, float *lo, float *hi)
{
    *lo = *hi = x[0];
    for (size_t i = 1; i < n; i++) {
        *lo = x[i] < *lo ? x[i] : *lo;
        *hi = x[i] > *hi ? x[i] : *hi;
    }
}

static void round_min(const float *x, size_t n, struct row_block *b)
{
    float lo, hi;
    extent(x, n, &lo, &hi);
    b->d[0] = ek_f16_from_f32((hi - lo) / 15), b->m[0] = ek_f16_from_f32(lo);
    const float d = ek_f32_from_f16(b->d[0]), m = ek_f32_from_f16(b->m[0]);
    const float inv = d != 0 ? 1 / d : 0;
    for (size_t i = 0; i < n; i++) b->q[i] = (uint8_t)clamp_code((x[i] - m) * inv, 15);
}

static void round_super(const float *x, struct row_block *b)
{
    enum { N = 32 };
    float d[GROUPS_MAX], m[GROUPS_MAX], dmax = 0, mmax = 0;
    for (size_t g = 0; g < GROUPS_MAX; g++) {
        float lo, hi;
        extent(x + g * N, N, &lo, &hi);
        m[g] = lo < 0 ? -lo : 0; /* the format subtracts minima: they cannot be positive */
        d[g] = (hi + m[g]) / 15;
        if (d[g] < 0) d[g] = 0;
        dmax = d[g] > dmax ? d[g] : dmax;
        mmax = m[g] > mmax ? m[g] : mmax;
    }
    b->d[0] = ek_f16_from_f32(dmax / 63), b->m[0] = ek_f16_from_f32(mmax / 63);
    const float sd = ek_f32_from_f16(b->d[0]), sm = ek_f32_from_f16(b->m[0]);
    for (size_t g = 0; g < GROUPS_MAX; g++) {
        b->sd[g]       = (uint8_t)clamp_code(sd != 0 ? d[g] / sd : 0, 63);
        b->sm[g]       = (uint8_t)clamp_code(sm != 0 ? m[g] / sm : 0, 63);
        const float dg = sd * (float)b->sd[g], mg = sm * (float)b->sm[g];
        const float inv = dg != 0 ? 1 / dg : 0;
        for (size_t i = 0; i < N; i++)
            b->q[g * N + i] = (uint8_t)clamp_code((x[g * N + i] + mg) * inv, 15);
    }
}

static void round_block(const struct ek_fmt_info *f, const float *x, size_t cols,
                        struct row_block *b)
{
    switch (f->kind) {
    case EK_FMT_SYM:
        for (size_t g = 0; g < cols / f->group; g++)
            round_sym(x + g * f->group, f->group, f->bits, b, g);
        break;
    case EK_FMT_MIN: round_min(x, cols, b); break;
    case EK_FMT_SUPER: round_super(x, b); break;
    case EK_FMT_FLOAT:
    case EK_FMT_ROW: break;
    }
}

/* Do the halves of a rounded block hold? A scale that overflowed f16 is infinite. */
static int block_fits(const struct ek_fmt_info *f, const struct row_block *b, size_t cols)
{
    for (size_t g = 0; g < cols / f->group && (g == 0 || f->kind == EK_FMT_SYM); g++)
        if ((b->d[g] & 0x7C00) == 0x7C00 || (b->m[g] & 0x7C00) == 0x7C00) return 0;
    return 1;
}

static ek_status quantize_floats(enum ek_fmt fmt, const float *w, size_t count, void *out)
{
    float    *f32 = out;
    uint16_t *u16 = out;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(w[i])) return EK_E_FORMAT;
        if (fmt == EK_FMT_f32)
            f32[i] = w[i];
        else
            u16[i] = fmt == EK_FMT_f16 ? ek_f16_from_f32(w[i]) : ek_bf16_from_f32(w[i]);
        if (fmt != EK_FMT_f32 && (u16[i] & 0x7FFF) == (fmt == EK_FMT_f16 ? 0x7C00 : 0x7F80))
            return EK_E_FORMAT;
    }
    return EK_OK;
}

static ek_status check_out(enum ek_fmt fmt, size_t n, size_t k, const void *out, size_t out_bytes)
{
    size_t          need;
    const ek_status s = ek_weights_bytes(fmt, n, k, &need, NULL);
    if (s) return s;
    if (!out || (ek_fmt_info(fmt)->layout == EK_LAYOUT_PANEL16 && (uintptr_t)out % 64))
        return EK_E_ARG;
    return out_bytes < need ? EK_E_NOMEM : EK_OK;
}

ek_status ek_weights_quantize(enum ek_fmt fmt, const float *w, size_t n, size_t k, void *out,
                              size_t out_bytes)
{
    const ek_status s = w ? check_out(fmt, n, k, out, out_bytes) : EK_E_ARG;
    if (s) return s;
    const struct ek_fmt_info *f = ek_fmt_info(fmt);
    if (is_float(f)) return quantize_floats(fmt, w, n * k, out);

    const size_t kp = ek_padded_k(fmt, k);
    for (size_t r = 0; r < (n + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS * EK_PANEL_ROWS; r++)
        for (size_t c = 0; c < kp; c += f->block) {
            const struct place p            = place_of(f, out, kp, r, c);
            float              x[BLOCK_MAX] = {0};
            for (size_t i = 0; i < p.cols; i++) {
                x[i] = r < n && c + i < k ? w[r * k + c + i] : 0;
                if (!isfinite(x[i])) return EK_E_FORMAT;
            }
            struct row_block b = {.d = {0}};
            round_block(f, x, p.cols, &b);
            if (!block_fits(f, &b, p.cols)) return EK_E_FORMAT;
            store_block(&p, &b);
        }
    return EK_OK;
}

/* ---- codes ---- */

/* The arrays of codes for row r, columns from c on; SUPER has one d and m per block. */
struct code_row {
    uint8_t  *q, *sd, *sm;
    uint16_t *d, *m;
};

static struct code_row codes_at(const struct ek_fmt_info *f, const struct ek_codes *c, size_t kp,
                                size_t row, size_t col)
{
    const size_t group = row * (kp / f->group) + col / f->group;
    const size_t half  = f->kind == EK_FMT_SUPER ? row * (kp / f->block) + col / f->block : group;
    return (struct code_row){.q  = c->q + row * kp + col,
                             .sd = c->sd ? c->sd + group : NULL,
                             .sm = c->sm ? c->sm + group : NULL,
                             .d  = c->d + half,
                             .m  = c->m ? c->m + half : NULL};
}

static int codes_complete(const struct ek_fmt_info *f, const struct ek_codes *c)
{
    return !is_float(f) && c && c->q && c->d && (f->kind == EK_FMT_SYM || c->m) &&
           (f->kind != EK_FMT_SUPER || (c->sd && c->sm));
}

/* Copies one block's arrays; `to_codes` tells the direction. */
static void copy_block(const struct ek_fmt_info *f, struct code_row c, struct row_block *b,
                       size_t cols, int to_codes)
{
    const size_t groups = cols / f->group, halves = f->kind == EK_FMT_SUPER ? 1 : groups;
#define COPY(a, count)                                                                             \
    if (c.a) memcpy(to_codes ? c.a : b->a, to_codes ? b->a : c.a, (count) * sizeof *c.a)
    COPY(q, cols);
    COPY(d, halves);
    COPY(m, halves);
    COPY(sd, groups);
    COPY(sm, groups);
#undef COPY
}

static int codes_fit(const struct ek_fmt_info *f, const struct row_block *b, size_t cols)
{
    unsigned q = 0, s = 0;
    for (size_t i = 0; i < cols; i++) q |= b->q[i];
    for (size_t i = 0; i < GROUPS_MAX; i++) s |= (unsigned)b->sd[i] | b->sm[i];
    return q < 1u << f->bits && s < 64;
}

ek_status ek_weights_pack(enum ek_fmt fmt, const struct ek_codes *codes, size_t n, size_t k,
                          void *out, size_t out_bytes)
{
    const struct ek_fmt_info *f = ek_fmt_info(fmt);
    if (!f || !codes_complete(f, codes)) return EK_E_ARG;
    const ek_status s = check_out(fmt, n, k, out, out_bytes);
    if (s) return s;
    const size_t kp = ek_padded_k(fmt, k);
    for (size_t r = 0; r < (n + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS * EK_PANEL_ROWS; r++)
        for (size_t c = 0; c < kp; c += f->block) {
            const struct place p = place_of(f, out, kp, r, c);
            struct row_block   b = {.d = {0}};
            memset(b.q, (int)f->zero, sizeof b.q);
            if (r < n) copy_block(f, codes_at(f, codes, kp, r, c), &b, p.cols, 0);
            if (!codes_fit(f, &b, p.cols)) return EK_E_FORMAT;
            store_block(&p, &b);
        }
    return EK_OK;
}

static int weights_sound(const struct ek_weights *w)
{
    const struct ek_fmt_info *f = w ? ek_fmt_info(w->fmt) : NULL;
    size_t                    bytes;
    return f && w->data && !ek_weights_bytes(w->fmt, w->n, w->k, &bytes, NULL);
}

/* Loads a block of a matrix that is only read; struct place is shared with the writing side. */
static void read_block(const struct ek_weights *w, size_t kp, size_t row, size_t col,
                       struct row_block *b, size_t *cols)
{
    union {
        const void *in;
        uint8_t    *data;
    } u                  = {.in = w->data};
    const struct place p = place_of(ek_fmt_info(w->fmt), u.data, kp, row, col);
    *cols                = p.cols;
    load_block(&p, b);
}

ek_status ek_weights_unpack(const struct ek_weights *w, const struct ek_codes *codes)
{
    if (!weights_sound(w) || !codes_complete(ek_fmt_info(w->fmt), codes)) return EK_E_ARG;
    const struct ek_fmt_info *f = ek_fmt_info(w->fmt);
    if (w->layout != f->layout) return EK_E_FORMAT;
    const size_t kp = ek_padded_k(w->fmt, w->k);
    for (size_t r = 0; r < w->n; r++)
        for (size_t c = 0; c < kp; c += f->block) {
            struct row_block b;
            size_t           cols;
            read_block(w, kp, r, c, &b, &cols);
            copy_block(f, codes_at(f, codes, kp, r, c), &b, cols, 1);
        }
    return EK_OK;
}

static float block_value(const struct ek_fmt_info *f, const struct row_block *b, size_t i)
{
    const size_t g = i / f->group, h = f->kind == EK_FMT_SUPER ? 0 : g;
    double       d = (double)ek_f32_from_f16(b->d[h]), m = (double)ek_f32_from_f16(b->m[h]);
    if (f->kind == EK_FMT_SYM) return (float)(d * ((double)b->q[i] - (double)f->zero));
    if (f->kind == EK_FMT_SUPER) d *= (double)b->sd[g], m *= -(double)b->sm[g];
    return (float)(d * (double)b->q[i] + m);
}

static void dequantize_row(const struct ek_weights *w, size_t r, float *out)
{
    const struct ek_fmt_info *f  = ek_fmt_info(w->fmt);
    const size_t              kp = ek_padded_k(w->fmt, w->k);
    if (is_float(f)) {
        const uint16_t *u = (const uint16_t *)w->data + r * w->k;
        if (w->fmt == EK_FMT_f32)
            memcpy(out, (const float *)w->data + r * w->k, w->k * sizeof *out);
        else
            for (size_t c = 0; c < w->k; c++)
                out[c] = w->fmt == EK_FMT_f16 ? ek_f32_from_f16(u[c]) : ek_f32_from_bf16(u[c]);
        return;
    }
    for (size_t c = 0; c < kp; c += f->block) {
        struct row_block b = {.m = {0}};
        size_t           cols;
        read_block(w, kp, r, c, &b, &cols);
        for (size_t i = 0; i < cols && c + i < w->k; i++) out[c + i] = block_value(f, &b, i);
    }
}

ek_status ek_weights_dequantize(const struct ek_weights *w, size_t row0, size_t row1, float *out)
{
    if (!weights_sound(w) || !out || row0 > row1 || row1 > w->n) return EK_E_ARG;
    if (w->layout != ek_fmt_info(w->fmt)->layout) return EK_E_FORMAT;
    for (size_t r = row0; r < row1; r++) dequantize_row(w, r, out + (r - row0) * w->k);
    return EK_OK;
}
