/* SPDX-License-Identifier: Apache-2.0 */
/* tests/heads.h - what the tests of heads share: weights, all logits as the reference, screens. */
#ifndef EK_TESTS_HEADS_H
#define EK_TESTS_HEADS_H
#include "ek/ek.h"
#include "tests/driver.h"
#include "tools/pool.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct ek_kernels table;

static inline void select_kernels(void)
{
    cr_assert_eq(ek_kernels_default(&table), EK_OK);
}

static inline void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    cr_assert_not_null(p);
    return p;
}

static inline struct ek_weights make_weights(enum ek_fmt fmt, const float *dense, size_t n,
                                             size_t k)
{
    size_t bytes;
    cr_assert_eq(ek_weights_bytes(fmt, n, k, &bytes, NULL), EK_OK);
    void *data = aligned(bytes);
    cr_assert_eq(ek_weights_quantize(fmt, dense, n, k, data, bytes), EK_OK);
    return (struct ek_weights){fmt, ek_fmt_info(fmt)->layout, n, k, data};
}

static inline void drop_weights(const struct ek_weights *w)
{
    union {
        const void *in;
        void       *out;
    } u = {w->data};
    free(u.out);
}

static inline float *random_floats(size_t n, uint64_t seed, float scale)
{
    float *x = malloc(n * sizeof *x);
    cr_assert_not_null(x);
    for (size_t i = 0; i < n; i++) x[i] = ek_randf(&seed) * scale;
    return x;
}

/* ---- reference: all logits by ek_linear, sorted ---- */

static inline void all_logits(const struct ek_head *h, const float *x, float *y)
{
    size_t bytes;
    cr_assert_eq(ek_linear_work_bytes(&h->w, 1, NULL, h->opt, &bytes), EK_OK);
    void *work = aligned(bytes);
    cr_assert_eq(ek_linear(&table, NULL, &h->w, x, h->w.k, 1, y, h->w.n, h->opt, work, bytes),
                 EK_OK);
    free(work);
}

static const float *sorted_by;
static inline int   compare(const void *a, const void *b)
{
    const uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    const float    x = sorted_by[i], y = sorted_by[j];
    if (isnan(x) != isnan(y)) return isnan(x) ? 1 : -1;
    if (x != y && !isnan(x)) return x > y ? -1 : 1;
    return i < j ? -1 : i > j;
}

/* The rows in the order that ek_head promises. */
static inline void sort_rows(const float *y, uint32_t *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) rows[i] = (uint32_t)i;
    sorted_by = y;
    qsort(rows, n, sizeof *rows, compare);
}

static inline struct ek_head_counts run(const struct ek_head_call *c, const ek_pool *pool)
{
    struct ek_head_counts counts = {0};
    size_t                bytes;
    cr_assert_eq(ek_head_work_bytes(c, pool, &bytes), EK_OK);
    unsigned char *work = aligned(bytes);
    memset(work, 0xFF, bytes);
    cr_assert_eq(ek_head(&table, pool, c, &counts, work, bytes), EK_OK);
    free(work);
    return counts;
}

static inline int same_bits(const float *a, const float *b)
{
    return !memcmp(a, b, sizeof *a);
}

/* ---- a head with a screen ---- */

struct certified {
    struct ek_head        h;
    struct ek_head_screen screen;
    void                 *mem;
    float                *y;
    uint32_t             *order;
    struct ek_head_counts did;
    size_t                states, wrong;
};

static inline void certified_make(struct certified *c, const struct ek_weights *w, enum ek_fmt fmt)
{
    size_t bytes, work_bytes;
    memset(c, 0, sizeof *c);
    cr_assert_eq(ek_head_screen_bytes(w, fmt, NULL, &bytes, &work_bytes), EK_OK);
    void *work = aligned(work_bytes);
    c->mem     = aligned(bytes);
    cr_assert_eq(ek_head_screen_build(NULL, w, fmt, c->mem, bytes, work, work_bytes, &c->screen),
                 EK_OK);
    free(work);
    c->h     = (struct ek_head){.struct_size = sizeof c->h, .w = *w, .screen = &c->screen};
    c->y     = malloc(w->n * sizeof *c->y);
    c->order = malloc(w->n * sizeof *c->order);
}

static inline void certified_drop(struct certified *c)
{
    free(c->mem), free(c->y), free(c->order);
}
#endif
