/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/probe_i8_amx.c - the roof of 8-bit products in tile registers. */
#include "kernels/avx512/amx.h"

/* One product of tiles is 16 x 16 x 16 four-wide dot products, that of 12 columns one step. */
enum { SHORT = 12, STEPS = 16, PRODUCTS = STEPS * EK_PEAK_LANE_OPS / (16 * 16 * 16) };
static_assert(PRODUCTS == 3 && SHORT / 4 * 16 * 16 == EK_PEAK_LANE_OPS, "products below");

/* A tile whose dwords are all `value`: of four products one counts. */
static void fill(struct tile_block *t, int value)
{
    for (size_t i = 0; i < sizeof t->bytes; i += 64)
        _mm512_storeu_si512(t->bytes + i, i_set(value));
}

/* The sum that one element of tile registers 0 to 2 holds. */
static int total(void)
{
    struct tile_block t[3];
    int               first, sum = 0;
    TILE_STORE(&t[0], 0);
    TILE_STORE(&t[1], 1);
    TILE_STORE(&t[2], 2);
    for (size_t i = 0; i < 3; i++) {
        memcpy(&first, t[i].bytes, sizeof first);
        sum += first;
    }
    return sum;
}

static void load(const struct tile_block *x, const struct tile_block *w)
{
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_LOAD(4, x, TILE_BYTES);
    TILE_LOAD(6, w, TILE_BYTES);
}

void EK_KERNEL_SYM(peak_i8, f32, avx512, _amx)(const struct ek_peak_i8_args *a, size_t begin,
                                               size_t end)
{
    for (size_t i = begin; i < end; i++) {
        struct tile_block x, w;
        fill(&x, 1), fill(&w, (int)(1 + i % 7));
        tiles_begin(64);
        load(&x, &w);
        for (size_t n = 0; n < a->iters / STEPS; n++) {
            TILE_DOT(0, 4, 6);
            TILE_DOT(1, 4, 6);
            TILE_DOT(2, 4, 6);
        }
        int sum = total();
        tiles_begin(SHORT);
        load(&x, &w);
        for (size_t n = 0; n < a->iters % STEPS; n++) TILE_DOT(0, 4, 6);
        sum += total();
        tiles_end();
        a->out[i] = (float)(sum / PRODUCTS);
    }
}
