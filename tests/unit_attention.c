/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_attention.c - caches and attention as ops: against plain attention in double, rings,
 * windows, sinks, one token and many, refusals. */
#include "ek/ek.h"
#include "tests/driver.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const enum ek_fmt formats[] = {EK_FMT_f32, EK_FMT_f16, EK_FMT_bf16, EK_FMT_i8};
enum { FORMATS = sizeof formats / sizeof *formats };

static struct ek_kernels table;

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64);
    cr_assert_not_null(p);
    return p;
}
static float *randoms(size_t n, uint64_t seed, float by)
{
    float *x = malloc(n * sizeof *x);
    cr_assert_not_null(x);
    for (size_t i = 0; i < n; i++) x[i] = ek_randf(&seed) * by;
    return x;
}

/* A text of `len` tokens in a cache, and queries at its last m positions. */
struct text {
    struct ek_kv        kv;
    struct ek_attention a;
    size_t              len;
    float              *k, *v; /* [len][heads][dim] as the cache gives them back */
    float              *q, *y;
    int32_t            *pos, *q_pos, *slot; /* slot of each token */
};

static struct text make_text(enum ek_fmt fmt, size_t heads, size_t kv_heads, size_t dim, size_t len,
                             size_t slots, size_t m)
{
    struct text  t     = {.len = len};
    const size_t width = kv_heads * dim;
    size_t       bytes;
    cr_assert_eq(ek_kernels_default(&table), EK_OK);
    cr_assert_eq(ek_kv_bytes(fmt, kv_heads, dim, slots, &bytes), EK_OK);
    t.kv = (struct ek_kv){sizeof t.kv, fmt, kv_heads, dim, slots, aligned(bytes)};
    memset(t.kv.data, 0, bytes);
    t.k = randoms(len * width, 1, 1), t.v = randoms(len * width, 2, 1);
    t.q = randoms(m * (heads * dim + 3), 3, 5), t.y = randoms(m * (heads * dim + 3), 4, 1);
    t.slot = malloc(len * sizeof *t.slot), t.pos = malloc(slots * sizeof *t.pos);
    t.q_pos = malloc(m * sizeof *t.q_pos);
    for (size_t i = 0; i < slots; i++) t.pos[i] = -1;
    /* A ring: the token at position p lies in slot (7 p + 3) mod slots; 7 and slots are coprime. */
    for (size_t i = 0; i < len; i++) t.slot[i] = (int32_t)((7 * i + 3) % slots);
    for (size_t i = len > slots ? len - slots : 0; i < len; i++) t.pos[t.slot[i]] = (int32_t)i;
    for (size_t i = 0; i < m; i++) t.q_pos[i] = (int32_t)(len - m + i);
    for (size_t i = 0; i < len; i++) /* one by one: a ring overwrites */
        cr_assert_eq(ek_kv_store(&table, NULL, &t.kv, t.k + i * width, t.v + i * width, width, 1,
                                 t.slot + i),
                     EK_OK);
    for (size_t i = len > slots ? len - slots : 0; i < len; i++)
        cr_assert_eq(ek_kv_load(&t.kv, (size_t)t.slot[i], t.k + i * width, t.v + i * width), EK_OK);
    t.a = (struct ek_attention){.struct_size = sizeof t.a,
                                .kv_pos      = t.pos,
                                .used        = slots,
                                .q           = t.q,
                                .q_pos       = t.q_pos,
                                .y           = t.y,
                                .m           = m,
                                .heads       = heads,
                                .ldq         = heads * dim + 3,
                                .ldy         = heads * dim + 3,
                                .scale       = 1 / sqrtf((float)dim)};
    return t;
}
static void drop_text(struct text *t)
{
    free(t->kv.data), free(t->k), free(t->v), free(t->q), free(t->y);
    free(t->pos), free(t->q_pos), free(t->slot);
}

static ek_status run(struct text *t)
{
    size_t bytes = 0;
    t->a.kv      = &t->kv;
    ek_status s  = ek_attention_work_bytes(&table, &t->a, NULL, &bytes);
    if (s) return s;
    void *work = aligned(bytes);
    s          = ek_attention(&table, NULL, &t->a, work, bytes);
    free(work);
    return s;
}

static int sees(const struct text *t, size_t from, size_t token)
{
    if (token > from || (t->len > t->kv.slots && token < t->len - t->kv.slots)) return 0;
    return !t->a.window || from - token < t->a.window || token < t->a.sinks;
}

