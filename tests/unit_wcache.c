/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_wcache.c - the weight cache against its source and its mask after every update. */
#include "ek/wcache.h"
#include "tests/driver.h"
#include "tools/pool.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { N = 200, WORDS = (N + 63) / 64, ROW = 33, STRIDE = 40 };

static unsigned char source[N * STRIDE]; /* the row of neuron i at i * STRIDE, 7 bytes between */

static struct ek_kernels table;

static void make_source(void)
{
    cr_assert_eq(ek_kernels_default(&table), EK_OK);
    uint64_t seed = 31;
    for (size_t i = 0; i < sizeof source; i++) source[i] = (unsigned char)ek_rand(&seed);
}
TestSuite(wcache, .init = make_source, .timeout = 240);

static struct ek_wcache_config config_of(size_t capacity)
{
    return (struct ek_wcache_config){.struct_size = sizeof(struct ek_wcache_config),
                                     .neurons     = N,
                                     .capacity    = capacity,
                                     .row_bytes   = ROW,
                                     .rows        = source,
                                     .stride      = STRIDE,
                                     .kernels     = &table};
}

/* memory is for the caller to free. */
static struct ek_wcache *make_cache(const struct ek_wcache_config *config, void **memory)
{
    struct ek_wcache *c     = NULL;
    size_t            bytes = 0;
    cr_assert_eq(ek_wcache_bytes(config, &bytes), EK_OK);
    *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    cr_assert_not_null(*memory);
    memset(*memory, 0xAA, bytes);
    cr_assert_eq(ek_wcache_init(config, *memory, bytes, &c), EK_OK);
    return c;
}

static int has(const uint64_t *mask, size_t i)
{
    return mask[i / 64] >> i % 64 & 1;
}

/* {active} = bits(mask), pos o active = id, each slot holds its neuron's row. Plain comparisons:
 * a Criterion assertion for each of them would take minutes. */
static int sound(const struct ek_wcache *c, const uint64_t *mask)
{
    const size_t         count       = ek_wcache_count(c);
    const uint32_t      *active      = ek_wcache_active(c);
    uint64_t             seen[WORDS] = {0};
    uint32_t             slots[N];
    size_t               stride = 0;
    const unsigned char *rows   = ek_wcache_rows(c, &stride);
    if (count > N || stride % 64 || stride < ROW) return 0;
    if (memcmp(ek_wcache_mask(c), mask, sizeof seen) != 0) return 0;
    if (ek_wcache_slots(c, active, count, slots)) return 0;
    for (size_t s = 0; s < count; s++) {
        if (active[s] >= N || slots[s] != s) return 0;
        if (memcmp(rows + s * stride, source + active[s] * STRIDE, ROW) != 0) return 0;
        seen[active[s] / 64] |= UINT64_C(1) << active[s] % 64;
    }
    for (uint32_t i = 0; i < N; i++) /* who is not active has no slot */
        if (!has(mask, i) && ek_wcache_slots(c, &i, 1, slots) != EK_E_ARG) return 0;
    return memcmp(seen, mask, sizeof seen) == 0;
}

/* The update once more, with lists and searching: which neuron each slot must hold. */
struct model {
    uint32_t active[N];
    size_t   count;
    uint64_t read, moved;
};
static size_t slot_of(const struct model *m, uint32_t neuron)
{
    size_t s = 0;
    while (m->active[s] != neuron) s++;
    return s;
}
static void model_update(struct model *m, const uint64_t *before, const uint64_t *now)
{
    uint32_t added[N], removed[N];
    size_t   a = 0, r = 0, i = 0;
    for (uint32_t n = 0; n < N; n++) {
        if (has(now, n) && !has(before, n)) added[a++] = n;
        if (has(before, n) && !has(now, n)) removed[r++] = n;
    }
    for (; i < a && i < r; i++) m->active[slot_of(m, removed[i])] = added[i];
    for (size_t j = i; j < a; j++) m->active[m->count++] = added[j];
    for (size_t j = i; j < r; j++) {
        const size_t hole = slot_of(m, removed[j]);
        m->moved += hole != m->count - 1;
        m->active[hole] = m->active[--m->count];
    }
    m->read += a;
}

