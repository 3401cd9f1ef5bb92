/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/gemm_i8_amx.c - packed GEMM, 8-bit activations, AMX: 16 tokens x 16 rows at a
 * time, a group's integer sums in a tile register, float sums of all groups in sixteen vectors.
 * A group's sums leave the tile register through memory, are scaled and added as vectors; that, not
 * the products, sets the speed (docs/kernels.md). Unpacked, PANEL16 is the order of an operand. */
#include "kernels/avx512/amx.h"

#define SET_PANELS 2
#include "kernels/template/gemm.h"

#define FN(fmt) EK_KERNEL_SYM(gemm_i8, fmt, avx512, _amx)

enum {
    T       = EK_TILE_AMX,
    COLUMNS = 512,    /* of a K block: its weights stay in the first level of cache             */
    CHUNK   = 16,     /* tiles of tokens: activations of DEEP columns stay in the second        */
    DEEP    = 4096,   /* columns of a pass; between passes y carries the sums                   */
    CELL    = T * VL, /* sums of 16 tokens and 16 rows                                          */
    AHEAD   = 2,      /* stored groups that tile registers are ahead of vectors                 */
    RING    = 4,      /* at least AHEAD + 1                                                     */
};

/* Columns of a tile of operands. */
EK_INLINE size_t run_of(const struct ek_geometry *f)
{
    return f->group < TILE_BYTES ? f->group : TILE_BYTES;
}

/* The scratch, behind struct gemm_memory's part. */
struct amx_memory {
    int32_t *ring;   /* [RING][token][row]: sums of a group          */
    float   *shares; /* [group][token]: factors of a group's minimum */
    float   *sums;   /* [tile][panel][token][row]                    */
};
enum {
    RING_AT   = GEMM_MEMORY,
    SHARES_AT = RING_AT + RING * CELL * 4,
    SUMS_AT   = SHARES_AT + COLUMNS / 32 * T * 4,
    USED      = SUMS_AT + CHUNK * SET_PANELS * CELL * 4
};
static_assert((int)USED <= (int)EK_GEMM_SCRATCH, "scratch");
EK_INLINE struct amx_memory amx_memory_at(void *scratch)
{
    uint8_t *p = scratch;
    return (struct amx_memory){(int32_t *)(void *)(p + RING_AT), (float *)(void *)(p + SHARES_AT),
                               (float *)(void *)(p + SUMS_AT)};
}

/* A set of panels, one K block, one chunk of tokens. */
struct block {
    const struct ek_gemm_i8_args *a;
    struct gemm_memory            mem;
    struct amx_memory             own;
    size_t                        begin, end;  /* rows that are wanted */
    size_t                        row, panels; /* of the set           */
    size_t                        kb, width;   /* columns              */
    size_t                        tile, tiles; /* of tokens            */
    int                           first, ends; /* block: of its pass   */
};
typedef void block_fn(const struct block *b);

/* ---- unpacking: [panel][column / 4][row][4], signed ---- */

EK_INLINE void unpack_codes(const struct ek_geometry *f, const uint8_t *codes, uint8_t *out)
{
    const vi zero = _mm512_set1_epi8(f->kind != EK_FMT_SYM ? 0 : f->bits == 8 ? -128 : 8);
    for (size_t c = 0; c < f->group; c += 8, codes += 16 * f->bits, out += 8 * EK_PANEL_ROWS) {
        const vi q = i_load(codes), low = _mm512_set1_epi8(15);
        const vi a = f->bits == 8 ? q : i_and(q, low);
        const vi b = f->bits == 8 ? i_load(codes + 64) : i_and(_mm512_srli_epi16(q, 4), low);
        _mm512_store_si512(out, _mm512_sub_epi8(a, zero));
        _mm512_store_si512(out + 64, _mm512_sub_epi8(b, zero));
    }
}

