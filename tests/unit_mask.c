/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_mask.c - masks as sets against brute force, rules against sorting and formulas, the
 * inverse normal against known values. */
#include "ek/mask.h"
#include "tests/driver.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct ek_kernels table;

static void select_kernels(void)
{
    cr_assert_eq(ek_kernels_default(&table), EK_OK);
}
TestSuite(mask, .init = select_kernels);

static const size_t sizes[] = {1, 2, 63, 64, 65, 127, 128, 129, 1000};
enum { SIZES = sizeof sizes / sizeof *sizes, MOST = 1000, WORDS = 16 };

static int has(const uint64_t *mask, size_t i)
{
    return mask[i / 64] >> i % 64 & 1;
}

/* Each neuron with a chance of one in `rarity`; none at 0, all at 1. */
static void random_mask(uint64_t *mask, size_t n, uint64_t rarity, uint64_t *seed)
{
    memset(mask, 0, ek_mask_words(n) * sizeof *mask);
    for (size_t i = 0; rarity && i < n; i++)
        if (ek_rand(seed) % rarity == 0) mask[i / 64] |= UINT64_C(1) << i % 64;
}

/* ---- sets ---- */

Test(mask, list_and_back)
{
    uint64_t seed = 1;
    for (size_t s = 0; s < SIZES; s++)
        for (uint64_t rarity = 0; rarity < 12; rarity++) {
            const size_t n = sizes[s];
            uint64_t     mask[WORDS], again[WORDS];
            uint32_t     list[MOST];
            size_t       count = 0, at = 0;
            random_mask(mask, n, rarity, &seed);
            cr_assert_eq(ek_mask_list(mask, n, list, MOST, &count), EK_OK);
            cr_assert_eq(count, ek_mask_count(mask, n));
            for (size_t i = 0; i < n; i++)
                if (has(mask, i)) cr_assert_eq(list[at++], i);
            cr_assert_eq(at, count);
            memset(again, 0xFF, sizeof again);
            cr_assert_eq(ek_mask_set(again, n, list, count), EK_OK);
            cr_assert(!memcmp(mask, again, ek_mask_words(n) * sizeof *mask));
        }
}

Test(mask, union_of_rows)
{
    uint64_t seed = 2;
    for (size_t s = 0; s < SIZES; s++)
        for (size_t m = 1; m < 6; m++) {
            const size_t n = sizes[s], words = ek_mask_words(n);
            uint64_t     rows[6 * WORDS], out[WORDS];
            for (size_t r = 0; r < m; r++) random_mask(rows + r * words, n, 7, &seed);
            cr_assert_eq(ek_mask_union(rows, m, n, out), EK_OK);
            for (size_t i = 0; i < n; i++) {
                int any = 0;
                for (size_t r = 0; r < m; r++) any |= has(rows + r * words, i);
                cr_assert_eq(has(out, i), any);
            }
            cr_assert_eq(ek_mask_union(rows, m, n, rows + (m - 1) * words), EK_OK);
            cr_assert(!memcmp(rows + (m - 1) * words, out, words * sizeof *out));
        }
}

Test(mask, difference)
{
    uint64_t seed = 3;
    for (size_t s = 0; s < SIZES; s++)
        for (uint64_t rarity = 0; rarity < 9; rarity++) {
            const size_t        n = sizes[s];
            uint64_t            before[WORDS], now[WORDS];
            uint32_t            added[MOST], removed[MOST];
            struct ek_mask_diff d = {.added = added, .removed = removed, .room = MOST};
            size_t              a = 0, r = 0;
            random_mask(before, n, rarity, &seed);
            random_mask(now, n, (rarity * 5 + 1) % 4, &seed);
            cr_assert_eq(ek_mask_diff(before, now, n, &d), EK_OK);
            for (size_t i = 0; i < n; i++) {
                if (has(now, i) && !has(before, i)) cr_assert_eq(added[a++], i);
                if (has(before, i) && !has(now, i)) cr_assert_eq(removed[r++], i);
            }
            cr_assert(a == d.added_count && r == d.removed_count);
        }
}

/* ---- rules ---- */

static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    cr_assert_not_null(p);
    return p;
}

static ek_status apply(const struct ek_mask_rule *rule, const float *x, size_t ldx, size_t m,
                       size_t n, uint64_t *mask)
{
    size_t bytes = 0;
    cr_assert_eq(ek_mask_scores_work_bytes(rule, m, n, NULL, &bytes), EK_OK);
    void           *work = aligned(bytes);
    const ek_status s    = ek_mask_scores(&table, NULL, rule, x, ldx, m, n, mask, work, bytes);
    free(work);
    return s;
}

