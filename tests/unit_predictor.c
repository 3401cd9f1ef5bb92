/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_predictor.c - ek_predict against its parts, on pools, for many tokens and for one. */
#include "ek/predictor.h"
#include "tests/driver.h"
#include "tools/pool.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { D = 160, R = 37, N = 413, TOKENS = 19, LDX = D + 3, WORDS = (N + 63) / 64 };

static struct ek_kernels table;
static float             x[TOKENS * LDX];

static void make_inputs(void)
{
    uint64_t seed = 21;
    cr_assert_eq(ek_kernels_default(&table), EK_OK);
    for (size_t i = 0; i < TOKENS * LDX; i++) x[i] = ek_randf(&seed);
}
TestSuite(predictor, .init = make_inputs);

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    cr_assert_not_null(p);
    return p;
}

struct pair {
    struct ek_weights   down, up;
    struct ek_predictor p; /* points to the two above */
};

static struct ek_weights make_weights(enum ek_fmt fmt, size_t n, size_t k, uint64_t seed)
{
    size_t bytes = 0;
    float *dense = aligned(n * k * sizeof *dense);
    for (size_t i = 0; i < n * k; i++) dense[i] = ek_randf(&seed);
    cr_assert_eq(ek_weights_bytes(fmt, n, k, &bytes, NULL), EK_OK);
    void *data = aligned(bytes);
    cr_assert_eq(ek_weights_quantize(fmt, dense, n, k, data, bytes), EK_OK);
    free(dense);
    return (struct ek_weights){fmt, ek_fmt_info(fmt)->layout, n, k, data};
}
static struct pair *make_pair(enum ek_fmt down, enum ek_fmt up, enum ek_rule_kind kind)
{
    struct pair *w = aligned(sizeof *w);
    w->down = make_weights(down, R, D, 5), w->up = make_weights(up, N, R, 6);
    w->p = (struct ek_predictor){sizeof w->p, &w->down, &w->up, NULL, {0}};
    w->p.rule =
        (struct ek_mask_rule){sizeof w->p.rule, kind, kind == EK_RULE_GAUSS ? 0.9 : 0.5, 40};
    return w;
}
static void drop_pair(struct pair *w)
{
    union { /* the weights are ours */
        const void *in;
        void       *out;
    } down = {w->down.data}, up = {w->up.data};
    free(down.out), free(up.out), free(w);
}

static void predict(const struct pair *w, const ek_pool *pool, const float *from, size_t m,
                    uint64_t *mask)
{
    size_t bytes = 0;
    cr_assert_eq(ek_predict_work_bytes(&w->p, m, pool, &bytes), EK_OK);
    void *work = aligned(bytes);
    cr_assert_eq(ek_predict(&table, pool, &w->p, from, LDX, m, mask, work, bytes), EK_OK);
    free(work);
}

static void linear(const struct ek_weights *w, const float *in, float *out)
{
    size_t bytes = 0;
    cr_assert_eq(ek_linear_work_bytes(w, 1, NULL, NULL, &bytes), EK_OK);
    void *work = aligned(bytes);
    cr_assert_eq(ek_linear(&table, NULL, w, in, w->k, 1, out, w->n, NULL, work, bytes), EK_OK);
    free(work);
}

/* Every weight format: two products, then x >= t. */
Test(predictor, is_its_parts)
{
    for (int f = 0; f < EK_FMT_i8; f++) {
        struct pair *w = make_pair((enum ek_fmt)f, EK_FMT_q8g32, EK_RULE_THRESHOLD);
        for (size_t t = 0; t < 3; t++) {
            float    hidden[R], scores[N];
            uint64_t mask[WORDS];
            size_t   active = 0;
            linear(&w->down, x + t * LDX, hidden), linear(&w->up, hidden, scores);
            predict(w, NULL, x + t * LDX, 1, mask);
            for (size_t i = 0; i < N; i++) {
                cr_assert_eq(mask[i / 64] >> i % 64 & 1, scores[i] >= 0.5f);
                active += scores[i] >= 0.5f;
            }
            cr_assert(active > N / 8 && active < N * 7 / 8 && ek_mask_count(mask, N) == active);
        }
        drop_pair(w);
    }
}

Test(predictor, tokens_together_are_the_union_of_each)
{
    for (int kind = EK_RULE_THRESHOLD; kind <= EK_RULE_SIGMA; kind++) {
        static const double value[] = {25, 0, 0.95, 2}; /* few of each token's scores */
        struct pair        *w       = make_pair(EK_FMT_q4g32, EK_FMT_bf16, (enum ek_rule_kind)kind);
        w->p.rule.value             = value[kind];
        uint64_t any[WORDS]         = {0}, mask[WORDS];
        for (size_t m = 1; m <= TOKENS; m++) {
            predict(w, NULL, x + (m - 1) * LDX, 1, mask);
            if (kind == EK_RULE_TOPK) cr_assert_eq(ek_mask_count(mask, N), 40);
            for (size_t i = 0; i < WORDS; i++) any[i] |= mask[i];
            predict(w, NULL, x, m, mask);
            cr_assert(!memcmp(any, mask, sizeof mask), "rule %d, %zu tokens", kind, m);
        }
        cr_assert_lt(ek_mask_count(mask, N), N, "rule %d", kind);
        drop_pair(w);
    }
}