/* Some bits of the mask change: by chance each, or all, or none, or to a new mask. */
static void next_mask(uint64_t *mask, uint64_t *seed)
{
    const uint64_t kind = ek_rand(seed) % 64, rarity = 1 + ek_rand(seed) % 40;
    for (size_t w = 0; w < WORDS; w++) {
        const uint64_t all  = w == WORDS - 1 ? (UINT64_C(1) << N % 64) - 1 : UINT64_MAX;
        uint64_t       flip = 0;
        for (int b = 0; b < 64; b++) flip |= (uint64_t)(ek_rand(seed) % rarity == 0) << b;
        if (kind == 0)
            mask[w] = 0;
        else if (kind == 1)
            mask[w] = all;
        else if (kind == 2) /* only removals, then only additions */
            mask[w] &= flip;
        else if (kind == 3)
            mask[w] |= flip & all;
        else if (kind != 4) /* 4: no change */
            mask[w] = (kind < 8 ? flip : mask[w] ^ (flip & flip >> 1)) & all;
    }
}

Test(wcache, invariants_under_random_updates)
{
    enum { UPDATES = 100000 };
    const struct ek_wcache_config config = config_of(N);
    void                         *memory;
    struct ek_wcache             *c           = make_cache(&config, &memory);
    uint64_t                      mask[WORDS] = {0}, last[WORDS], seed = 32, hits = 0, added = 0;
    struct model                  m = {.count = 0};
    struct ek_wcache_stats        s;
    cr_assert(sound(c, mask), "empty at first");
    for (int u = 0; u < UPDATES; u++) {
        memcpy(last, mask, sizeof last);
        next_mask(mask, &seed);
        if (ek_wcache_update(c, NULL, mask)) cr_assert_fail("update %d", u);
        if (!sound(c, mask)) cr_assert_fail("after update %d", u);
        model_update(&m, last, mask);
        if (m.count != ek_wcache_count(c) ||
            memcmp(m.active, ek_wcache_active(c), m.count * sizeof *m.active) != 0)
            cr_assert_fail("slots after update %d", u);
        for (size_t i = 0; i < N; i++)
            hits += has(mask, i) && has(last, i), added += has(mask, i) && !has(last, i);
    }
    ek_wcache_stats(c, &s);
    cr_assert(s.updates == UPDATES && s.hits == hits && s.added == added);
    cr_assert(s.rows_read == m.read && s.rows_moved == m.moved);
    cr_assert_eq(s.added - s.removed, ek_wcache_count(c));
    cr_assert_eq(s.bytes_moved, (m.read + m.moved) * ROW);
    cr_assert_eq(s.churn, (double)added / (double)(added + hits));
    free(memory);
}

static void set(uint64_t *mask, const uint32_t *list, size_t count)
{
    cr_assert_eq(ek_mask_set(mask, N, list, count), EK_OK);
}

/* By hand: pairs, an addition behind, holes filled from the end, a removal that is the last. */
Test(wcache, slots_and_copies_by_hand)
{
    const struct ek_wcache_config config = config_of(6);
    void                         *memory;
    struct ek_wcache             *c = make_cache(&config, &memory);
    uint64_t                      mask[WORDS];
    struct ek_wcache_stats        s;
#define STEP(read_, moved_, ...)                                                                   \
    do {                                                                                           \
        const uint32_t list_[] = {__VA_ARGS__};                                                    \
        set(mask, list_, sizeof list_ / sizeof *list_);                                            \
        cr_assert_eq(ek_wcache_update(c, NULL, mask), EK_OK);                                      \
        cr_assert(sound(c, mask));                                                                 \
        ek_wcache_stats(c, &s);                                                                    \
        cr_assert(s.rows_read == (read_) && s.rows_moved == (moved_));                             \
    } while (0)
#define SLOTS(...)                                                                                 \
    do {                                                                                           \
        const uint32_t want_[] = {__VA_ARGS__};                                                    \
        cr_assert(!memcmp(ek_wcache_active(c), want_, sizeof want_));                              \
    } while (0)
    STEP(4, 0, 10, 20, 30, 40);
    SLOTS(10, 20, 30, 40);
    STEP(7, 0, 5, 15, 30, 40, 199); /* 10, 20 replaced by 5, 15; 199 behind */
    SLOTS(5, 15, 30, 40, 199);
    STEP(7, 1, 5, 15, 40, 199); /* 199 into the hole of 30 */
    SLOTS(5, 15, 199, 40);
    STEP(7, 1, 5, 15, 199); /* 40 was the last */
    SLOTS(5, 15, 199);
    STEP(8, 2, 0, 199); /* 5 replaced by 0; 199 into the hole of 15 */
    SLOTS(0, 199);
    STEP(8, 2, 0, 199); /* nothing */
    cr_assert_eq(s.updates, 6);
    cr_assert_eq(s.bytes_moved, 10 * ROW);
#undef STEP
#undef SLOTS
    free(memory);
}

