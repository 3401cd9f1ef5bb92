/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/packed.h - where the bytes of the PANEL16 layout lie (docs/formats.md). Plain C. */
#ifndef EK_PACKED_H
#define EK_PACKED_H
#include "ek/formats.h"

#include <stddef.h>
#include <stdint.h>

/* Compile-time facts of one format: what a kernel body is specialised on. */
struct ek_geometry {
    enum ek_fmt_kind kind;
    unsigned         bits, group, block, head;
};

#define EK_FMT(name, id, kind_, bits_, group_, groups_, head_, text_)                              \
    static const struct ek_geometry ek_geometry_##name = {EK_FMT_##kind_, bits_, group_,           \
                                                          (group_) * (groups_), head_};
#include "ek/formats.def"
#undef EK_FMT

/* Bytes that the codes of `cols` columns of a panel take. */
static inline size_t ek_code_bytes(const struct ek_geometry *f, size_t cols)
{
    return cols * (EK_PANEL_ROWS / 8) * f->bits;
}
static inline size_t ek_block_bytes(const struct ek_geometry *f)
{
    return f->head + ek_code_bytes(f, f->block);
}
/* kp: whole groups; a SYM panel may end in half a block, which still has a whole head. */
static inline size_t ek_panel_bytes(const struct ek_geometry *f, size_t kp)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): packed formats have blocks */
    return (kp + f->block - 1) / f->block * f->head + ek_code_bytes(f, kp);
}
/* Offset of the codes of the group that starts at column col. */
static inline size_t ek_group_offset(const struct ek_geometry *f, size_t col)
{
    return col / f->block * ek_block_bytes(f) + f->head + ek_code_bytes(f, col % f->block);
}
/* Byte of (row, column) inside a group: a 64-byte unit holds 16 rows x 8 (4) columns; in a 4-bit
 * byte the low nibble is column j, the high one column j + 4. */
static inline size_t ek_code_offset(unsigned bits, size_t row, size_t col)
{
    const size_t cols = 32 / bits; /* of a unit: 8 or 4 */
    return col / cols * 64 + row * 4 + col % 4;
}
static inline unsigned ek_code_get(unsigned bits, const uint8_t *group, size_t row, size_t col)
{
    const unsigned byte = group[ek_code_offset(bits, row, col)];
    return bits == 8 ? byte : byte >> (col % 8 / 4 * 4) & 15u;
}

/* The 6-bit scale (sd) and minimum (sm) j = 0..7 of a row, from its three words: GGUF Q4_K's
 * twelve bytes, little endian. */
static inline unsigned ek_super_sd(const uint32_t s[3], unsigned j)
{
    const unsigned sh = 8 * (j % 4);
    return j < 4 ? s[0] >> sh & 63u : (s[2] >> sh & 15u) | (s[0] >> (sh + 6) & 3u) << 4;
}
static inline unsigned ek_super_sm(const uint32_t s[3], unsigned j)
{
    const unsigned sh = 8 * (j % 4);
    return j < 4 ? s[1] >> sh & 63u : (s[2] >> (sh + 4) & 15u) | (s[1] >> (sh + 6) & 3u) << 4;
}
#endif
