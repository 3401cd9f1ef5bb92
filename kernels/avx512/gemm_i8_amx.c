/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/gemm_i8_amx.c - packed GEMM, 8-bit activations, AMX: 16 tokens x 16 rows at a
 * time, a group's sums in a tile register, float sums of all groups in sixteen vectors.
 *
 * A group's sums leave the tile register through memory, are scaled and added as vectors. While
 * tiles are at work a core does one 512-bit float instruction a cycle, not two, and with groups of
 * 32 these are the limit: to convert, to multiply by both scales and to add would be 48 cycles
 * where tiles need 32. So there codes and activations are multiplied as bf16, which holds both
 * exactly, and whose sums are f32 already: exact too, at most 32 * 128 * 127. */
#include "kernels/avx512/amx.h"

#define SET_PANELS 2
#include "kernels/template/gemm.h"

#define FN(fmt) EK_KERNEL_SYM(gemm_i8, fmt, avx512, _amx)

enum {
    T       = EK_TILE_AMX,
    COLUMNS = 512,    /* of a K block: its weights stay in the first level of cache; bf16: half */
    CHUNK   = 16,     /* tiles of tokens: their activations stay in the second; bf16: half      */
    DEEP    = 4096,   /* columns of a pass; between passes y carries the sums                   */
    CELL    = T * VL, /* sums of 16 tokens and 16 rows                                          */
    AHEAD   = 2,      /* stored groups that tile registers are ahead of vectors                 */
    RING    = 4,      /* at least AHEAD + 1                                                     */
};

/* Is this format multiplied as bf16? Then an operand has two bytes. */
EK_INLINE int is_wide(const struct ek_geometry *f)
{
    return f->group == 32;
}
EK_INLINE size_t operand(const struct ek_geometry *f)
{
    return is_wide(f) ? 2 : 1;
}

