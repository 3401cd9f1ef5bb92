/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/gemm_i8_amx.c - packed GEMM, 8-bit activations, AMX: 16 tokens x 16 rows at a
 * time, integer sums of a group in a tile register, float sums in sixteen vectors.
 *
 * Tile registers end at a group: its sums go through memory into vectors, are scaled and added
 * there. For groups of 32 that work, three vector instructions for 16 x 32 products, is the limit.
 * Unpacked, PANEL16 is the order of the second operand. */
#include "kernels/avx512/amx.h"

#define SET_PANELS 4
#include "kernels/template/gemm.h"

#define FN(fmt) EK_KERNEL_SYM(gemm_i8, fmt, avx512, _amx)

enum {
    T       = EK_TILE_AMX,
    COLUMNS = 512,    /* of a K block: its weights stay in the first level of cache        */
    CHUNK   = 16,     /* tiles of tokens: activations of 4096 columns stay in the second   */
    DEEP    = 4096,   /* columns of a pass; between passes y carries the sums              */
    CELL    = T * VL, /* sums of 16 tokens and 16 rows */
    GROUPS  = COLUMNS / 32,
    AHEAD   = 2, /* groups that tile registers are ahead of vectors  */
    RING    = 4,
};

/* After gemm.h's 40 KiB. */
struct amx_memory {
    float   *sums;   /* [tile][panel][token][row] */
    int32_t *ring;   /* [RING][token][row]: sums of a group */
    float   *shares; /* [group][token]: what a minimum is multiplied with */
};
EK_INLINE struct amx_memory amx_memory_at(void *scratch)
{
    uint8_t *p    = (uint8_t *)scratch + 40960;
    float   *sums = (float *)(void *)(p + 8192);
    return (struct amx_memory){sums, (int32_t *)(void *)p, (float *)(void *)(p + 4096)};
}
static_assert(40960 + 8192 + CHUNK * SET_PANELS * CELL * sizeof(float) <= EK_GEMM_SCRATCH,
              "scratch");

/* Up to four panels, one K block, one chunk of tokens. */
struct block {
    const struct ek_gemm_i8_args *a;
    struct gemm_memory            mem;
    struct amx_memory             own;
    size_t                        row, panels, begin, end; /* rows */
    size_t                        kb, width;               /* columns */
    size_t                        tile, tiles;             /* of tokens */
    int                           first, last;             /* K block: of the pass; of all       */
    int                           into_y;                  /* the pass ends: sums go to y      */
};
typedef void block_fn(const struct block *b);

/* ---- unpacking ---- */

EK_INLINE void unpack_codes(const struct ek_geometry *f, const uint8_t *codes, int8_t *out)
{
    const vi zero = _mm512_set1_epi8(f->kind != EK_FMT_SYM ? 0 : f->bits == 8 ? -128 : 8);
    for (size_t c = 0; c < f->group; c += 8, codes += 16 * f->bits, out += 128) {
        const vi q = i_load(codes), low = _mm512_set1_epi8(15);
        vi       a = q, b;
        if (f->bits == 8)
            b = i_load(codes + 64);
        else
            a = i_and(q, low), b = i_and(_mm512_srli_epi16(q, 4), low);
        _mm512_store_si512(out, _mm512_sub_epi8(a, zero));
        _mm512_store_si512(out + 64, _mm512_sub_epi8(b, zero));
    }
}

EK_INLINE void unpack_panel(const struct ek_geometry *f, const struct block *b, size_t p)
{
    const uint8_t *w =
        (const uint8_t *)b->a->w + (b->row / EK_PANEL_ROWS + p) * ek_panel_bytes(f, b->a->k);
    struct super_bytes sb = {i_set(0), i_set(0)};
    for (size_t c = 0; c < b->width; c += f->group) {
        const size_t   col = b->kb + c, at = (p * GROUPS + c / f->group) * VL;
        const uint8_t *head  = w + col / f->block * ek_block_bytes(f);
        vf             scale = v_set(0.0f), minimum = v_set(0.0f);
        unpack_codes(f, w + ek_group_offset(f, col),
                     (int8_t *)b->mem.weights + (p * COLUMNS + c) * EK_PANEL_ROWS);
        group_scale(f, head, 0, col % f->block / f->group, &sb, &scale, &minimum);
        v_store(b->mem.scales + at, scale);
        if (f->kind != EK_FMT_SYM) v_store(b->mem.minima + at, minimum);
    }
}

/* ---- one tile of tokens times the panels ---- */