/* Largest difference to attention in double over what the cache holds, over all outputs. */
static double worst_error(const struct text *t)
{
    const size_t dim = t->kv.dim, group = t->a.heads / t->kv.heads;
    double       worst = 0, *w = malloc(t->len * sizeof *w);
    for (size_t i = 0; i < t->a.m * t->a.heads; i++) {
        const size_t row = i / t->a.heads, h = i % t->a.heads, from = (size_t)t->q_pos[row];
        const float *q   = t->q + row * t->a.ldq + h * dim;
        double       max = -(double)INFINITY, sum = 0;
        for (size_t j = 0; j < t->len; j++) {
            w[j] = -(double)INFINITY;
            if (!sees(t, from, j)) continue;
            w[j] = 0;
            for (size_t d = 0; d < dim; d++)
                w[j] += (double)q[d] * (double)t->k[(j * t->kv.heads + h / group) * dim + d];
            w[j] *= (double)t->a.scale;
            max = fmax(max, w[j]);
        }
        for (size_t j = 0; j < t->len; j++) sum += w[j] = sees(t, from, j) ? exp(w[j] - max) : 0;
        for (size_t d = 0; d < dim; d++) {
            double y = 0;
            for (size_t j = 0; j < t->len && sum > 0; j++)
                y += w[j] / sum * (double)t->v[(j * t->kv.heads + h / group) * dim + d];
            worst = fmax(worst, fabs(y - (double)t->y[row * t->a.ldy + h * dim + d]));
        }
    }
    free(w);
    return worst;
}

/* The query is rounded to 8 bit when one token meets an i8 cache. */
static double bound_of(enum ek_fmt fmt, size_t m)
{
    return fmt == EK_FMT_i8 && m == 1 ? 0.02 : 3e-6;
}

Test(attention, agrees_with_double)
{
    static const size_t heads[][2] = {{1, 1}, {4, 1}, {6, 2}, {12, 4}, {7, 1}, {14, 2}, {16, 2}};
    static const size_t dims[]     = {40, 64, 128};
    static const size_t counts[]   = {1, 2, 27};
    for (size_t f = 0; f < FORMATS; f++)
        for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
            for (size_t j = 0; j < 3; j++)
                for (size_t n = 0; n < 3; n++) {
                    struct text t = make_text(formats[f], heads[i][0], heads[i][1], dims[j], 100,
                                              121, counts[n]);
                    cr_assert_eq(run(&t), EK_OK);
                    const double e = worst_error(&t);
                    cr_assert(e <= bound_of(formats[f], counts[n]), "%s %zu/%zu x %zu m=%zu: %g",
                              ek_fmt_info(formats[f])->name, heads[i][0], heads[i][1], dims[j],
                              counts[n], e);
                    drop_text(&t);
                }
}

/* More than a chunk, a ring that has wrapped, windows and sinks. */
Test(attention, rings_windows_and_sinks)
{
    static const struct {
        size_t len, slots, window, sinks;
    } cases[] = {{1300, 1300, 0, 0},   {1300, 1301, 600, 0}, {1300, 1301, 64, 4}, {700, 513, 0, 0},
                 {700, 257, 100, 300}, {300, 1201, 1, 0},    {300, 302, 5, 1}};
    for (size_t f = 0; f < FORMATS; f++)
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            for (size_t m = 1; m < 80; m += 39) {
                struct text t = make_text(formats[f], 4, 2, 64, cases[i].len, cases[i].slots, m);
                t.a.window = cases[i].window, t.a.sinks = cases[i].sinks;
                cr_assert_eq(run(&t), EK_OK);
                const double e = worst_error(&t);
                cr_assert(e <= bound_of(formats[f], m), "%s case %zu m=%zu: %g",
                          ek_fmt_info(formats[f])->name, i, m, e);
                drop_text(&t);
            }
}

Test(attention, one_by_one_equals_many)
{
    for (size_t f = 0; f < 3; f++) {
        struct text t = make_text(formats[f], 6, 2, 96, 90, 93, 33), one = t;
        cr_assert_eq(run(&t), EK_OK);
        const size_t row = t.a.heads * t.kv.dim;
        float       *y   = randoms(row + 3, 9, 1);
        one.a.m = 1, one.a.y = y;
        for (size_t i = 0; i < t.a.m; i++) {
            one.a.q = t.q + i * t.a.ldq, one.a.q_pos = t.q_pos + i;
            cr_assert_eq(run(&one), EK_OK);
            for (size_t d = 0; d < row; d++)
                cr_assert_float_eq(y[d], t.y[i * t.a.ldy + d], 3e-6f, "%zu %zu", i, d);
        }
        free(y), drop_text(&t);
    }
}