EK_INLINE void unpack_panel(const struct ek_geometry *f, const struct block *b, size_t p)
{
    const size_t       panel = b->row / EK_PANEL_ROWS + p;
    const uint8_t     *w     = (const uint8_t *)b->a->w + panel * ek_panel_bytes(f, b->a->k);
    struct super_bytes sb    = {i_set(0), i_set(0)};
    for (size_t c = 0; c < b->width; c += f->group) {
        const size_t   col = b->kb + c, at = p * b->width + c;
        const uint8_t *head  = w + col / f->block * ek_block_bytes(f);
        vf             scale = v_set(0.0f), minimum = v_set(0.0f);
        unpack_codes(f, w + ek_group_offset(f, col), b->mem.weights + at * EK_PANEL_ROWS);
        group_scale(f, head, 0, col % f->block / f->group, &sb, &scale, &minimum);
        v_store(b->mem.scales + at / f->group * VL, scale);
        if (f->kind != EK_FMT_SYM) v_store(b->mem.minima + at / f->group * VL, minimum);
    }
}

/* ---- all tiles of tokens times the panels ---- */

/* The way of the tile registers through the groups: of each panel, then of each tile of tokens.
 * They are ahead of the vectors; past the last group they go over the last tile once more. */
struct walk {
    const uint8_t *x, *w;
    size_t         left;         /* groups of this panel                      */
    const uint8_t *start, *last; /* of this tile, of the last one             */
    size_t         tile_bytes;   /* from tile to tile                         */
    size_t         ahead;        /* from x to what is fetched: a part of the next tile's group */
    size_t         groups, panel, panels;
    const uint8_t *weights;
};

EK_INLINE void next_panel(const struct ek_geometry *f, struct walk *w)
{
    if (++w->panel == w->panels) {
        w->panel = 0, w->w = w->weights;
        if (w->start != w->last) w->start += w->tile_bytes;
    }
    w->x = w->start, w->left = w->groups;
    w->ahead = w->tile_bytes + w->panel * (f->group * T / SET_PANELS);
}

/* A group's sums into tile register `sum`, by way of registers `a` and `b`. */
#define DOT_GROUP(f, walk, sum, a, b)                                                              \
    do {                                                                                           \
        TILE_ZERO(sum);                                                                            \
        EK_UNROLL                                                                                  \
        for (size_t at = 0; at < (f)->group * T; at += run_of(f) * T) {                            \
            TILE_LOAD(a, (walk)->x + at, run_of(f));                                               \
            TILE_LOAD(b, (walk)->w + at, TILE_BYTES);                                              \
            TILE_DOT(sum, a, b);                                                                   \
        }                                                                                          \
    } while (0)

/* Starts group i and stores the sums of the one before it: a product takes 52 cycles to its end,
 * but every 16 cycles one can start. On the way it fetches the next tile of tokens. */
EK_INLINE void next_group(const struct ek_geometry *f, struct walk *w, int32_t *ring, size_t i)
{
    int32_t     *before = ring + (i + RING - 1) % RING * CELL;
    const size_t step   = f->group * T;
    if (i % 2 == 0) {
        DOT_GROUP(f, w, 0, 4, 6);
        TILE_STORE(before, 1);
    } else {
        DOT_GROUP(f, w, 1, 5, 7);
        TILE_STORE(before, 0);
    }
    EK_UNROLL
    for (size_t at = 0; at < step / SET_PANELS; at += 64) prefetch(w->x + w->ahead + at);
    w->w += step, w->x += step;
    if (--w->left == 0) next_panel(f, w);
}

