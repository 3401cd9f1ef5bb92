/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/kv.h - where the bytes of a key/value cache lie (docs/formats.md), and how attention is
 * cut into items. Plain C. */
#ifndef EK_KV_H
#define EK_KV_H
#include "ek/kernels.h"
#include "kernels/half.h"

enum {
    KV_PANEL     = 16, /* slots of a panel of keys                                           */
    KV_QUAD      = 4,  /* bytes of a dot product: columns of i8 keys, slots of i8 values     */
    PREFILL_ROWS = 96, /* query rows (tokens x heads of a group) of a tile of prefill, about:
                          they amortise the conversion of a tile of keys                    */
    PREFILL_STEP = 12, /* scratch holds a multiple of as many rows: what register tiles divide */
    PREFILL_KEYS = 64, /* slots that prefill converts at once                                */
    PREFILL_PAD  = 16, /* f32 behind arrays of rows: whole vectors pass their end            */
};

static inline size_t kv_round16(size_t n)
{
    return (n + KV_PANEL - 1) / KV_PANEL * KV_PANEL;
}

/* Strides in bytes. A head is [keys][values], i8 [keys][values][key scales][value scales]. */
struct kv_shape {
    size_t dp, slots; /* dim and slots, rounded up to 16   */
    size_t size;      /* of an element                     */
    size_t values;    /* from a head's start to its values */
    size_t k_scales, v_scales;
    size_t head; /* from head to head                 */
};
static inline struct kv_shape kv_shape(enum ek_fmt fmt, size_t dim, size_t slots)
{
    struct kv_shape s = {.dp    = kv_round16(dim),
                         .slots = kv_round16(slots),
                         .size  = fmt == EK_FMT_f32  ? 4
                                  : fmt == EK_FMT_i8 ? 1
                                                     : 2};
    s.values          = s.dp * s.slots * s.size;
    s.k_scales        = 2 * s.values;
    s.v_scales        = s.k_scales + s.slots * sizeof(uint16_t);
    s.head            = fmt == EK_FMT_i8 ? s.v_scales + s.slots * sizeof(uint16_t) : s.k_scales;
    return s;
}

/* Bytes from a head's start to one element. Float keys: [slot / 16][column][slot % 16]; i8 keys,
 * stored as code + 128: [slot / 16][column / 4][slot % 16][column % 4]. */
static inline size_t kv_key_at(enum ek_fmt fmt, const struct kv_shape *s, size_t slot, size_t col)
{
    const size_t panel = slot / KV_PANEL * s->dp * KV_PANEL, lane = slot % KV_PANEL;
    if (fmt == EK_FMT_i8)
        return panel + col / KV_QUAD * KV_PANEL * KV_QUAD + lane * KV_QUAD + col % KV_QUAD;
    return (panel + col * KV_PANEL + lane) * s->size;
}
/* Float values: [slot][column]; i8, two's complement: [slot / 4][column][slot % 4]. */
static inline size_t kv_value_at(enum ek_fmt fmt, const struct kv_shape *s, size_t slot, size_t col)
{
    if (fmt == EK_FMT_i8)
        return s->values + slot / KV_QUAD * s->dp * KV_QUAD + col * KV_QUAD + slot % KV_QUAD;
    return s->values + (slot * s->dp + col) * s->size;
}

/* The scale of i8: max|x| / 127 rounded up to an f16, so that no code passes 127. It takes the bits
 * of max|x|, which order like the numbers; NaN for what is not finite or does not fit, 0 below
 * 2^-100, where flushed denormals could tell one machine from another. */
static inline uint16_t kv_scale(uint32_t max_bits)
{
    enum { INFINITE = 0x7F800000, TINY = (127 - 100) << 23, HALF_INFINITE = 0x7C00 };
    if (max_bits >= INFINITE) return HALF_INFINITE + 0x200;
    if (max_bits < TINY) return 0;
    const float want = ek_float_of(max_bits) / 127.0f;
    uint16_t    h    = ek_half_round(want);
    if (ek_half_load(h) < want) h++;
    return h < HALF_INFINITE ? h : HALF_INFINITE + 0x200;
}

static inline size_t gqa_chunks(size_t used)
{
    return used ? (used + EK_GQA_CHUNK - 1) / EK_GQA_CHUNK : 1;
}
static inline size_t gqa_tile_tokens(size_t group)
{
    return group < PREFILL_ROWS ? PREFILL_ROWS / group : 1;
}
static inline size_t gqa_tile_rows(size_t group)
{
    return (gqa_tile_tokens(group) * group + PREFILL_STEP - 1) / PREFILL_STEP * PREFILL_STEP;
}
/* Floats of the scratch: keys and values of a tile, queries and outputs, scores, three numbers a
 * row. */
static inline size_t gqa_scratch_floats(size_t group, size_t dim)
{
    const size_t rows = gqa_tile_rows(group), dp = kv_round16(dim);
    return 2 * (PREFILL_KEYS + rows) * dp + rows * PREFILL_KEYS + 3 * (rows + PREFILL_PAD);
}
#endif