/* Empty slots may hold anything finite; a query that sees nothing gives 0. */
Test(attention, what_is_not_seen_does_not_count)
{
    for (size_t f = 0; f < FORMATS; f++)
        for (size_t m = 1; m < 30; m += 13) {
            struct text t = make_text(formats[f], 4, 2, 64, 150, 151, m);
            cr_assert_eq(run(&t), EK_OK);
            float *kept = randoms(m * t.a.ldy, 1, 1), *big = randoms(128, 5, 3e4f);
            memcpy(kept, t.y, m * t.a.ldy * sizeof *kept);
            for (size_t i = 0; i < 40; i++) /* the first tokens leave */
                t.pos[t.slot[i]] = -1 - (int32_t)i;
            cr_assert_eq(run(&t), EK_OK);
            memcpy(kept, t.y, m * t.a.ldy * sizeof *kept);
            for (size_t i = 0; i < 40; i++)
                cr_assert_eq(ek_kv_store(&table, NULL, &t.kv, big, big, 128, 1, t.slot + i), EK_OK);
            cr_assert_eq(run(&t), EK_OK);
            for (size_t i = 0; i < m * t.a.ldy; i++) cr_assert_eq(kept[i], t.y[i]);
            for (size_t i = 0; i < 150; i++) t.pos[t.slot[i]] = -1;
            cr_assert_eq(run(&t), EK_OK);
            for (size_t i = 0; i < m; i++)
                for (size_t d = 0; d < 256; d++) cr_assert_eq(t.y[i * t.a.ldy + d], 0);
            free(kept), free(big), drop_text(&t);
        }
}

/* A number that is not finite spoils the outputs of the heads that see it and no others. */
Test(attention, nan_reaches_its_heads_only)
{
    static const float poison[] = {NAN, INFINITY, 1e9f};
    for (size_t f = 0; f < FORMATS; f++)
        for (size_t i = 0; i < 3; i++)
            for (size_t m = 1; m < 7; m += 5)
                for (int value = 0; value < 2; value++) {
                    struct text t = make_text(formats[f], 4, 2, 64, 70, 71, m);
                    float      *x = randoms(128, 8, 1), *y = randoms(128, 8, 1);
                    if (i == 2 && (f == 0 || f == 2)) continue; /* f32 and bf16 hold 1e9 */
                    (value ? y : x)[64 + 17] = poison[i];       /* of kv head 1 */
                    cr_assert_eq(ek_kv_store(&table, NULL, &t.kv, x, y, 128, 1, t.slot + 60),
                                 EK_OK);
                    cr_assert_eq(run(&t), EK_OK);
                    int finite = 1;
                    for (size_t d = 0; d < 128; d++) cr_assert(isfinite(t.y[d]));
                    for (size_t d = 128; d < 256; d++) finite &= isfinite(t.y[d]) != 0;
                    cr_assert(!finite || (i && !value), "%s poison %zu m=%zu value=%d",
                              ek_fmt_info(formats[f])->name, i, m, value);
                    free(x), free(y), drop_text(&t);
                }
}

Test(kv, store_and_load)
{
    static const size_t dims[] = {1, 16, 40, 100, 128};
    for (size_t f = 0; f < FORMATS; f++)
        for (size_t j = 0; j < sizeof dims / sizeof *dims; j++) {
            const size_t dim = dims[j], width = 3 * dim;
            size_t       bytes;
            cr_assert_eq(ek_kernels_default(&table), EK_OK);
            cr_assert_eq(ek_kv_bytes(formats[f], 3, dim, 37, &bytes), EK_OK);
            struct ek_kv kv = {sizeof kv, formats[f], 3, dim, 37, aligned(bytes)};
            memset(kv.data, 0, bytes);
            float  *k = randoms(37 * width, 1, 2), *v = randoms(37 * width, 2, 2), x[400], y[400];
            int32_t slot[37];
            for (int i = 0; i < 37; i++) slot[i] = (i * 5 + 2) % 37;
            memset(k, 0, dim * sizeof *k);
            cr_assert_eq(ek_kv_store(&table, NULL, &kv, k, v, width, 37, slot), EK_OK);
            for (size_t i = 0; i < 37; i++) {
                cr_assert_eq(ek_kv_load(&kv, (size_t)slot[i], x, y), EK_OK);
                for (size_t c = 0; c < width; c++) {
                    const float *row = v + i * width + c / dim * dim, w = row[c % dim];
                    double       most = 0;
                    for (size_t d = 0; d < dim; d++) most = fmax(most, fabs((double)row[d]));
                    const double bound = formats[f] == EK_FMT_f32    ? 0
                                         : formats[f] == EK_FMT_f16  ? fabs((double)w) * 0x1p-11
                                         : formats[f] == EK_FMT_bf16 ? fabs((double)w) * 0x1p-8
                                                                     : most / 254 * 1.002 + 0x1p-25;
                    cr_assert(fabs((double)(y[c] - w)) <= bound + 0x1p-25, "%s %g is %g",
                              ek_fmt_info(formats[f])->name, (double)w, (double)y[c]);
                    if (i == 0 && c < dim) cr_assert_eq(x[c], 0);
                }
            }
            free(k), free(v), free(kv.data);
        }
}