struct tile {
    const int8_t *x; /* of the tile, K block of the layout */
    const float  *d; /* scales, first group of this K block */
    size_t        col, width;
    size_t        token, real;
};

/* Where column c of a tile of activations is, and how far it is to the next token's. */
EK_INLINE const int8_t *x_at(const struct tile *t, size_t c, size_t *stride)
{
    const size_t run = c / 64 * 64;
    *stride          = t->width - run < 64 ? t->width - run : 64;
    return t->x + run * T + c % 64;
}

/* Integer sums of one group into the ring. */
EK_INLINE void dot_group(const struct ek_geometry *f, const struct block *b, const struct tile *t,
                         size_t panel, size_t group, size_t slot)
{
    const int8_t *w =
        (const int8_t *)b->mem.weights + (panel * COLUMNS + group * f->group) * EK_PANEL_ROWS;
    int32_t *out = b->own.ring + slot * CELL;
    size_t   stride;
    TILE_ZERO(0);
    EK_UNROLL
    for (size_t c = 0; c < f->group; c += 64) {
        const int8_t *x = x_at(t, t->col + group * f->group + c, &stride);
        TILE_LOAD(4, x, stride);
        TILE_LOAD(6, w + c * EK_PANEL_ROWS, 64);
        TILE_DOT(0, 4, 6);
    }
    TILE_STORE(out, 64, 0);
}

EK_INLINE void add_group(const struct ek_geometry *f, int per_token, const struct block *b,
                         const struct tile *t, size_t panel, size_t group, size_t slot, vf acc[T])
{
    const int32_t *dot   = b->own.ring + slot * CELL;
    const size_t   at    = (panel * GROUPS + group) * VL;
    const vf       scale = v_load(b->mem.scales + at);
    const float   *d = t->d + group * T, *share = b->own.shares + group * T;
    EK_UNROLL
    for (size_t i = 0; i < T; i++) {
        const vf s = per_token ? scale : v_mul(scale, v_set(d[i]));
        acc[i]     = v_fma(i_to_float(i_load(dot + i * VL)), s, acc[i]);
    }
    if (f->kind == EK_FMT_SYM) return;
    const vf minimum = v_load(b->mem.minima + at);
    EK_UNROLL
    for (size_t i = 0; i < T; i++) acc[i] = v_fma(minimum, v_set(share[i]), acc[i]);
}

EK_INLINE void load_sums(const struct block *b, const struct tile *t, size_t panel,
                         const float *kept, vf acc[T])
{
    const struct set_out out = {b->a->y, b->a->ldy, b->row, b->begin, b->end};
    EK_UNROLL
    for (size_t i = 0; i < T; i++) {
        acc[i] = v_set(0.0f);
        if (!b->first)
            acc[i] = v_load(kept + i * VL);
        else if (b->kb && i < t->real)
            acc[i] = load_out(&out, t->token + i, panel);
    }
}

EK_INLINE void store_sums(int per_token, const struct block *b, const struct tile *t, size_t panel,
                          const float *token_scale, float *kept, const vf acc[T])
{
    const struct set_out out = {b->a->y, b->a->ldy, b->row, b->begin, b->end};
    EK_UNROLL
    for (size_t i = 0; i < T; i++) {
        if (!b->into_y)
            v_store(kept + i * VL, acc[i]);
        else if (i < t->real)
            store_out(&out, t->token + i, panel,
                      per_token && b->last ? v_mul(acc[i], v_set(token_scale[i])) : acc[i]);
    }
}

EK_INLINE void tile_panels(const struct ek_geometry *f, int per_token, const struct block *b,
                           const struct tile *t, float *kept, const float *token_scale)
{
    const size_t groups = b->width / f->group;
    for (size_t p = 0; p < b->panels; p++, kept += CELL) {
        vf acc[T];
        for (size_t g = 0; g < AHEAD && g < groups; g++) dot_group(f, b, t, p, g, g);
        load_sums(b, t, p, kept, acc);
        for (size_t g = 0; g < groups; g++) {
            if (g + AHEAD < groups) dot_group(f, b, t, p, g + AHEAD, (g + AHEAD) % RING);
            add_group(f, per_token, b, t, p, g, g % RING, acc);
        }
        store_sums(per_token, b, t, p, token_scale, kept, acc);
    }
}