Test(mask, thresholds)
{
    static const float odd[] = {NAN, -NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 0x1p-149f, -0x1p-149f};
    uint64_t           seed  = 4;
    for (size_t s = 0; s < SIZES; s++)
        for (size_t t = 0; t < 8 + 4; t++) {
            const size_t n = sizes[s];
            float        x[2 * MOST];
            uint64_t     mask[2 * WORDS];
            for (size_t i = 0; i < 2 * n; i++)
                x[i] = ek_rand(&seed) % 3 ? ek_randf(&seed) : odd[ek_rand(&seed) % 8];
            const float               value = t < 2 ? 0.5f : t < 8 ? odd[t] : x[ek_rand(&seed) % n];
            const struct ek_mask_rule rule  = {.struct_size = sizeof rule,
                                               .value       = isnan(value) ? 0.25 : (double)value};
            cr_assert_eq(apply(&rule, x, n, 2, n, mask), EK_OK);
            for (size_t r = 0; r < 2; r++) {
                const uint64_t *row = mask + r * ek_mask_words(n);
                for (size_t i = 0; i < n; i++)
                    cr_assert_eq(has(row, i), x[r * n + i] >= (float)rule.value);
                cr_assert(n % 64 == 0 || row[n / 64] >> n % 64 == 0);
            }
        }
}

/* A score and where it stood: larger first, then lower; NaN last. */
struct scored {
    float    x;
    uint32_t i;
};
static int larger_first(const void *a, const void *b)
{
    const struct scored *p = a, *q = b;
    if (isnan(p->x) != isnan(q->x)) return isnan(p->x) ? 1 : -1;
    if (!isnan(p->x) && p->x != q->x) return p->x > q->x ? -1 : 1;
    return p->i < q->i ? -1 : 1;
}

/* Kinds: distinct; many equals; all equal; anything that a float can be. */
static float score(int kind, uint64_t *seed)
{
    static const float odd[] = {NAN,   -NAN, INFINITY,  -INFINITY,  0.0f,
                                -0.0f, 1.0f, 0x1p-149f, -0x1p-149f, 0x1p-127f};
    if (kind == 1) return floorf(ek_randf(seed) * 4);
    if (kind == 2) return 3;
    if (kind == 3) return odd[ek_rand(seed) % 10];
    if (kind == 4) {
        const uint32_t bits = (uint32_t)ek_rand(seed);
        float          x;
        memcpy(&x, &bits, sizeof x);
        return x;
    }
    return ek_randf(seed);
}

static void expect_topk(const float *x, size_t n, size_t k, const uint64_t *mask)
{
    static struct scored order[MOST];
    uint64_t             want[WORDS] = {0};
    for (size_t i = 0; i < n; i++) order[i] = (struct scored){x[i], (uint32_t)i};
    qsort(order, n, sizeof *order, larger_first);
    for (size_t i = 0; i < k; i++) want[order[i].i / 64] |= UINT64_C(1) << order[i].i % 64;
    cr_assert_eq(ek_mask_count(mask, n), k);
    cr_assert(!memcmp(want, mask, ek_mask_words(n) * sizeof *want), "n=%zu k=%zu", n, k);
}

Test(mask, topk_is_exact)
{
    uint64_t seed = 5;
    for (size_t s = 0; s < SIZES; s++)
        for (int kind = 0; kind < 5; kind++)
            for (size_t step = 0; step < 12; step++) {
                const size_t n = sizes[s], k = step < 2 ? (step ? n : 1) : ek_rand(&seed) % n + 1;
                float        x[3 * (MOST + 1)];
                uint64_t     mask[3 * WORDS];
                for (size_t i = 0; i < 3 * (n + 1); i++) x[i] = score(kind, &seed);
                const struct ek_mask_rule rule = {
                    .struct_size = sizeof rule, .kind = EK_RULE_TOPK, .k = k};
                cr_assert_eq(apply(&rule, x, n + 1, 3, n, mask), EK_OK);
                for (size_t r = 0; r < 3; r++)
                    expect_topk(x + r * (n + 1), n, k, mask + r * ek_mask_words(n));
            }
}

/* Standard normal numbers by Box and Muller. */
static float gauss(uint64_t *seed)
{
    const double u = ((double)(ek_rand(seed) >> 11) + 0.5) * 0x1p-53;
    const double v = (double)(ek_rand(seed) >> 11) * 0x1p-53;
    return (float)(sqrt(-2 * log(u)) * cos(2 * acos(-1) * v));
}

