/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_train.c - the training core: gradients against finite differences, a problem that can
 * be learnt, the same bits for any number of threads. */
#include "model/random.h"
#include "model/train.h"
#include "tools/pool.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct ek_kernels kernels;

static void pick(void)
{
    cr_assert_eq(ek_kernels_default(&kernels), EK_OK);
}

static float draw(uint64_t *state)
{
    return (float)((double)(splitmix64(state) >> 11) * 0x1p-52 - 1);
}

static double loss_of(struct net *n, size_t m)
{
    const float *logits;
    cr_assert_eq(net_forward(n, m, &logits), EK_OK);
    return net_loss(n, m) / (double)m;
}

static void check_gradient(struct net_options o, size_t m)
{
    struct net  *n;
    const float *logits;
    uint64_t     state = 5;
    size_t       count, outputs = o.width[o.layers];
    o.kernels = &kernels;
    cr_assert_eq(net_open(&n, &o, NULL), EK_OK);
    float *values = net_values(n, &count);
    for (size_t i = 0; i < count; i++) values[i] += 0.1F * draw(&state); /* biases too */
    for (size_t i = 0; i < m * o.width[0]; i++) net_inputs(n)[i] = draw(&state);
    for (size_t i = 0; i < m * outputs; i++) net_answers(n)[i] = draw(&state) > 0.3F;
    cr_assert_eq(net_forward(n, m, &logits), EK_OK);
    cr_assert_eq(net_backward(n, m), EK_OK);
    for (size_t i = 0; i < count; i++) {
        const float was = values[i], step = 4e-3F;
        values[i]         = was + step;
        const double more = loss_of(n, m), above = (double)values[i];
        values[i]         = was - step;
        const double less = loss_of(n, m), width = above - (double)values[i];
        values[i]         = was;
        const double want = (more - less) / width, have = (double)net_gradient(n)[i];
        cr_assert(fabs(want - have) < 2e-4 + 2e-3 * fabs(want), "%zu: %g, not %g", i, have, want);
    }
    net_close(n);
}

Test(train, gradients, .init = pick)
{
    const struct net_options two   = {.width    = {7, 5, 11},
                                      .layers   = 2,
                                      .act      = EK_ACT_KINDS,
                                      .batch    = 12,
                                      .positive = 1,
                                      .negative = 0.3F};
    struct net_options       three = {.width    = {6, 9, 4, 1},
                                      .layers   = 3,
                                      .bias     = 1,
                                      .batch    = 12,
                                      .positive = 0.7F,
                                      .negative = 1};
    check_gradient(two, 12);
    check_gradient(two, 3); /* the products of few rows */
    for (int i = 0; i < 3; i++) {
        three.act = (enum ek_act_kind[]){EK_ACT_SILU, EK_ACT_GELU_TANH, EK_ACT_GELU_ERF}[i];
        check_gradient(three, 12);
    }
}

/* ---- a problem that has a solution ---- */

enum { IN = 24, RANK = 6, OUT = 40, ROWS = 3000, HELD = 500 };

struct toy {
    float x[(ROWS + HELD) * IN], y[(ROWS + HELD) * OUT];
};

/* Answers are signs of a product of rank 4: what a network of rank 6 can learn. */
static struct toy *toy_make(void)
{
    struct toy *t     = malloc(sizeof *t);
    uint64_t    state = 9;
    float       a[4 * IN], b[OUT * 4];
    cr_assert_not_null(t);
    for (size_t i = 0; i < sizeof a / sizeof *a; i++) a[i] = draw(&state);
    for (size_t i = 0; i < sizeof b / sizeof *b; i++) b[i] = draw(&state);
    for (size_t r = 0; r < ROWS + HELD; r++) {
        float h[4] = {0};
        for (size_t c = 0; c < IN; c++) t->x[r * IN + c] = draw(&state);
        for (size_t i = 0; i < 4; i++)
            for (size_t c = 0; c < IN; c++) h[i] += a[i * IN + c] * t->x[r * IN + c];
        for (size_t o = 0; o < OUT; o++) {
            float sum = 0;
            for (size_t i = 0; i < 4; i++) sum += b[o * 4 + i] * h[i];
            t->y[r * OUT + o] = sum > 0;
        }
    }
    return t;
}