EK_INLINE void block_tiles(const struct ek_geometry *f, int per_token, const struct block *b)
{
    const struct ek_gemm_i8_args *a = b->a;
    const size_t         tiles = (a->m + T - 1) / T, kb = b->kb / EK_GEMM_KB_I8 * EK_GEMM_KB_I8;
    const size_t         width = a->k - kb < EK_GEMM_KB_I8 ? a->k - kb : EK_GEMM_KB_I8;
    const size_t         once  = a->k < EK_GEMM_KB_I8 ? a->k : EK_GEMM_KB_I8;
    const struct set_out out   = {a->y, a->ldy, b->row, b->begin, b->end};
    for (size_t i = 0; i < b->tiles; i++) {
        const size_t      tile = b->tile + i, left = a->m - tile * T;
        const size_t      cell = (kb * tiles + tile * width) * T;
        const size_t      at   = cell / f->group + (b->kb - kb) / f->group * T;
        const struct tile t    = {.x     = a->x + cell,
                                  .d     = a->xd + at,
                                  .col   = b->kb - kb,
                                  .width = width,
                                  .token = tile * T,
                                  .real  = left < T ? left : T};
        if (b->into_y && left > T) fetch_out(&out, t.token + T, left - T < T ? left - T : T);
        for (size_t g = 0; f->kind != EK_FMT_SYM && g < b->width / f->group; g++) {
            const vf sum = i_to_float(i_load(a->xs + at + g * T));
            v_store(b->own.shares + g * T, per_token ? sum : v_mul(sum, v_load(t.d + g * T)));
        }
        tile_panels(f, per_token, b, &t, b->own.sums + i * SET_PANELS * CELL,
                    a->xd + tile * once / f->group * T);
    }
}

/* ---- all of it ---- */

EK_INLINE void set_pass(const struct ek_geometry *f, block_fn *tiles_fn, struct block *b,
                        size_t pass)
{
    const size_t k = b->a->k, end = k - pass < DEEP ? k : pass + DEEP;
    for (b->kb = pass; b->kb < end; b->kb += COLUMNS) {
        b->width  = end - b->kb < COLUMNS ? end - b->kb : COLUMNS;
        b->first  = b->kb == pass;
        b->into_y = b->kb + b->width == end;
        b->last   = b->kb + b->width == k;
        for (size_t p = 0; p < b->panels; p++) unpack_panel(f, b, p);
        tiles_fn(b);
    }
}

/* A chunk's activations stay in the second level of cache while all rows pass. */
EK_INLINE void gemm_range(const struct ek_geometry *f, block_fn *tiles_fn,
                          const struct ek_gemm_i8_args *a, size_t begin, size_t end)
{
    struct block b     = {.a     = a,
                          .mem   = gemm_memory_at(a->scratch),
                          .own   = amx_memory_at(a->scratch),
                          .begin = begin,
                          .end   = end};
    const size_t tiles = (a->m + T - 1) / T, panels = (end + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS;
    if (begin >= end) return;
    tiles_begin(f->group < 64 ? f->group : 64);
    for (size_t pass = 0; pass < a->k; pass += DEEP)
        for (b.tile = 0; b.tile < tiles; b.tile += CHUNK) {
            b.tiles = tiles - b.tile < CHUNK ? tiles - b.tile : CHUNK;
            for (size_t p = begin / EK_PANEL_ROWS; p < panels; p += SET_PANELS) {
                b.row    = p * EK_PANEL_ROWS;
                b.panels = panels - p < SET_PANELS ? panels - p : SET_PANELS;
                set_pass(f, tiles_fn, &b, pass);
            }
        }
    tiles_end();
}

#define DEFINE_GEMM_I8(fmt)                                                                        \
    static __attribute__((noinline)) void tiles_token_##fmt(const struct block *b)                 \
    {                                                                                              \
        block_tiles(&ek_geometry_##fmt, 1, b);                                                     \
    }                                                                                              \
    static __attribute__((noinline)) void tiles_group_##fmt(const struct block *b)                 \
    {                                                                                              \
        block_tiles(&ek_geometry_##fmt, 0, b);                                                     \
    }                                                                                              \
    void FN(fmt)(const struct ek_gemm_i8_args *a, size_t begin, size_t end)                        \
    {                                                                                              \
        gemm_range(&ek_geometry_##fmt, a->per_token ? tiles_token_##fmt : tiles_group_##fmt, a,    \
                   begin, end);                                                                    \
    }
DEFINE_GEMM_I8(q8g32)
DEFINE_GEMM_I8(q4g32)
DEFINE_GEMM_I8(q4g64)
DEFINE_GEMM_I8(q4g128)
DEFINE_GEMM_I8(q4g32m)
DEFINE_GEMM_I8(q4k)