Test(mask, density_of_gaussian_rules)
{
    enum { N = 1 << 18 };
    static const double share[] = {0.5, 0.75, 0.9, 0.977, 0.03};
    float              *x       = aligned(N * sizeof *x);
    uint64_t           *mask    = aligned(N / 8);
    uint64_t            seed    = 6;
    for (size_t i = 0; i < N; i++) x[i] = 3 * gauss(&seed) - 7;
    for (size_t i = 0; i < sizeof share / sizeof *share; i++) {
        struct ek_mask_rule rule = {
            .struct_size = sizeof rule, .kind = EK_RULE_GAUSS, .value = share[i]};
        cr_assert_eq(apply(&rule, x, N, 1, N, mask), EK_OK);
        const double density = (double)ek_mask_count(mask, N) / N;
        cr_assert(fabs(density - (1 - share[i])) <= 0.01 * fmax(1 - share[i], 0.1), "%g: %g",
                  share[i], density);
        rule.kind = EK_RULE_SIGMA, rule.value = ek_inverse_normal(share[i]);
        cr_assert_eq(apply(&rule, x, N, 1, N, mask), EK_OK);
        cr_assert_eq((double)ek_mask_count(mask, N) / N, density, "the same cutoff");
    }
    const struct ek_mask_rule two = {.struct_size = sizeof two, .kind = EK_RULE_SIGMA, .value = 2};
    cr_assert_eq(apply(&two, x, N, 1, N, mask), EK_OK);
    cr_assert_float_eq((double)ek_mask_count(mask, N) / N, 0.02275, 0.001);
    x[5] = NAN;
    cr_assert_eq(apply(&two, x, N, 1, N, mask), EK_OK);
    cr_assert_eq(ek_mask_count(mask, N), 0);
    free(x), free(mask);
}

/* ---- the inverse normal ---- */