Test(wcache, overflow_changes_nothing)
{
    enum { CAPACITY = 50 };
    const struct ek_wcache_config config = config_of(CAPACITY);
    void                         *memory;
    struct ek_wcache             *c           = make_cache(&config, &memory);
    uint64_t                      mask[WORDS] = {0}, held[WORDS] = {0}, seed = 33;
    size_t                        bytes = 0, refused = 0;
    cr_assert_eq(ek_wcache_bytes(&config, &bytes), EK_OK);
    unsigned char *image = malloc(bytes);
    cr_assert_not_null(image);
    for (int u = 0; u < 3000; u++) {
        next_mask(mask, &seed);
        if (u % 8 == 0) /* about as many as there is room for */
            for (size_t i = 0; i < N; i++)
                if (ek_rand(&seed) % 4) mask[i / 64] &= ~(UINT64_C(1) << i % 64);
        memcpy(image, memory, bytes);
        const ek_status s = ek_wcache_update(c, NULL, mask);
        if (ek_mask_count(mask, N) > CAPACITY) {
            if (s != EK_E_NOMEM || memcmp(image, memory, bytes) != 0) cr_assert_fail("%d", u);
            refused++;
        } else {
            cr_assert_eq(s, EK_OK);
            memcpy(held, mask, sizeof held);
        }
        if (!sound(c, held)) cr_assert_fail("after update %d", u);
    }
    cr_assert(refused > 500 && refused < 2500, "%zu", refused);
    free(image), free(memory);
}

/* ---- a source behind a function ---- */

struct file {
    size_t fails_from; /* reads before it fails */
    size_t reads;
};
static ek_status read_row(void *self, uint32_t neuron, void *dst)
{
    struct file *f = self;
    if (f->reads++ >= f->fails_from) return EK_E_IO;
    memcpy(dst, source + (size_t)neuron * STRIDE, ROW);
    return EK_OK;
}

Test(wcache, reads_through_a_function)
{
    struct file             f      = {.fails_from = SIZE_MAX};
    struct ek_wcache_config config = config_of(N);
    config.rows = NULL, config.read = read_row, config.self = &f;
    void             *memory;
    struct ek_wcache *c           = make_cache(&config, &memory);
    uint64_t          mask[WORDS] = {0}, none[WORDS] = {0}, seed = 34;
    for (int u = 0; u < 1000; u++) {
        next_mask(mask, &seed);
        cr_assert_eq(ek_wcache_update(c, NULL, mask), EK_OK);
        cr_assert(sound(c, mask));
    }
    struct ek_wcache_stats s, after;
    ek_wcache_stats(c, &s);
    cr_assert_eq(s.rows_read, f.reads);
    for (uint32_t i = 0; i < N; i++) mask[i / 64] ^= UINT64_C(1) << i % 64;
    f.fails_from = f.reads + 2; /* a failure leaves it empty, and usable */
    cr_assert_eq(ek_wcache_update(c, NULL, mask), EK_E_IO);
    cr_assert(sound(c, none) && ek_wcache_count(c) == 0);
    ek_wcache_stats(c, &after);
    cr_assert(!memcmp(&s, &after, sizeof s));
    f.fails_from = SIZE_MAX;
    cr_assert_eq(ek_wcache_update(c, NULL, mask), EK_OK);
    cr_assert(sound(c, mask));
    free(memory);
}