static void toy_fill(void *self, const uint32_t *rows, size_t m, float *x, float *y)
{
    const struct toy *t = self;
    for (size_t i = 0; i < m; i++) {
        memcpy(x + i * IN, t->x + rows[i] * IN, IN * sizeof *x);
        memcpy(y + i * OUT, t->y + rows[i] * OUT, OUT * sizeof *y);
    }
}

static struct net *learn(struct toy *toy, const ek_pool *pool, struct training *t)
{
    const struct net_options o = {.kernels  = &kernels,
                                  .pool     = pool,
                                  .width    = {IN, RANK, OUT},
                                  .layers   = 2,
                                  .act      = EK_ACT_KINDS,
                                  .batch    = HELD,
                                  .seed     = 3,
                                  .decay    = 1e-4,
                                  .positive = 1,
                                  .negative = 0.6F};
    *t                         = (struct training){.batch    = 64,
                                                   .rows     = ROWS,
                                                   .held     = HELD,
                                                   .fill     = toy_fill,
                                                   .self     = toy,
                                                   .epochs   = 30,
                                                   .patience = 5,
                                                   .rate     = 0.02,
                                                   .warmup   = 0.1,
                                                   .seed     = 4};
    cr_assert_eq(net_open(&t->net, &o, NULL), EK_OK);
    cr_assert_eq(train(t, NULL), EK_OK);
    return t->net;
}

Test(train, learns_what_can_be_learnt, .init = pick)
{
    struct toy     *toy = toy_make();
    struct training t;
    struct net     *n      = learn(toy, NULL, &t);
    size_t          active = 0, found = 0, wrong = 0;
    const float    *logits;
    memcpy(net_inputs(n), toy->x + ROWS * IN, HELD * IN * sizeof(float));
    cr_assert_eq(net_forward(n, HELD, &logits), EK_OK);
    for (size_t i = 0; i < HELD * OUT; i++) {
        const int yes = toy->y[ROWS * OUT + i] > 0, said = logits[i] >= 0;
        active += (size_t)yes, found += (size_t)(yes && said), wrong += (size_t)(said && !yes);
    }
    cr_assert(active > HELD * OUT / 3);
    cr_assert(found > active * 97 / 100, "%zu of %zu", found, active);
    cr_assert(wrong < active * 8 / 100, "%zu beside %zu", wrong, active);
    cr_assert(t.best_epoch > 0 && t.ran <= 30);
    net_close(n);
    free(toy);
}

/* Against one thread of a pool, which flushes denormals as all of them do. */
Test(train, the_same_bits_for_any_threads, .init = pick)
{
    struct toy     *toy = toy_make();
    struct training t[4];
    struct net     *n[4];
    size_t          count;
    for (size_t k = 1; k <= 3; k++) {
        struct threads threads;
        cr_assert_eq(threads_start(&threads, k, NULL), 0);
        n[k] = learn(toy, &threads.pool, &t[k]);
        threads_stop(&threads);
    }
    const float *first = net_values(n[1], &count);
    for (size_t k = 2; k <= 3; k++) {
        const float *other = net_values(n[k], &count);
        cr_assert_eq(memcmp(first, other, count * sizeof *first), 0, "%zu threads", k);
        cr_assert(t[1].loss == t[k].loss && t[1].ran == t[k].ran);
    }
    for (size_t k = 1; k <= 3; k++) net_close(n[k]);
    free(toy);
}

Test(train, nothing_to_learn_from, .init = pick)
{
    struct training t = {.rows = 5, .held = 0, .batch = 1};
    struct error    e = {""};
    cr_assert_eq(train(&t, &e), EK_E_ARG);
    cr_assert(strstr(e.text, "0 held out"), "%s", e.text);
}
