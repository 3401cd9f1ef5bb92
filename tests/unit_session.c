/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_session.c - long texts: prefill in chunks against prefill at once. */
#include "model/model.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS = 16384, CHUNK = 4096, STEPS = 3, NAME = 24 };

struct long_case {
    char        model[NAME];
    enum ek_fmt kv;
    double      bound; /* of the difference, in units of the logits' spread */
};

/* The logits of a long text and of a few tokens decoded after it: [TOKENS + STEPS][vocab]. */
static float *logits_of(const struct long_case *c, size_t batch, size_t *vocab)
{
    struct error           e = {""};
    char                   path[512];
    struct model          *m;
    struct session        *s;
    struct session_options o = {.context = TOKENS + STEPS, .batch = batch, .kv = c->kv};
    snprintf(path, sizeof path, "%s/%s", EK_GOLDEN, c->model);
    cr_assert_eq(model_open(&m, path, NULL, &e), EK_OK, "%s", e.text);
    cr_assert_eq(session_open(&s, m, &o, &e), EK_OK, "%s", e.text);
    *vocab         = model_config(m)->vocab;
    int32_t *ids   = malloc((TOKENS + STEPS) * sizeof *ids);
    float   *out   = malloc((TOKENS + STEPS) * *vocab * sizeof *out);
    uint32_t state = 1;
    cr_assert(ids && out);
    for (size_t i = 0; i < TOKENS + STEPS; i++) {
        state  = state * 1664525u + 1013904223u;
        ids[i] = (int32_t)((state >> 8) % *vocab);
    }
    for (size_t at = 0, n; at < TOKENS + STEPS; at += n) {
        const float *logits;
        n = at < TOKENS ? batch : 1;
        cr_assert_eq(session_eval(s, ids + at, n, LOGITS_ALL, &logits, &e), EK_OK, "%s", e.text);
        memcpy(out + at * *vocab, logits, n * *vocab * sizeof *out);
    }
    free(ids);
    session_close(s);
    model_close(m);
    return out;
}

/* A row sees whole tiles of keys wherever a chunk begins, so that floats agree to their rounding;
 * an i8 cache may round a value that floats left on a tie the other way. */
ParameterizedTestParameters(session, chunks)
{
    static struct long_case cases[] = {
        {"llama2", EK_FMT_f32, 1e-4},
        {"llama2", EK_FMT_i8, 1e-2},
        {"mistral", EK_FMT_f16, 1e-3},
    };
    return cr_make_param_array(struct long_case, cases, sizeof cases / sizeof *cases);
}

ParameterizedTest(struct long_case *c, session, chunks)
{
    size_t       vocab;
    float       *want = logits_of(c, TOKENS, &vocab), *got = logits_of(c, CHUNK, &vocab);
    const size_t n   = (TOKENS + STEPS) * vocab;
    double       sum = 0, squares = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        const double w = (double)want[i], d = fabs((double)got[i] - w);
        sum += w, squares += w * w;
        if (!(d <= worst)) worst = d; /* NaN is the worst */
    }
    const double mean = sum / (double)n, spread = sqrt(squares / (double)n - mean * mean);
    printf("%s, cache %s: off by %.2g at most\n", c->model, ek_fmt_info(c->kv)->name,
           worst / spread);
    cr_assert(worst <= c->bound * spread, "%s: off by %g", c->model, worst / spread);
    free(want);
    free(got);
}