Test(wcache, threads_change_no_byte)
{
    enum { ROWS = 300, BYTES = 20000 };
    unsigned char *rows = malloc(ROWS * BYTES);
    uint64_t       seed = 35;
    cr_assert_not_null(rows);
    for (size_t i = 0; i < ROWS * BYTES; i++) rows[i] = (unsigned char)(ek_rand(&seed) >> 8);
    struct ek_wcache_config config = config_of(ROWS);
    config.neurons = ROWS, config.row_bytes = config.stride = BYTES, config.rows = rows;
    for (size_t n = 1; n <= 3; n++) {
        struct threads    t;
        void             *memory;
        struct ek_wcache *c = make_cache(&config, &memory);
        cr_assert_eq(threads_start(&t, n, NULL), 0);
        for (int u = 0; u < 20; u++) {
            uint64_t mask[(ROWS + 63) / 64] = {0};
            for (size_t i = 0; i < ROWS; i++)
                mask[i / 64] |= (uint64_t)(ek_rand(&seed) % 3 == 0) << i % 64;
            cr_assert_eq(ek_wcache_update(c, &t.pool, mask), EK_OK);
            size_t               stride;
            const unsigned char *slot = ek_wcache_rows(c, &stride);
            for (size_t s = 0; s < ek_wcache_count(c); s++)
                cr_assert(!memcmp(slot + s * stride, rows + ek_wcache_active(c)[s] * BYTES, BYTES));
        }
        threads_stop(&t);
        free(memory);
    }
    free(rows);
}

Test(wcache, refuses)
{
    const struct ek_wcache_config good = config_of(8);
    struct ek_wcache_config       bad[9];
    size_t                        bytes = 7;
    for (size_t i = 0; i < 9; i++) bad[i] = good;
    bad[0].struct_size--, bad[1].neurons = 0, bad[2].capacity = 0, bad[3].capacity = N + 1;
    bad[4].row_bytes = 0, bad[5].stride = ROW - 1, bad[6].rows = NULL, bad[7].read = read_row;
    bad[8].neurons = SIZE_MAX;
    for (size_t i = 0; i < 9; i++)
        cr_assert_eq(ek_wcache_bytes(&bad[i], &bytes), EK_E_ARG, "%zu", i);
    bad[0] = good, bad[0].row_bytes = SIZE_MAX / 4, bad[0].stride = SIZE_MAX / 2;
    cr_assert_eq(ek_wcache_bytes(&bad[0], &bytes), EK_E_OVERFLOW);
    bad[0].row_bytes = SIZE_MAX, bad[0].stride = SIZE_MAX;
    cr_assert_eq(ek_wcache_bytes(&bad[0], &bytes), EK_E_OVERFLOW);
    cr_assert_eq(ek_wcache_bytes(NULL, &bytes), EK_E_ARG);
    cr_assert_eq(ek_wcache_bytes(&good, NULL), EK_E_ARG);
    cr_assert_eq(bytes, 7);

    void             *memory;
    struct ek_wcache *c = make_cache(&good, &memory), *other = NULL;
    cr_assert_eq(ek_wcache_bytes(&good, &bytes), EK_OK);
    cr_assert_eq(ek_wcache_init(&good, memory, bytes - 1, &other), EK_E_NOMEM);
    cr_assert_eq(ek_wcache_init(&good, (char *)memory + 8, bytes, &other), EK_E_ARG);
    cr_assert_eq(ek_wcache_init(&good, NULL, bytes, &other), EK_E_ARG);
    cr_assert_eq(ek_wcache_init(&good, memory, bytes, NULL), EK_E_ARG);
    cr_assert_null(other);

    uint64_t       mask[WORDS] = {3};
    const uint32_t list[2] = {0, 5}, beyond = N;
    uint32_t       slots[2] = {9, 9};
    const ek_pool  pool     = {.struct_size = sizeof pool, .threads = 2};
    cr_assert_eq(ek_wcache_update(c, NULL, mask), EK_OK);
    cr_assert_eq(ek_wcache_update(NULL, NULL, mask), EK_E_ARG);
    cr_assert_eq(ek_wcache_update(c, NULL, NULL), EK_E_ARG);
    cr_assert_eq(ek_wcache_update(c, &pool, mask), EK_E_ARG);
    cr_assert_eq(ek_wcache_slots(c, list, 2, slots), EK_E_ARG, "5 is not active");
    cr_assert_eq(ek_wcache_slots(c, &beyond, 1, slots), EK_E_ARG);
    cr_assert_eq(ek_wcache_slots(c, NULL, 1, slots), EK_E_ARG);
    cr_assert_eq(slots[0], 9);
    mask[WORDS - 1] = UINT64_C(1) << 63;
    cr_assert_eq(ek_wcache_update(c, NULL, mask), EK_E_ARG, "a bit past the end");
    cr_assert_eq(ek_wcache_count(c), 2);
    ek_wcache_clear(c);
    cr_assert_eq(ek_wcache_count(c), 0);
    free(memory);
}