Test(kv, sizes)
{
    size_t bytes = 7;
    cr_assert_eq(ek_kv_bytes(EK_FMT_f16, 8, 128, 4096, &bytes), EK_OK);
    cr_assert_eq(bytes, 2u * 2 * 8 * 128 * 4096);
    cr_assert_eq(ek_kv_bytes(EK_FMT_i8, 8, 128, 4096, &bytes), EK_OK);
    cr_assert_eq(bytes, 2u * 8 * 4096 * (128 + 2));
    cr_assert_eq(ek_kv_bytes(EK_FMT_f32, 1, 40, 17, &bytes), EK_OK);
    cr_assert_eq(bytes, 2u * 4 * 48 * 32);
    bytes = 7;
    cr_assert_eq(ek_kv_bytes(EK_FMT_q8g32, 8, 128, 4096, &bytes), EK_E_ARG);
    cr_assert_eq(ek_kv_bytes(EK_FMT_COUNT, 8, 128, 4096, &bytes), EK_E_ARG);
    cr_assert_eq(ek_kv_bytes(EK_FMT_f16, 0, 128, 4096, &bytes), EK_E_ARG);
    cr_assert_eq(ek_kv_bytes(EK_FMT_f16, 8, 0, 4096, &bytes), EK_E_ARG);
    cr_assert_eq(ek_kv_bytes(EK_FMT_f16, 8, 128, 0, &bytes), EK_E_ARG);
    cr_assert_eq(ek_kv_bytes(EK_FMT_f16, 8, 128, 4096, NULL), EK_E_ARG);
    cr_assert_eq(ek_kv_bytes(EK_FMT_f16, SIZE_MAX / 8, 128, 4096, &bytes), EK_E_OVERFLOW);
    cr_assert_eq(ek_kv_bytes(EK_FMT_f16, 8, SIZE_MAX - 3, 1, &bytes), EK_E_OVERFLOW);
    cr_assert_eq(ek_kv_bytes(EK_FMT_f16, 8, 128, SIZE_MAX, &bytes), EK_E_OVERFLOW);
    cr_assert_eq(bytes, 7);
}

/* i8 is no format of weights. */
Test(kv, weights_refuse_i8)
{
    float          w[32] = {1};
    size_t         bytes = 7;
    unsigned char *p     = aligned(4096);
    cr_assert_eq(ek_weights_bytes(EK_FMT_i8, 1, 32, &bytes, NULL), EK_E_ARG);
    cr_assert_eq(ek_weights_quantize(EK_FMT_i8, w, 1, 32, p, 4096), EK_E_ARG);
    const struct ek_codes   c = {p, (uint16_t *)(void *)(p + 64), NULL, NULL, NULL};
    const struct ek_weights m = {EK_FMT_i8, EK_LAYOUT_CACHE, 1, 32, p};
    cr_assert_eq(ek_weights_pack(EK_FMT_i8, &c, 1, 32, p, 4096), EK_E_ARG);
    cr_assert_eq(ek_weights_unpack(&m, &c), EK_E_ARG);
    cr_assert_eq(ek_weights_dequantize(&m, 0, 1, w), EK_E_ARG);
    cr_assert_eq(ek_linear_work_bytes(&m, 1, NULL, NULL, &bytes), EK_E_ARG);
    cr_assert_eq(bytes, 7);
    free(p);
}

