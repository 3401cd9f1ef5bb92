/* SPDX-License-Identifier: Apache-2.0 */
/* ek/formats.h - weight formats: sizes, rounding, packing, unpacking. Layouts: docs/formats.md. */
#ifndef EK_FORMATS_H
#define EK_FORMATS_H
#include "ek/status.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ek_fmt {
#define EK_FMT(name, id, kind, bits, group, groups, head, text) EK_FMT_##name = (id),
#include "ek/formats.def"
#undef EK_FMT
    EK_FMT_COUNT
};

enum ek_fmt_kind {
    EK_FMT_FLOAT, /* w = the number itself, row-major                                   */
    EK_FMT_SYM,   /* w = d * (q - zero), zero = 8 (4 bit) or 128 (8 bit)                */
    EK_FMT_MIN,   /* w = d * q + m                                                      */
    EK_FMT_SUPER, /* w = d * sd * q - m * sm, d and m per 256 columns, sd and sm per 32 */
    EK_FMT_ROW,   /* w = d * q, one d per row: of a cache, never of weights              */
};

/** How the bytes of a matrix lie; a matrix of another layout is refused, never misread. */
enum ek_layout {
    EK_LAYOUT_ROWS    = 1, /* row-major, no padding                              */
    EK_LAYOUT_PANEL16 = 2, /* panels of 16 rows, 64-byte units: docs/formats.md  */
    EK_LAYOUT_CACHE   = 3, /* that of ek_kv: no layout of weights                */
    EK_LAYOUT_NEURON  = 4, /* that of ek_neurons: no layout of ek_weights        */
};

enum { EK_PANEL_ROWS = 16 };

struct ek_fmt_info {
    const char      *name, *text;
    enum ek_fmt_kind kind;
    enum ek_layout   layout;
    unsigned         bits;  /* of one code or number                                  */
    unsigned         group; /* columns that share a scale; 0: none                    */
    unsigned         block; /* columns of one block, a multiple of group; 0: none     */
    unsigned         head;  /* bytes of a block's head (its scales) for 16 rows       */
    unsigned         zero;  /* code of the value 0 in a SYM format, else 0            */
};

/** Facts about a format; NULL for a value that is none. */
EK_API const struct ek_fmt_info *ek_fmt_info(enum ek_fmt fmt);

/** Finds a format by name ("q4g32"); EK_E_ARG (*fmt untouched) when there is none. */
EK_API ek_status ek_fmt_from_name(const char *name, enum ek_fmt *fmt);

/** A matrix as every op takes it: n rows (outputs) of k columns (inputs). */
struct ek_weights {
    enum ek_fmt    fmt;
    enum ek_layout layout; /* must be the format's; see ek_fmt_info                        */
    size_t         n, k;   /* elements, both >= 1                                          */
    const void    *data;   /* 64-byte aligned for PANEL16, element-aligned for ROWS        */
};

/** Columns a packed row really holds: k rounded up to whole groups (256 for q4k); k for floats. */
EK_API size_t ek_padded_k(enum ek_fmt fmt, size_t k);

/**
 * Size of a matrix in its layout.
 *
 * Sizes    n, k >= 1, elements. *panel_bytes (may be NULL): one panel, or one row for ROWS.
 * Returns  EK_OK; EK_E_ARG for a bad format or a zero size; EK_E_OVERFLOW past size_t. */
EK_API ek_status ek_weights_bytes(enum ek_fmt fmt, size_t n, size_t k, size_t *bytes,
                                  size_t *panel_bytes);

/**
 * Rounds a float matrix to a format, straight into its packed layout.
 *
 * Shapes   w: [n][k] f32, row-major        out: ek_weights_bytes(fmt, n, k), 64-byte aligned
 * Memory   w and out do not overlap; every byte of out is written, padding as zero values.
 * Accuracy |error| <= half a step d of the group, plus what rounding the scale costs; symmetric
 *          4 bit: up to d at the end of the range opposite to the extreme (docs/formats.md).
 * Threads  panels of 16 rows are independent: a caller may split n at multiples of 16.
 * Returns  EK_OK; EK_E_ARG; EK_E_NOMEM when out_bytes is too small; EK_E_FORMAT for a value that is
 *          not finite or does not fit (q formats, f16). Out is unspecified after EK_E_FORMAT.
 * Source   symmetric: scale = signed extreme / -8 as GGUF Q4_0; /127 as Q8_0. */
EK_API ek_status ek_weights_quantize(enum ek_fmt fmt, const float *w, size_t n, size_t k, void *out,
                                     size_t out_bytes);

/** Inverse, rows [row0, row1) into out [row1 - row0][k] f32. Exact up to one f32 rounding. */
EK_API ek_status ek_weights_dequantize(const struct ek_weights *w, size_t row0, size_t row1,
                                       float *out);

/**
 * The codes and scales of a packed matrix, one array each: how other tools' files are brought in
 * without loss. kp = ek_padded_k(fmt, k); groups = kp / group; blocks = kp / 256 (q4k). */
struct ek_codes {
    uint8_t  *q;  /* [n][kp] codes: 0..15, or value + 128 for 8 bit             */
    uint16_t *d;  /* [n][groups] f16 scales; q4k: [n][blocks]                   */
    uint16_t *m;  /* MIN: [n][groups] f16; SUPER: [n][blocks] f16; else NULL    */
    uint8_t  *sd; /* SUPER: [n][groups] 0..63; else NULL                        */
    uint8_t  *sm; /* SUPER: [n][groups] 0..63; else NULL                        */
};

/**
 * Packs codes; ek_weights_unpack gives back the same arrays bit for bit.
 *
 * Sizes, memory and threads as ek_weights_quantize.
 * Returns  EK_OK; EK_E_ARG for a float format or a missing array; EK_E_NOMEM; EK_E_FORMAT for a
 *          code that does not fit its bits. */
EK_API ek_status ek_weights_pack(enum ek_fmt fmt, const struct ek_codes *codes, size_t n, size_t k,
                                 void *out, size_t out_bytes);
EK_API ek_status ek_weights_unpack(const struct ek_weights *w, const struct ek_codes *codes);

/**
 * Copies rows into a matrix of their own, of the same format: codes and scales as they are, so that
 * dequantising gives the same numbers.
 *
 * Sizes    rows: [count] each < w->n, in any order, repeats allowed; count >= 1.
 * Memory   out: ek_weights_bytes(w->fmt, count, w->k), 64-byte aligned where packed; every byte is
 *          written, rows that fill the last panel up are zeros as ek_weights_pack makes them.
 * Returns  EK_OK; EK_E_ARG (a row that is none, too); EK_E_FORMAT; EK_E_NOMEM; EK_E_OVERFLOW. On
 *          error out is untouched. */
EK_API ek_status ek_weights_gather(const struct ek_weights *w, const uint32_t *rows, size_t count,
                                   void *out, size_t out_bytes);

/** Half-precision conversions as the formats use them: round to nearest even, NaN stays NaN. */
EK_API uint16_t ek_f16_from_f32(float x);
EK_API float    ek_f32_from_f16(uint16_t h);
EK_API uint16_t ek_bf16_from_f32(float x);
EK_API float    ek_f32_from_bf16(uint16_t h);

#ifdef __cplusplus
}
#endif
#endif
