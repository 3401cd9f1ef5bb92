/* SPDX-License-Identifier: Apache-2.0 */
/* tests/neurons.h - random neurons of every format, for tests with Criterion. */
#ifndef EK_TESTS_NEURONS_H
#define EK_TESTS_NEURONS_H
#include "ek/ek.h"
#include "tests/driver.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const enum ek_fmt formats[] = {EK_FMT_f32, EK_FMT_f16, EK_FMT_bf16, EK_FMT_q8g32,
                                      EK_FMT_q4g32};
enum { FORMATS = sizeof formats / sizeof *formats };

static inline void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    cr_assert_not_null(p);
    return p;
}
static inline float *randoms(size_t n, uint64_t seed, float by)
{
    float *x = malloc((n ? n : 1) * sizeof *x);
    cr_assert_not_null(x);
    for (size_t i = 0; i < n; i++) x[i] = ek_randf(&seed) * by;
    return x;
}

/* An MLP of n neurons: its rows as the format holds them, and packed. */
struct mlp {
    struct ek_neurons w;
    void             *data;
    size_t            bytes, one;
    float            *row[3]; /* [n][d] each, after rounding */
};

static inline struct mlp make_mlp(enum ek_fmt fmt, size_t n, size_t d, size_t rows)
{
    struct mlp m = {.w = {fmt, n, d, rows, NULL}};
    cr_assert_eq(ek_neurons_bytes(fmt, n, d, rows, &m.bytes, &m.one), EK_OK);
    m.w.data = m.data = aligned(m.bytes);
    memset(m.data, 0xFF, m.bytes);
    for (size_t r = 0; r < rows; r++) {
        float *from = randoms(n * d, 7 + r, 0.1f);
        cr_assert_eq(ek_neurons_quantize(fmt, from, d, 1, n, d, rows, r, m.data, m.bytes), EK_OK);
        m.row[r] = malloc(n * d * sizeof(float));
        cr_assert_eq(ek_neurons_dequantize(&m.w, r, 0, n, m.row[r]), EK_OK);
        free(from);
    }
    return m;
}
static inline void drop_mlp(struct mlp *m)
{
    free(m->data);
    for (size_t r = 0; r < m->w.rows; r++) free(m->row[r]);
}
#endif