/* acc += scale * d * dot + minimum * share, each token. */
EK_INLINE void add_group(const struct ek_geometry *f, int per_token, const int32_t *dots,
                         const float *scales, const float *minima, const float *d,
                         const float *share, vf acc[T])
{
    const vf scale = v_load(scales);
    EK_UNROLL
    for (size_t i = 0; i < T; i++) {
        const vf s = per_token ? scale : v_mul(scale, v_set(d[i]));
        acc[i]     = v_fma(i_to_float(i_load(dots + i * VL)), s, acc[i]);
    }
    if (f->kind == EK_FMT_SYM) return;
    const vf minimum = v_load(minima);
    EK_UNROLL
    for (size_t i = 0; i < T; i++) acc[i] = v_fma(minimum, v_set(share[i]), acc[i]);
}

/* The sums of the panels and one tile of tokens, whose scales and factors are d and share. */
EK_INLINE void tile_panels(const struct ek_geometry *f, int per_token, const struct block *b,
                           struct walk *walk, size_t *done, const float *d, float *sums)
{
    const size_t groups = b->width / f->group;
    const float *scales = b->mem.scales, *minima = b->mem.minima;
    int32_t     *ring = b->own.ring;
    struct walk  w    = *walk;
    size_t       i    = *done;
    for (size_t p = 0; p < b->panels; p++, sums += CELL) {
        vf acc[T];
        EK_UNROLL
        for (size_t j = 0; j < T; j++) acc[j] = b->first ? v_set(0.0f) : v_load(sums + j * VL);
        EK_NO_UNROLL
        for (size_t g = 0; g < groups; g++, i++) {
            next_group(f, &w, ring, i + AHEAD + 1);
            add_group(f, per_token, ring + i % RING * CELL, scales, minima, d + g * T,
                      b->own.shares + g * T, acc);
            scales += VL, minima += VL;
        }
        EK_UNROLL
        for (size_t j = 0; j < T; j++) v_store(sums + j * VL, acc[j]);
    }
    *walk = w, *done = i;
}

/* Where a tile's activations from column kb on lie; those of its scales are these / group. */
EK_INLINE size_t place_of(const struct ek_gemm_i8_args *a, size_t kb, size_t tile)
{
    const size_t block = kb / EK_GEMM_KB_I8 * EK_GEMM_KB_I8, tokens = (a->m + T - 1) / T * T;
    const size_t rest = a->k - block, width = rest < EK_GEMM_KB_I8 ? rest : EK_GEMM_KB_I8;
    return block * tokens + tile * T * width + (kb - block) * T;
}

/* What is read and written after this block, a share with each tile: the weights of the next block,
 * or of the next set of panels, and, when this block ends a pass, the lines of y. */
EK_INLINE void fetch_ahead(const struct ek_geometry *f, const struct block *b, size_t tile)
{
    const struct ek_gemm_i8_args *a     = b->a;
    const size_t                  bytes = ek_panel_bytes(f, a->k), next = b->kb + b->width;
    const size_t                  panel = b->row / EK_PANEL_ROWS + (b->ends ? SET_PANELS : 0);
    const size_t                  col   = b->ends ? b->kb / DEEP * DEEP : next;
    const uint8_t *w = (const uint8_t *)a->w + panel * bytes + col / f->block * ek_block_bytes(f);
    const size_t   lines = (COLUMNS / f->block * ek_block_bytes(f) / 64 + b->tiles - 1) / b->tiles;
    for (size_t i = 0; i < SET_PANELS; i++)
        for (size_t j = 0; j < lines; j++) prefetch_far(w + i * bytes + (tile * lines + j) * 64);
    if (!b->ends) return;
    for (size_t i = 0; i < T; i++)
        for (size_t j = 0; j < SET_PANELS; j++)
            prefetch_far(a->y + ((b->tile + tile) * T + i) * a->ldy + b->row + j * VL);
}

