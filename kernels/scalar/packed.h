/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/scalar/packed.h - one number, or one group of codes with its scale, for the reference. */
#ifndef EK_SCALAR_PACKED_H
#define EK_SCALAR_PACKED_H
#include "kernels/contract.h"
#include "kernels/half.h"
#include "kernels/packed.h"

/* Element i of a row-major matrix. */
static inline double load_f32(const void *w, size_t i)
{
    float x;
    memcpy(&x, (const char *)w + i * sizeof x, sizeof x);
    return (double)x;
}
static inline double load_f16(const void *w, size_t i)
{
    uint16_t h;
    memcpy(&h, (const char *)w + i * sizeof h, sizeof h);
    return (double)ek_half_load(h);
}
static inline double load_bf16(const void *w, size_t i)
{
    uint16_t h;
    memcpy(&h, (const char *)w + i * sizeof h, sizeof h);
    return (double)ek_bfloat_load(h);
}

/* w = scale * (code - zero) + minimum for the codes of one group of one row. */
struct scalar_group {
    const uint8_t *codes; /* the group's, all 16 rows */
    size_t         row;   /* in the panel             */
    int            zero;
    double         scale, minimum;
};

static inline double half_at(const uint8_t *head, size_t array, size_t row)
{
    uint16_t h;
    memcpy(&h, head + (array * EK_PANEL_ROWS + row) * sizeof h, sizeof h);
    return (double)ek_half_load(h);
}

/* Group that starts at column col of row r; w is the whole matrix, k its padded columns. */
static inline struct scalar_group scalar_group_at(const struct ek_geometry *f, const void *w,
                                                  size_t k, size_t r, size_t col)
{
    const uint8_t *panel = (const uint8_t *)w + r / EK_PANEL_ROWS * ek_panel_bytes(f, k);
    const uint8_t *head  = panel + col / f->block * ek_block_bytes(f);
    const size_t   row   = r % EK_PANEL_ROWS;
    const unsigned j     = (unsigned)(col % f->block / f->group);

    struct scalar_group g = {.codes = panel + ek_group_offset(f, col), .row = row};
    switch (f->kind) {
    case EK_FMT_SYM:
        g.zero  = 1 << (f->bits - 1);
        g.scale = half_at(head, j, row);
        break;
    case EK_FMT_MIN:
        g.scale   = half_at(head, 0, row);
        g.minimum = half_at(head, 1, row);
        break;
    case EK_FMT_SUPER: {
        uint32_t s[3];
        for (size_t i = 0; i < 3; i++) memcpy(&s[i], head + 64 + 64 * i + 4 * row, sizeof s[i]);
        g.scale   = half_at(head, 0, row) * (double)ek_super_sd(s, j);
        g.minimum = -half_at(head, 1, row) * (double)ek_super_sm(s, j);
        break;
    }
    case EK_FMT_ROW:
    case EK_FMT_FLOAT: break;
    }
    return g;
}

/* The code minus the zero code: exact in any type. */
static inline int scalar_code(const struct ek_geometry *f, const struct scalar_group *g, size_t i)
{
    return (int)ek_code_get(f->bits, g->codes, g->row, i) - g->zero;
}
#endif
