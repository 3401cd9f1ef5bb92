/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neuron.h - where the bytes of the NEURON layout lie (docs/formats.md). Plain C.
 *
 * A neuron's rows (gate, up, down, each d long) stand together. A row of numbers is padded to whole
 * lines. A packed row is a PANEL16 panel whose sixteen lanes are the groups of a run of 512 columns:
 * lane l of run r holds columns [512 r + 32 l, + 32), so that sums and scales of sixteen groups are
 * vectors. "Lane order" is the order of columns that goes with it: run, column of the group, lane. */
#ifndef EK_NEURON_H
#define EK_NEURON_H
#include "kernels/contract.h"
#include "kernels/packed.h"

enum { EK_LANE_COLUMNS = EK_SPARSE_RUN / EK_PANEL_ROWS };

/* Columns that a row really holds. */
static inline size_t ek_neuron_columns(const struct ek_geometry *f, size_t d)
{
    const size_t whole = f->kind == EK_FMT_FLOAT ? EK_LANE_COLUMNS : EK_SPARSE_RUN;
    return (d + whole - 1) / whole * whole;
}
/* width: as ek_neuron_columns gives it. */
static inline size_t ek_neuron_row_bytes(const struct ek_geometry *f, size_t width)
{
    return f->kind == EK_FMT_FLOAT ? width * (f->bits / 8)
                                   : ek_panel_bytes(f, width / EK_PANEL_ROWS);
}
/* First place of a stretch of a list: equal shares of its sides, EK_SPARSE_SIDE places each. */
static inline size_t ek_stretch_begin(size_t item, size_t items, size_t count)
{
    const size_t sides = (count + EK_SPARSE_SIDE - 1) / EK_SPARSE_SIDE;
    return item < items ? sides * item / items * EK_SPARSE_SIDE : count;
}
/* Where column c stands in lane order. */
static inline size_t ek_lane_place(size_t c)
{
    return c / EK_SPARSE_RUN * EK_SPARSE_RUN + c % EK_LANE_COLUMNS * EK_PANEL_ROWS +
           c % EK_SPARSE_RUN / EK_LANE_COLUMNS;
}
/* The same for rows of bytes, which dot products take four at a time. */
static inline size_t ek_lane_byte(size_t c)
{
    return c / EK_SPARSE_RUN * EK_SPARSE_RUN + c % EK_LANE_COLUMNS / 4 * 4 * EK_PANEL_ROWS +
           c % EK_SPARSE_RUN / EK_LANE_COLUMNS * 4 + c % 4;
}
#endif