Test(mask, inverse_normal)
{
    /* quantiles of the standard normal distribution, to 16 digits */
    static const double known[][2] = {
        {0.75, 0.6744897501960817},  {0.9, 1.281551565544600},    {0.95, 1.644853626951472},
        {0.975, 1.959963984540054},  {0.99, 2.326347874040841},   {0.999, 3.090232306167813},
        {0.9999, 3.719016485455681}, {0.6, 0.2533471031357997},   {1e-10, -6.361340902404056},
        {1e-5, -4.264890793922825},  {0.25, -0.6744897501960817}, {0.001, -3.090232306167813}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        cr_assert_float_eq(ek_inverse_normal(known[i][0]), known[i][1],
                           1e-13 * fabs(known[i][1]) + 1e-15, "%g", known[i][0]);
    cr_assert_eq(ek_inverse_normal(0.5), 0);
    cr_assert(isinf(ek_inverse_normal(0)) && ek_inverse_normal(0) < 0);
    cr_assert(isinf(ek_inverse_normal(1)) && ek_inverse_normal(1) > 0);
    cr_assert(isnan(ek_inverse_normal(-0.1)) && isnan(ek_inverse_normal(1.1)) &&
              isnan(ek_inverse_normal((double)NAN)));
    for (double p = 1e-300; p < 0.5; p *= 1.37) { /* all three pieces, against erfc */
        const double z = ek_inverse_normal(p);
        cr_assert_float_eq(0.5 * erfc(-z / sqrt(2)) / p, 1, 1e-12, "%g", p);
    }
    for (double p = 0.01; p < 0.5; p += 0.0137)
        cr_assert_float_eq(ek_inverse_normal(1 - p), -ek_inverse_normal(p), 1e-13);
}

/* ---- refusals ---- */

Test(mask, sets_refuse)
{
    uint64_t            past[2] = {1, 1}, fine[2] = {5, 0}, out[2] = {7, 7};
    uint32_t            list[2] = {3, 70}, one[1], two[1];
    size_t              count   = 9;
    struct ek_mask_diff d       = {.added = one, .removed = two, .room = 1, .added_count = 9};
    cr_assert_eq(ek_mask_set(out, 65, list, 2), EK_E_ARG);
    cr_assert_eq(ek_mask_set(out, 0, list, 0), EK_E_ARG);
    cr_assert_eq(ek_mask_set(out, 70, NULL, 1), EK_E_ARG);
    cr_assert_eq(ek_mask_list(past, 64 - 1, list, 2, NULL), EK_E_ARG);
    cr_assert_eq(ek_mask_list(fine, 2, list, 2, &count), EK_E_ARG, "a bit past the end");
    cr_assert_eq(ek_mask_list(fine, 65, list, 1, &count), EK_E_NOMEM);
    cr_assert_eq(ek_mask_union(fine, 0, 65, out), EK_E_ARG);
    cr_assert_eq(ek_mask_union(fine, 1, 2, out), EK_E_ARG);
    cr_assert_eq(ek_mask_union(fine, SIZE_MAX / 8, 65, out), EK_E_OVERFLOW);
    cr_assert_eq(ek_mask_diff(NULL, fine, 65, &d), EK_E_ARG);
    cr_assert_eq(ek_mask_diff(past, fine, 2, &d), EK_E_ARG);
    past[0] = 0, past[1] = 0;
    cr_assert_eq(ek_mask_diff(past, fine, 65, &d), EK_E_NOMEM);
    cr_assert(out[0] == 7 && out[1] == 7 && count == 9 && list[0] == 3 && d.added_count == 9);
}

Test(mask, kernels_refuse)
{
    float                  x[8] = {1}, t = 0, moments[2] = {7, 7}, value = 7;
    uint64_t               mask  = 7;
    uint32_t               equal = 7;
    size_t                 bytes = 0;
    struct ek_mask_args    a     = {.x = x, .t = &t, .mask = &mask, .cols = 8, .ldx = 7};
    struct ek_moments_args m     = {.x = x, .moments = moments, .cols = 0, .ldx = 8};
    struct ek_select_args  s     = {
             .x = x, .value = &value, .equal = &equal, .cols = 8, .ldx = 8, .k = 9};
    const ek_pool           bad   = {.struct_size = sizeof bad, .threads = 2};
    const struct ek_kernels empty = {.struct_size = sizeof empty};
    cr_assert_eq(ek_mask(&table, NULL, &a, 1), EK_E_ARG);
    a.ldx = 8;
    cr_assert_eq(ek_mask(&table, NULL, &a, 0), EK_E_ARG);
    cr_assert_eq(ek_mask(&table, &bad, &a, 1), EK_E_ARG);
    cr_assert_eq(ek_mask(&empty, NULL, &a, 1), EK_E_UNSUPPORTED);
    cr_assert_eq(ek_mask(&table, NULL, &a, SIZE_MAX / 4), EK_E_OVERFLOW);
    cr_assert_eq(ek_moments(&table, NULL, &m, 1), EK_E_ARG);
    cr_assert_eq(ek_moments(&table, NULL, NULL, 1), EK_E_ARG);
    cr_assert_eq(ek_select_work_bytes(0, 8, NULL, &bytes), EK_E_ARG);
    cr_assert_eq(ek_select_work_bytes(1, 8, NULL, &bytes), EK_OK);
    unsigned char *work = aligned(bytes);
    cr_assert_eq(ek_select(&table, NULL, &s, 1, work, bytes), EK_E_ARG);
    s.k = 8;
    cr_assert_eq(ek_select(&table, NULL, &s, 1, work, bytes - 1), EK_E_NOMEM);
    cr_assert_eq(ek_select(&table, NULL, &s, 1, work + 4, bytes), EK_E_ARG);
    cr_assert_eq(ek_select(&empty, NULL, &s, 1, work, bytes), EK_E_UNSUPPORTED);
    free(work);
    cr_assert(mask == 7 && moments[0] == 7 && value == 7 && equal == 7);
}

Test(mask, rules_refuse)
{
    float                     x[8]  = {1};
    uint64_t                  mask  = 7;
    size_t                    bytes = 7;
    const struct ek_mask_rule bad[] = {{sizeof bad[0] - 1, EK_RULE_THRESHOLD, 0, 0},
                                       {sizeof bad[0], EK_RULE_THRESHOLD, (double)NAN, 0},
                                       {sizeof bad[0], EK_RULE_TOPK, 0, 0},
                                       {sizeof bad[0], EK_RULE_TOPK, 0, 9},
                                       {sizeof bad[0], EK_RULE_GAUSS, 0, 0},
                                       {sizeof bad[0], EK_RULE_GAUSS, 1, 0},
                                       {sizeof bad[0], (enum ek_rule_kind)4, 1, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(ek_mask_scores_work_bytes(&bad[i], 1, 8, NULL, &bytes), EK_E_ARG, "%zu", i);
    cr_assert_eq(bytes, 7);
    const struct ek_mask_rule rule = {
        .struct_size = sizeof rule, .kind = EK_RULE_GAUSS, .value = 0.5};
    const struct ek_kernels empty = {.struct_size = sizeof empty};
    cr_assert_eq(ek_mask_scores_work_bytes(&rule, 1, 8, NULL, &bytes), EK_OK);
    void *work = aligned(bytes);
    cr_assert_eq(ek_mask_scores(&table, NULL, &rule, x, 7, 1, 8, &mask, work, bytes), EK_E_ARG);
    cr_assert_eq(ek_mask_scores(&table, NULL, &rule, x, 8, 1, 8, NULL, work, bytes), EK_E_ARG);
    cr_assert_eq(ek_mask_scores(&table, NULL, &rule, x, 8, 1, 8, &mask, NULL, bytes), EK_E_ARG);
    cr_assert_eq(ek_mask_scores(&table, NULL, &rule, x, 8, 1, 8, &mask, work, bytes - 1),
                 EK_E_NOMEM);
    cr_assert_eq(ek_mask_scores(&empty, NULL, &rule, x, 8, 1, 8, &mask, work, bytes),
                 EK_E_UNSUPPORTED);
    cr_assert_eq(mask, 7);
    free(work);
}