Test(predictor, threads_change_no_bit)
{
    for (size_t n = 1; n <= 3; n++) {
        struct threads t;
        cr_assert_eq(threads_start(&t, n, NULL), 0);
        for (int kind = EK_RULE_THRESHOLD; kind <= EK_RULE_SIGMA; kind++)
            for (size_t m = 1; m <= TOKENS; m += 6) {
                struct pair *w = make_pair(EK_FMT_f32, EK_FMT_q4k, (enum ek_rule_kind)kind);
                uint64_t     alone[WORDS], mask[WORDS];
                predict(w, NULL, x, m, alone);
                predict(w, &t.pool, x, m, mask);
                cr_assert(!memcmp(alone, mask, sizeof mask), "%zu threads, m=%zu", n, m);
                drop_pair(w);
            }
        threads_stop(&t);
    }
}

Test(predictor, refuses)
{
    struct pair        *w = make_pair(EK_FMT_f32, EK_FMT_f32, EK_RULE_TOPK);
    uint64_t            mask[WORDS];
    size_t              bytes = 7;
    struct ek_predictor p     = w->p;
    memset(mask, 0x55, sizeof mask);
    cr_assert_eq(ek_predict_work_bytes(NULL, 1, NULL, &bytes), EK_E_ARG);
    cr_assert_eq(ek_predict_work_bytes(&p, 0, NULL, &bytes), EK_E_ARG);
    cr_assert_eq(ek_predict_work_bytes(&p, 1, NULL, NULL), EK_E_ARG);
    p.struct_size--;
    cr_assert_eq(ek_predict_work_bytes(&p, 1, NULL, &bytes), EK_E_ARG);
    p = w->p, p.up = NULL;
    cr_assert_eq(ek_predict_work_bytes(&p, 1, NULL, &bytes), EK_E_ARG);
    p = w->p, p.up = &w->down, p.rule.k = 1;
    cr_assert_eq(ek_predict_work_bytes(&p, 1, NULL, &bytes), EK_E_ARG, "r does not fit");
    p = w->p, p.rule.k = N + 1;
    cr_assert_eq(ek_predict_work_bytes(&p, 1, NULL, &bytes), EK_E_ARG);
    struct ek_weights other = w->up;
    other.layout++, p = w->p, p.up = &other;
    cr_assert_eq(ek_predict_work_bytes(&p, 1, NULL, &bytes), EK_E_FORMAT);
    cr_assert_eq(bytes, 7);

    size_t eight = 0; /* more tokens go through it eight at a time */
    cr_assert_eq(ek_predict_work_bytes(&w->p, 8, NULL, &eight), EK_OK);
    cr_assert_eq(ek_predict_work_bytes(&w->p, 9000, NULL, &bytes), EK_OK);
    cr_assert_eq(bytes, eight);
    cr_assert_eq(ek_predict_work_bytes(&w->p, 1, NULL, &bytes), EK_OK);
    void                   *work  = aligned(bytes);
    const struct ek_kernels empty = {.struct_size = sizeof empty};
    struct ek_kernels       less  = table;
    const ek_pool           bad   = {.struct_size = sizeof bad, .threads = 2};
    cr_assert_eq(ek_predict(&table, NULL, &w->p, NULL, LDX, 1, mask, work, bytes), EK_E_ARG);
    cr_assert_eq(ek_predict(&table, NULL, &w->p, x, D - 1, 1, mask, work, bytes), EK_E_ARG);
    cr_assert_eq(ek_predict(&table, &bad, &w->p, x, LDX, 1, mask, work, bytes), EK_E_ARG);
    cr_assert_eq(ek_predict(&table, NULL, &w->p, x, LDX, 1, NULL, work, bytes), EK_E_ARG);
    cr_assert_eq(ek_predict(&table, NULL, &w->p, x, LDX, 1, mask, NULL, bytes), EK_E_ARG);
    cr_assert_eq(ek_predict(&table, NULL, &w->p, x, LDX, 1, mask, work, bytes - 1), EK_E_NOMEM);
    cr_assert_eq(ek_predict(&empty, NULL, &w->p, x, LDX, 1, mask, work, bytes), EK_E_UNSUPPORTED);
    less.select[EK_FMT_f32] = NULL;
    cr_assert_eq(ek_predict(&less, NULL, &w->p, x, LDX, 1, mask, work, bytes), EK_E_UNSUPPORTED);
    other = w->up, other.data = NULL, p = w->p, p.up = &other;
    cr_assert_eq(ek_predict(&table, NULL, &p, x, LDX, 1, mask, work, bytes), EK_E_ARG);
    for (size_t i = 0; i < WORDS; i++) cr_assert_eq(mask[i], UINT64_C(0x5555555555555555));
    free(work);
    drop_pair(w);
}