#define REFUSES(change, status)                                                                    \
    do {                                                                                           \
        struct text b = t;                                                                         \
        b.a.kv        = &b.kv;                                                                     \
        change;                                                                                    \
        cr_assert_eq(ek_attention(&table, NULL, &b.a, work, bytes), status, #change);              \
        for (size_t i_ = 0; i_ < 2 * t.a.ldy; i_++) cr_assert_eq(t.y[i_], kept[i_], #change);      \
    } while (0)

Test(attention, refuses)
{
    size_t      bytes;
    struct text t = make_text(EK_FMT_f16, 4, 2, 64, 50, 51, 2);
    t.a.kv        = &t.kv;
    cr_assert_eq(ek_attention_work_bytes(&table, &t.a, NULL, &bytes), EK_OK);
    unsigned char *work = aligned(bytes + 64);
    float         *kept = randoms(2 * t.a.ldy, 4, 1);
    memcpy(kept, t.y, 2 * t.a.ldy * sizeof *kept);
    static const int32_t falling[] = {9, 8}, negative[] = {-1, 8};
    REFUSES(b.a.struct_size = 8, EK_E_ARG);
    REFUSES(b.kv.struct_size = 8, EK_E_ARG);
    REFUSES(b.a.kv = NULL, EK_E_ARG);
    REFUSES(b.a.q = NULL, EK_E_ARG);
    REFUSES(b.a.q_pos = NULL, EK_E_ARG);
    REFUSES(b.a.kv_pos = NULL, EK_E_ARG);
    REFUSES(b.a.y = NULL, EK_E_ARG);
    REFUSES(b.a.m = 0, EK_E_ARG);
    REFUSES(b.a.heads = 0, EK_E_ARG);
    REFUSES(b.a.heads = 5, EK_E_ARG);
    REFUSES(b.a.used = 52, EK_E_ARG);
    REFUSES(b.a.ldq = 255, EK_E_ARG);
    REFUSES(b.a.ldy = 255, EK_E_ARG);
    REFUSES(b.a.scale = 0, EK_E_ARG);
    REFUSES(b.a.scale = NAN, EK_E_ARG);
    REFUSES(b.a.q_pos = falling, EK_E_ARG);
    REFUSES(b.a.q_pos = negative, EK_E_ARG);
    REFUSES(b.kv.fmt = EK_FMT_q8g32, EK_E_ARG);
    REFUSES(b.kv.data = (char *)b.kv.data + 32, EK_E_ARG);
    REFUSES(b.kv.dim = SIZE_MAX / 128, EK_E_OVERFLOW);
    REFUSES(b.a.heads = SIZE_MAX / 2 + 1, EK_E_OVERFLOW);
    const size_t enough = bytes;
    REFUSES(bytes = 64, EK_E_NOMEM);
    bytes = enough;
    cr_assert_eq(ek_attention(&table, NULL, &t.a, NULL, bytes), EK_E_ARG);
    cr_assert_eq(ek_attention(&table, NULL, &t.a, work + 32, bytes), EK_E_ARG);
    cr_assert_eq(ek_attention(NULL, NULL, &t.a, work, bytes), EK_E_ARG);
    struct ek_kernels none       = table;
    none.gqa_prefill[EK_FMT_f16] = NULL;
    cr_assert_eq(ek_attention(&none, NULL, &t.a, work, bytes), EK_E_UNSUPPORTED);
    none.kv_store[EK_FMT_f16] = NULL;
    int32_t slot              = 3;
    cr_assert_eq(ek_kv_store(&none, NULL, &t.kv, t.k, t.v, 128, 1, &slot), EK_E_UNSUPPORTED);
    slot = 51;
    cr_assert_eq(ek_kv_store(&table, NULL, &t.kv, t.k, t.v, 128, 1, &slot), EK_E_ARG);
    slot = -1;
    cr_assert_eq(ek_kv_store(&table, NULL, &t.kv, t.k, t.v, 128, 1, &slot), EK_E_ARG);
    slot = 0;
    cr_assert_eq(ek_kv_store(&table, NULL, &t.kv, t.k, t.v, 127, 1, &slot), EK_E_ARG);
    cr_assert_eq(ek_kv_store(&table, NULL, &t.kv, t.k, t.v, 128, 0, &slot), EK_E_ARG);
    cr_assert_eq(ek_kv_load(&t.kv, 51, t.k, t.v), EK_E_ARG);
    free(work), free(kept), drop_text(&t);
}