EK_INLINE void block_tiles(const struct ek_geometry *f, int per_token, const struct block *b)
{
    const struct ek_gemm_i8_args *a      = b->a;
    const uint8_t                *x      = (const uint8_t *)a->x;
    const size_t                  groups = b->width / f->group;
    const size_t                  first  = place_of(a, b->kb, b->tile);
    const size_t                  stride = place_of(a, b->kb, b->tile + 1) - first;
    struct walk                   walk   = {.x          = x + first,
                                            .w          = b->mem.weights,
                                            .left       = groups,
                                            .start      = x + first,
                                            .last       = x + first + (b->tiles - 1) * stride,
                                            .tile_bytes = stride,
                                            .ahead      = stride,
                                            .groups     = groups,
                                            .panels     = b->panels,
                                            .weights    = b->mem.weights};
    size_t                        done   = 0;
    for (size_t i = 0; i < AHEAD + 1; i++) next_group(f, &walk, b->own.ring, i);
    for (size_t i = 0; i < b->tiles; i++) {
        fetch_ahead(f, b, i);
        const size_t at = (first + i * stride) / f->group;
        for (size_t g = 0; f->kind != EK_FMT_SYM && g < groups; g++) {
            const vf sum = i_to_float(i_load(a->xs + at + g * T));
            const vf d   = per_token ? v_set(1.0f) : v_load(a->xd + at + g * T);
            v_store(b->own.shares + g * T, v_mul(sum, d));
        }
        tile_panels(f, per_token, b, &walk, &done, a->xd + at, b->own.sums + i * SET_PANELS * CELL);
    }
}

/* ---- the end of a pass: sums to y ---- */

EK_INLINE void store_sums(const struct ek_geometry *f, const struct block *b)
{
    const struct ek_gemm_i8_args *a      = b->a;
    const int                     scaled = a->per_token && b->kb + b->width == a->k;
    for (size_t i = 0; i < b->tiles * T && b->tile * T + i < a->m; i++) {
        const size_t token = b->tile * T + i;
        const float *sums  = b->own.sums + i / T * SET_PANELS * CELL + i % T * VL;
        const size_t first = place_of(a, 0, token / T) / f->group + token % T;
        const vf     scale = v_set(scaled ? a->xd[first] : 1.0f);
        for (size_t p = 0; p < b->panels; p++, sums += CELL) {
            const size_t    row    = b->row + p * EK_PANEL_ROWS;
            const size_t    skip   = row < b->begin ? b->begin - row : 0;
            const size_t    stop   = b->end - row < VL ? b->end - row : VL;
            const __mmask16 wanted = (__mmask16)(lanes(stop) & ~lanes(skip));
            float          *y      = a->y + token * a->ldy + row;
            vf              v      = v_load(sums);
            if (b->kb >= DEEP) v = v_add(v, _mm512_maskz_loadu_ps(wanted, y));
            _mm512_mask_storeu_ps(y, wanted, v_mul(v, scale));
        }
    }
}

/* ---- all of it ---- */

EK_INLINE void set_pass(const struct ek_geometry *f, block_fn *tiles_fn, struct block *b,
                        size_t pass)
{
    const size_t k = b->a->k, end = k - pass < DEEP ? k : pass + DEEP;
    for (size_t kb = pass; kb < end; kb += COLUMNS) {
        b->kb    = kb;
        b->width = end - kb < COLUMNS ? end - kb : COLUMNS;
        b->first = kb == pass;
        b->ends  = kb + b->width == end;
        for (size_t p = 0; p < b->panels; p++) unpack_panel(f, b, p);
        tiles_fn(b);
    }
    store_sums(f, b);
}

/* A chunk's activations stay in the second level of cache while all rows pass. */
EK_INLINE void gemm_range(const struct ek_geometry *f, block_fn *tiles_fn,
                          const struct ek_gemm_i8_args *a, size_t begin, size_t end)
{
    struct block b      = {.a     = a,
                           .mem   = gemm_memory_at(a->scratch),
                           .own   = amx_memory_at(a->scratch),
                           .begin = begin,
                           .end   = end};
    const size_t tiles  = (a->m + T - 1) / T;
    const size_t panels = (end + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS;
    if (begin >= end) return;
    tiles_begin(run_of(f));
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
