/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/gemm.h - what both GEMMs share: sets of rows, the scratch, walking K blocks.
 * The including file has its simd.h and defines SET_PANELS, the panels whose rows are multiplied
 * together (RV vectors of rows). A block of weights is unpacked once into scratch, where the first
 * level of cache keeps it while all tokens pass. */
#include "kernels/template/panel.h"

enum { RV = SET_PANELS * NV, SET_ROWS = SET_PANELS * EK_PANEL_ROWS };

/* The first GEMM_MEMORY bytes of EK_GEMM_SCRATCH. */
enum { GEMM_MEMORY = 40960 };
struct gemm_memory {
    uint8_t *weights; /* f32: [k][RV][VL]; i8: [k / 4][RV][VL][4]; 32 KiB at most */
    float   *scales;  /* [group][RV][VL] */
    float   *minima;  /* [group][RV][VL] */
};
EK_INLINE struct gemm_memory gemm_memory_at(void *scratch)
{
    uint8_t *p = scratch;
    return (struct gemm_memory){p, (float *)(void *)(p + 32768), (float *)(void *)(p + 36864)};
}

/* Prefetches a rectangle of bytes, some lines at a time: the raw weights of the next K block. */
struct feeder {
    const uint8_t *row;
    size_t         stride, row_bytes, rows, at, lines; /* lines: per call */
};
EK_INLINE struct feeder feeder_make(const uint8_t *first, size_t stride, size_t row_bytes,
                                    size_t rows, size_t calls)
{
    const size_t lines = (row_bytes + 63) / 64 * rows;
    return (struct feeder){first, stride, row_bytes, rows, 0, (lines + calls - 1) / calls};
}
EK_INLINE void feed(struct feeder *f)
{
    for (size_t i = 0; i < f->lines && f->rows; i++) {
        prefetch_far(f->row + f->at);
        f->at += 64;
        if (f->at >= f->row_bytes) f->at = 0, f->row += f->stride, f->rows--;
    }
}

/* Where the sums of a set of rows lie: in y itself, from K block to K block. */
struct set_out {
    float *y; /* first token, row 0 of the matrix */
    size_t ldy, row, begin, end;
};
EK_INLINE vf load_out(const struct set_out *o, size_t token, size_t r)
{
    const size_t row = o->row + r * VL;
    const float *y   = o->y + token * o->ldy;
    if (row >= o->begin && row + VL <= o->end) return v_load(y + row);
    float lane[VL] = {0};
    for (size_t i = 0; i < VL; i++)
        if (row + i >= o->begin && row + i < o->end) lane[i] = y[row + i];
    return v_load(lane);
}
EK_INLINE void store_out(const struct set_out *o, size_t token, size_t r, vf v)
{
    store_rows(o->y + token * o->ldy, v, o->row + r * VL, o->begin, o->end);
}
/* The sums of the tile after this one: y is large and has left the near caches. */
EK_INLINE void fetch_out(const struct set_out *o, size_t token, size_t tokens)
{
    for (size_t i = 0; i < tokens; i++) {
        EK_UNROLL
        for (size_t line = 0; line < SET_ROWS; line += 16)
            prefetch(o->y + (token + i) * o->ldy + o->row + line);
    }
}