/* The scratch, behind struct gemm_memory's part. */
struct amx_memory {
    float *ring;   /* [RING][token][row]: sums of a group, f32 if wide, else int32 */
    float *shares; /* [group][token]: factors of a group's minimum                 */
    float *sums;   /* [tile][panel][token][row]                                    */
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
    return (struct amx_memory){(float *)(void *)(p + RING_AT), (float *)(void *)(p + SHARES_AT),
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
    int                           first;       /* sums start at zero   */
};
typedef void block_fn(const struct block *b);

/* ---- unpacking: [panel][column / 4][row][4] signed bytes, or [panel][column / 2][row][2] bf16,
 * which is the upper half of f32 ---- */

EK_INLINE void unpack_bytes(const struct ek_geometry *f, const uint8_t *codes, uint8_t *out)
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

/* Columns c and c + 1 of each row's four signed bytes. */
EK_INLINE vi bf16_pair(vi q, int c)
{
    const vi a = c ? i_sll(q, 8) : i_sll(q, 24), b = c ? q : i_sll(q, 16);
    const vi low  = i_srl(_mm512_castps_si512(i_to_float(i_sra(a, 24))), 16);
    const vi high = _mm512_castps_si512(i_to_float(i_sra(b, 24)));
    return _mm512_mask_blend_epi16(0xAAAAAAAA, low, high);
}

/* The numbers of codes in the lower four bits of words; the bit above does not count. */
EK_INLINE vi bf16_of(const struct ek_geometry *f, vi q)
{
    static const uint16_t value[24] = {
        0xC100, 0xC0E0, 0xC0C0, 0xC0A0, 0xC080, 0xC040, 0xC000, 0xBF80, /* -8 .. -1 */
        0x0000, 0x3F80, 0x4000, 0x4040, 0x4080, 0x40A0, 0x40C0, 0x40E0, /*  0 ..  7 */
        0x4100, 0x4110, 0x4120, 0x4130, 0x4140, 0x4150, 0x4160, 0x4170, /*  8 .. 15 */
    };
    const uint16_t *first = value + (f->kind == EK_FMT_SYM ? 0 : 8);
    const __m256i   table = _mm256_loadu_si256((const __m256i *)(const void *)first);
    return _mm512_permutexvar_epi16(q, _mm512_broadcast_i64x4(table));
}

EK_INLINE void unpack_bf16(const struct ek_geometry *f, const uint8_t *codes, uint8_t *out)
{
    /* bytes 2 i and 2 i + 1 of each dword, as words */
    const vi dword  = _mm512_broadcast_i32x4(_mm_set_epi32(0x000C000C, 0x00080008, 0x00040004, 0));
    const vi two[2] = {i_or(dword, i_set((int)0x80018000u)), i_or(dword, i_set((int)0x80038002u))};
    for (size_t c = 0; c < f->group; c += 32 / f->bits, codes += 64) {
        const vi q = i_load(codes);
        EK_UNROLL
        for (int i = 0; i < 2; i++, out += 64) {
            if (f->bits == 8) {
                _mm512_store_si512(out, bf16_pair(i_xor(q, _mm512_set1_epi8(-128)), 2 * i));
                continue;
            }
            const vi pair = _mm512_shuffle_epi8(q, two[i]);
            _mm512_store_si512(out, bf16_of(f, pair));
            _mm512_store_si512(out + 128, bf16_of(f, _mm512_srli_epi16(pair, 4)));
        }
        if (f->bits == 4) out += 128;
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
        const uint8_t *codes = w + ek_group_offset(f, col);
        uint8_t       *out   = b->mem.weights + at * EK_PANEL_ROWS * operand(f);
        vf             scale = v_set(0.0f), minimum = v_set(0.0f);
        if (is_wide(f))
            unpack_bf16(f, codes, out);
        else
            unpack_bytes(f, codes, out);
        group_scale(f, head, 0, col % f->block / f->group, &sb, &scale, &minimum);
        v_store(b->mem.scales + at / f->group * VL, scale);
        if (f->kind != EK_FMT_SYM) v_store(b->mem.minima + at / f->group * VL, minimum);
    }
}

/* ---- one tile of tokens times the panels ---- */

struct tile {
    const uint8_t *x;     /* this K block of the tile: [run][token][64 bytes] */
    const float   *d;     /* its scales                                       */
    float         *sums;  /* [panel][token][row]                              */
    const uint8_t *next;  /* x of the tile after it, fetched meanwhile:       */
    size_t         fetch; /* so many lines with each group                    */
};

/* The way of the tile registers through the groups of all panels. */
struct walk {
    const uint8_t *x, *w;
    const uint8_t *start, *end; /* where x starts again with each panel */
    float         *ring;
    size_t         group, count;
};

/* A group's sums into tile register `sum`, by way of registers `a` and `b`. */
#define DOT_GROUP(f, walk, sum, a, b)                                                              \
    do {                                                                                           \
        TILE_ZERO(sum);                                                                            \
        EK_UNROLL                                                                                  \
        for (size_t at = 0; at < (f)->group * operand(f) * T; at += TILE_ROWS * TILE_BYTES) {      \
            TILE_LOAD(a, (walk)->x + at);                                                          \
            TILE_LOAD(b, (walk)->w + at);                                                          \
            if (is_wide(f))                                                                        \
                TILE_DOT_BF16(sum, a, b);                                                          \
            else                                                                                   \
                TILE_DOT(sum, a, b);                                                               \
        }                                                                                          \
    } while (0)

/* Starts a group and stores the sums of the one before it: a product takes 52 cycles to its end,
 * but every 16 cycles one can start. */
EK_INLINE void next_group(const struct ek_geometry *f, struct walk *w)
{
    float       *before = w->ring + (w->group + RING - 1) % RING * CELL;
    const size_t step   = f->group * operand(f) * T;
    if (w->group % 2 == 0) {
        if (w->group < w->count) DOT_GROUP(f, w, 0, 4, 6);
        if (w->group && w->group <= w->count) TILE_STORE(before, 1);
    } else {
        if (w->group < w->count) DOT_GROUP(f, w, 1, 5, 7);
        if (w->group <= w->count) TILE_STORE(before, 0);
    }
    w->group++, w->w += step;
    w->x = w->x + step == w->end ? w->start : w->x + step;
}

/* acc += scale * d * dot + minimum * share, each token. */
EK_INLINE void add_group(const struct ek_geometry *f, int per_token, const float *dots,
                         const float *scales, const float *minima, const float *d,
                         const float *share, vf acc[T])
{
    const vf scale = v_load(scales);
    EK_UNROLL
    for (size_t i = 0; i < T; i++) {
        const vf s   = per_token ? scale : v_mul(scale, v_set(d[i]));
        const vf dot = is_wide(f) ? v_load(dots + i * VL) : i_to_float(i_load(dots + i * VL));
        acc[i]       = v_fma(dot, s, acc[i]);
    }
    if (f->kind == EK_FMT_SYM) return;
    const vf minimum = v_load(minima);
    EK_UNROLL
    for (size_t i = 0; i < T; i++) acc[i] = v_fma(minimum, v_set(share[i]), acc[i]);
}

EK_INLINE void tile_panels(const struct ek_geometry *f, int per_token, const struct block *b,
                           const struct tile *t)
{
    struct walk    w      = {.x     = t->x,
                             .w     = b->mem.weights,
                             .start = t->x,
                             .end   = t->x + b->width * operand(f) * T,
                             .ring  = b->own.ring,
                             .count = b->width / f->group * b->panels};
    const float   *scales = b->mem.scales, *minima = b->mem.minima, *shares = b->own.shares;
    const uint8_t *next = t->next;
    float         *sums = t->sums;
    for (size_t i = 0; i < AHEAD + 1; i++) next_group(f, &w);
    for (size_t i = 0; i < w.count; sums += CELL) {
        const float *d = t->d, *share = shares;
        vf           acc[T];
        EK_UNROLL
        for (size_t j = 0; j < T; j++) acc[j] = b->first ? v_set(0.0f) : v_load(sums + j * VL);
        EK_NO_UNROLL
        for (size_t c = 0; c < b->width; c += f->group, i++, d += T, share += T) {
            next_group(f, &w);
            for (size_t j = 0; j < t->fetch; j++, next += 64) prefetch(next);
            add_group(f, per_token, b->own.ring + i % RING * CELL, scales, minima, d, share, acc);
            scales += VL, minima += VL;
        }
        EK_UNROLL
        for (size_t j = 0; j < T; j++) v_store(sums + j * VL, acc[j]);
    }
}

/* Where a tile's activations from column kb on lie, in bytes, and their scales, an index. */
struct place {
    size_t x, d;
};
EK_INLINE struct place place_of(const struct ek_geometry *f, const struct ek_gemm_i8_args *a,
                                size_t kb, size_t tile)
{
    const size_t block = kb / EK_GEMM_KB_I8 * EK_GEMM_KB_I8, tokens = (a->m + T - 1) / T * T;
    const size_t rest = a->k - block, width = rest < EK_GEMM_KB_I8 ? rest : EK_GEMM_KB_I8;
    const size_t at = block * tokens + tile * T * width + (kb - block) * T;
    return (struct place){at * operand(f), at / f->group};
}

EK_INLINE void block_tiles(const struct ek_geometry *f, int per_token, const struct block *b)
{
    const uint8_t *x      = (const uint8_t *)b->a->x;
    const size_t   groups = b->width / f->group, lines = b->width * operand(f) * T / 64;
    for (size_t i = 0; i < b->tiles; i++) {
        const struct place p = place_of(f, b->a, b->kb, b->tile + i);
        const struct place q = place_of(f, b->a, b->kb, b->tile + i + 1);
        const struct tile  t = {.x     = x + p.x,
                                .d     = b->a->xd + p.d,
                                .sums  = b->own.sums + i * SET_PANELS * CELL,
                                .next  = x + q.x,
                                .fetch = i + 1 < b->tiles ? lines / (groups * b->panels) : 0};
        for (size_t g = 0; f->kind != EK_FMT_SYM && g < groups; g++) {
            const vf sum = i_to_float(i_load(b->a->xs + p.d + g * T));
            v_store(b->own.shares + g * T, per_token ? sum : v_mul(sum, v_load(t.d + g * T)));
        }
        tile_panels(f, per_token, b, &t);
    }
}

/* ---- the end of a pass: sums to y ---- */

EK_INLINE void store_sums(const struct ek_geometry *f, const struct block *b)
{
    const struct ek_gemm_i8_args *a      = b->a;
    const int                     scaled = a->per_token && b->kb + b->width == a->k;
    for (size_t i = 0; i < b->tiles * T && b->tile * T + i < a->m; i++) {
        const size_t token = b->tile * T + i, first = place_of(f, a, 0, token / T).d + token % T;
        const float *sums  = b->own.sums + i / T * SET_PANELS * CELL + i % T * VL;
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
    for (size_t kb = pass; kb < end; kb += COLUMNS / operand(f)) {
        b->kb    = kb;
        b->width = end - kb < COLUMNS / operand(f) ? end - kb : COLUMNS / operand(f);
        b->first = kb == pass;
        for (size_t p = 0; p < b->panels; p++) unpack_panel(f, b, p);
        tiles_fn(b);
    }
    store_sums(f, b);
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
    const size_t chunk = CHUNK / operand(f), tiles = (a->m + T - 1) / T;
    const size_t panels = (end + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS;
    if (begin >= end) return;
    tiles_begin(TILE_BYTES);
    for (size_t pass = 0; pass < a->k; pass += DEEP)
        for (b.tile = 0; b.tile < tiles; b.tile += chunk) {
            b.tiles = tiles - b.tile < chunk ? tiles - b.tile : chunk;
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
