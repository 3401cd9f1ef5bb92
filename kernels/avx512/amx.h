/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/amx.h - tile registers: their shapes, and the instructions as statements. A tile's
 * number is part of the instruction, so it has to be a literal. */
#ifndef EK_AVX512_AMX_H
#define EK_AVX512_AMX_H
#include "kernels/avx512/simd.h"

enum { TILE_ROWS = 16, TILE_BYTES = 64, TILE_REGS = 8 };

/* What LDTILECFG reads. */
struct tile_shapes {
    uint8_t  palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t  rows[16];
};

/* Registers 0 to 3 are 16 x 16 sums; 4 and 5 hold 16 tokens, 6 and 7 16 rows of W, `bytes` of each
 * token and row: a multiple of 4, at most 64. */
EK_INLINE void tiles_begin(size_t bytes)
{
    struct tile_shapes s = {.palette = 1};
    for (size_t i = 0; i < TILE_REGS; i++) {
        s.row_bytes[i] = (uint16_t)(i == 4 || i == 5 ? bytes : TILE_BYTES);
        s.rows[i]      = (uint8_t)(i < 6 ? TILE_ROWS : bytes / 4);
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(s));
}
/* Gives the state back: nothing to save at the next switch of threads. */
EK_INLINE void tiles_end(void)
{
    __asm__ volatile("tilerelease" ::);
}

/* Memory is named to the compiler as the block of bytes that a whole tile may take. */
struct tile_block {
    uint8_t bytes[TILE_ROWS * TILE_BYTES];
};
#define TILE_ZERO(t) __asm__ volatile("tilezero %%tmm" #t ::)
#define TILE_LOAD(t, p, stride)                                                                    \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #t ::"r"(p), "r"((size_t)(stride)),              \
                     "m"(*(const struct tile_block *)(const void *)(p)))
#define TILE_STORE(p, t)                                                                           \
    __asm__ volatile("tilestored %%tmm" #t ", (%1,%2,1)"                                           \
                     : "=m"(*(struct tile_block *)(void *)(p))                                     \
                     : "r"(p), "r"((size_t)TILE_BYTES))
/* sum += x w^T, both signed bytes. */
#define TILE_DOT(sum, x, w) __asm__ volatile("tdpbssd %%tmm" #w ", %%tmm" #x ", %%tmm" #sum ::)
#endif
