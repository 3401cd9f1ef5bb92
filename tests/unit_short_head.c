/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_short_head.c - sliced and routed heads of a whole model: bits of the full head where it is
 * looked at, nothing elsewhere, draws as the softmax of what is left. */
#include "model/model.h"
#include "model/router.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT = 48, DRAWS = 200000 };

static const char *const model = EK_SOURCE "/model/default";

static char dir[64];

/* Every third token is common; P(rare) = sigmoid(sum of the state's first numbers). */
static void write_router(uint64_t checksum)
{
    struct model *m;
    struct error  e = {""};
    cr_assert_eq(model_open(&m, model, NULL, &e), EK_OK, "%s", e.text);
    struct model_facts f;
    model_facts(m, &f);
    const size_t vocab = model_config(m)->vocab, hidden = model_config(m)->hidden;
    model_close(m);
    float        *w  = calloc(hidden, sizeof *w);
    uint32_t     *id = calloc(vocab, sizeof *id);
    struct router r  = {
         .common_count = 0, .layer_count = 1, .checksum = checksum ? checksum : f.checksum};
    cr_assert(w && id);
    for (size_t i = 0; i < 32; i++) w[i] = i % 2 ? 1.0F : -1.0F;
    for (size_t i = 0; i < vocab; i += 3) id[r.common_count++] = (uint32_t)i;
    r.common    = id;
    r.layers[0] = (struct ek_weights){EK_FMT_f32, EK_LAYOUT_ROWS, 1, hidden, w};
    snprintf(dir, sizeof dir, "/tmp/ek_short_head_XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(router_write(&r, dir, vocab, "next", &e), EK_OK, "%s", e.text);
    free(w), free(id);
}
static void make_router(void)
{
    write_router(0);
}
static void remove_router(void)
{
    static const char *const names[] = {"router.safetensors", "common_ids.npy", "meta.txt"};
    char                     path[128];
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

struct decisions {
    struct head_decision made[TEXT];
    size_t               count;
};
static void keep(void *self, const struct head_decision *d)
{
    struct decisions *l = self;
    cr_assert_lt(l->count, (size_t)TEXT);
    l->made[l->count++] = *d;
}

/* Logits [TEXT][vocab] of a text, token by token or at once. */
static float *logits_of(enum head_mode head, float threshold, size_t top, int at_once,
                        struct decisions *d, size_t *vocab)
{
    struct model          *m;
    struct session        *s;
    struct error           e       = {""};
    struct model_options   options = {.head = head, .router = dir};
    struct session_options o       = {.router_threshold = threshold,
                                      .decided          = d ? keep : NULL,
                                      .decided_self     = d,
                                      .head_verify      = d != NULL};
    cr_assert_eq(model_open(&m, model, &options, &e), EK_OK, "%s", e.text);
    cr_assert_eq(session_open(&s, m, &o, &e), EK_OK, "%s", e.text);
    *vocab      = model_config(m)->vocab;
    float  *out = malloc(TEXT * *vocab * sizeof *out);
    int32_t ids[TEXT];
    cr_assert_not_null(out);
    for (int32_t i = 0; i < TEXT; i++) ids[i] = 5 + 37 * i % 1900;
    session_head_top(s, top);
    const size_t step = at_once ? TEXT : 1;
    for (size_t i = 0; i < TEXT; i += step) {
        const float *logits;
        cr_assert_eq(session_eval(s, ids + i, step, LOGITS_ALL, &logits, &e), EK_OK, "%s", e.text);
        memcpy(out + i * *vocab, logits, step * *vocab * sizeof *out);
    }
    session_close(s);
    model_close(m);
    return out;
}

static int same_bits(float a, float b)
{
    return !memcmp(&a, &b, sizeof a);
}

/* sliced: all common tokens with the full head's bits, the others -infinity. */
static void check_slice(const float *full, const float *sliced, size_t vocab)
{
    for (size_t i = 0; i < vocab; i++)
        cr_assert(same_bits(sliced[i], i % 3 ? -INFINITY : full[i]), "token %zu: %g, %g", i,
                  (double)sliced[i], (double)full[i]);
}

Test(short_head, sliced, .init = make_router, .fini = remove_router)
{
    size_t vocab;
    float *full   = logits_of(HEAD_FULL, 0, 0, 0, NULL, &vocab);
    float *sliced = logits_of(HEAD_SLICED, 0, 0, 0, NULL, &vocab);
    float *top    = logits_of(HEAD_SLICED, 0, 4, 0, NULL, &vocab);
    for (size_t i = 0; i < TEXT; i++) {
        const float *row  = top + i * vocab;
        size_t       kept = 0;
        check_slice(full + i * vocab, sliced + i * vocab, vocab);
        for (size_t j = 0; j < vocab; j++) {
            if (row[j] == -INFINITY) continue;
            size_t larger = 0;
            for (size_t k = 0; k < vocab; k += 3) larger += full[i * vocab + k] > row[j];
            cr_assert(j % 3 == 0 && same_bits(row[j], full[i * vocab + j]) && larger < 4);
            kept++;
        }
        cr_assert_eq(kept, 4);
    }
    free(full), free(sliced), free(top);
}

Test(short_head, routed, .init = make_router, .fini = remove_router)
{
    size_t           vocab, by_all = 0;
    struct decisions made = {.count = 0};
    float           *full = logits_of(HEAD_FULL, 0, 0, 0, NULL, &vocab);
    float           *all  = logits_of(HEAD_ROUTER, -1, 0, 0, NULL, &vocab);
    float           *none = logits_of(HEAD_ROUTER, 2, 0, 0, NULL, &vocab);
    float           *some = logits_of(HEAD_ROUTER, 0.5F, 0, 0, &made, &vocab);
    cr_assert_eq(memcmp(full, all, TEXT * vocab * sizeof *full), 0, "always full is the full head");
    cr_assert_eq(made.count, (size_t)TEXT);
    for (size_t i = 0; i < TEXT; i++) {
        const struct head_decision *d    = &made.made[i];
        const float                *row  = full + i * vocab;
        int32_t                     best = 0;
        for (size_t j = 1; j < vocab; j++) best = row[j] > row[best] ? (int32_t)j : best;
        check_slice(row, none + i * vocab, vocab);
        cr_assert(d->verified && d->full_best == best && (size_t)d->position == i);
        cr_assert(d->full == (d->p_rare > 0.5F) && (!d->full || d->best == best));
        if (d->full)
            cr_assert_eq(memcmp(row, some + i * vocab, vocab * sizeof *row), 0);
        else
            check_slice(row, some + i * vocab, vocab);
        by_all += d->full != 0;
    }
    cr_assert(by_all > 2 && by_all < TEXT - 2, "%zu of %d by all rows", by_all, TEXT);
    free(full), free(all), free(none), free(some);
}

/* Rows of one step are decided one by one, as if they came alone. */
Test(short_head, many_rows, .init = make_router, .fini = remove_router)
{
    size_t           vocab;
    struct decisions alone = {.count = 0}, together = {.count = 0};
    float           *a = logits_of(HEAD_ROUTER, 0.5F, 0, 0, &alone, &vocab);
    float           *b = logits_of(HEAD_ROUTER, 0.5F, 0, 1, &together, &vocab);
    cr_assert_eq(together.count, (size_t)TEXT);
    for (size_t i = 0; i < TEXT; i++) {
        cr_assert_eq(alone.made[i].position, together.made[i].position);
        cr_assert_float_eq((double)alone.made[i].p_rare, (double)together.made[i].p_rare, 0.05);
        for (size_t j = 0; j < vocab && alone.made[i].full == together.made[i].full; j++)
            cr_assert(isinf(a[i * vocab + j]) ? isinf(b[i * vocab + j])
                                              : fabsf(a[i * vocab + j] - b[i * vocab + j]) < 0.5F);
    }
    free(a), free(b);
}

/* Pearson's statistic of draws from logits against the softmax over common tokens, those expected less
 * than ten times taken together; and its degrees of freedom. */
static double chi_square(const float *logits, size_t vocab, const size_t *hits, size_t *freedom)
{
    double sum = 0, chi = 0, few = 0, few_hits = 0;
    for (size_t i = 0; i < vocab; i++) sum += exp((double)logits[i]);
    *freedom = 0;
    for (size_t i = 0; i < vocab; i++) {
        const double want = exp((double)logits[i]) / sum * DRAWS, hit = (double)hits[i];
        cr_assert(want > 0 || !hits[i], "token %zu cannot come", i);
        if (want < 10)
            few += want, few_hits += hit;
        else
            chi += (hit - want) * (hit - want) / want, ++*freedom;
    }
    return few > 0 ? chi + (few_hits - few) * (few_hits - few) / few : chi;
}

Test(short_head, draws, .init = make_router, .fini = remove_router)
{
    const struct sampler_options plain = {.temperature = 1, .top_p = 1, .repetition_penalty = 1};
    size_t                       vocab, freedom;
    float                       *sliced = logits_of(HEAD_SLICED, 0, 0, 0, NULL, &vocab);
    for (size_t row = 7; row < TEXT; row += 17) {
        const float    *logits = sliced + row * vocab;
        size_t         *hits   = calloc(vocab, sizeof *hits);
        struct sampler *s;
        struct error    e = {""};
        cr_assert_not_null(hits);
        cr_assert_eq(sampler_open(&s, &plain, vocab, &e), EK_OK, "%s", e.text);
        for (size_t i = 0; i < DRAWS; i++) hits[sampler_next(s, logits)]++;
        sampler_close(s);
        const double chi = chi_square(logits, vocab, hits, &freedom);
        /* mean and five deviations of a chi square */
        const double most = (double)freedom + 5 * sqrt(2 * (double)freedom);
        cr_assert(freedom > 10 && chi < most, "chi square %g of %zu", chi, freedom);
        for (size_t i = 0; i < vocab; i += 3) hits[i] += hits[i] > 99 ? hits[i] / 10 : 0;
        cr_assert_gt(chi_square(logits, vocab, hits, &freedom), most, "sees a planted tenth");
        free(hits);
    }
    free(sliced);
}

Test(short_head, of_another_model, .fini = remove_router)
{
    struct model        *m;
    struct error         e = {""};
    struct model_options o = {.head = HEAD_ROUTER};
    write_router(0x1234);
    cr_assert_eq(model_open(&m, model, &o, &e), EK_E_ARG);
    cr_assert(strstr(e.text, "--router"), "%s", e.text);
    o.router = dir;
    cr_assert_eq(model_open(&m, model, &o, &e), EK_E_ARG);
    cr_assert(strstr(e.text, "0000000000001234") && strstr(e.text, dir), "%s", e.text);
    o.router = "/nowhere";
    cr_assert_eq(model_open(&m, model, &o, &e), EK_E_IO);
}
