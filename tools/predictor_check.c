/* SPDX-License-Identifier: Apache-2.0 */
/* tools/predictor_check.c - recall, density, and the model's own loss with a predictor. */
#include "tools/predictor_check.h"

#include "tools/ek.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int is_active(const struct layer_states *x, size_t row, size_t neuron)
{
    return (int)(x->active[row * x->words + neuron / 64] >> neuron % 64 & 1);
}

void layer_fill(void *self, const uint32_t *rows, size_t m, float *inputs, float *answers)
{
    const struct layer_states *x = self;
    for (size_t i = 0; i < m; i++) {
        const uint16_t *from = x->x + rows[i] * x->hidden;
        for (size_t c = 0; c < x->hidden; c++)
            inputs[i * x->hidden + c] = ek_f32_from_bf16(from[c]);
        for (size_t c = 0; c < x->ffn; c++)
            answers[i * x->ffn + c] = (float)is_active(x, rows[i], c);
    }
}

double layer_density(const struct layer_states *x, size_t first, size_t count)
{
    uint64_t sum = 0;
    for (size_t i = first; i < first + count; i++)
        sum += ek_mask_count(x->active + i * x->words, x->ffn);
    return (double)sum / (double)(count * x->ffn);
}

/* ---- scores ---- */

enum { ROWS = 256, ROWS_MOST = 4096 }; /* at once; those that decide a threshold */

struct scores {
    float    *x, *hidden, *y; /* [ROWS][hidden], [ROWS][rank], [ROWS][ffn] */
    uint64_t *mask;           /* [ROWS][words] */
    void     *work;
    size_t    work_bytes;
};

static void scores_drop(struct scores *s)
{
    free(s->x), free(s->hidden), free(s->y), free(s->mask), free(s->work);
}

static ek_status scores_open(struct scores *s, const struct layer_check *c)
{
    const struct predictor_layer *p     = &c->p->layer[c->layer];
    const struct ek_mask_rule     rule  = predictors_rule(c->p, c->layer, c->x->ffn);
    size_t                        bytes = 0;
    ek_status                     err   = EK_OK;
    *s                                  = (struct scores){.x = NULL};
    for (size_t m = 1; m <= ROWS && !err; m = m < EK_GEMV_MAX_M ? m + 1 : m < ROWS ? ROWS : m + 1) {
        const struct ek_weights *const both[] = {&p->down, &p->up};
        for (size_t i = 0; i < 2 && !err; i++) {
            err = ek_linear_work_bytes(both[i], m, c->pool, NULL, &bytes);
            if (!err && bytes > s->work_bytes) s->work_bytes = bytes;
        }
    }
    if (!err) err = ek_mask_scores_work_bytes(&rule, ROWS, c->x->ffn, c->pool, &bytes);
    if (err) return err;
    if (bytes > s->work_bytes) s->work_bytes = bytes;
    s->x      = calloc(ROWS * c->x->hidden, sizeof *s->x);
    s->hidden = calloc(ROWS * p->down.n, sizeof *s->hidden);
    s->y      = calloc(ROWS * c->x->ffn, sizeof *s->y);
    s->mask   = calloc(ROWS * c->x->words, sizeof *s->mask);
    s->work   = aligned_alloc(64, (s->work_bytes + 64) / 64 * 64);
    return s->x && s->hidden && s->y && s->mask && s->work ? EK_OK : EK_E_NOMEM;
}

static ek_status score(struct scores *s, const struct layer_check *c, size_t first, size_t m)
{
    const struct predictor_layer *p = &c->p->layer[c->layer];
    const size_t                  d = c->x->hidden, r = p->down.n;
    for (size_t i = 0; i < m * d; i++) s->x[i] = ek_f32_from_bf16(c->x->x[first * d + i]);
    const ek_status err = ek_linear(c->kernels, c->pool, &p->down, s->x, d, m, s->hidden, r, NULL,
                                    s->work, s->work_bytes);
    return err ? err
               : ek_linear(c->kernels, c->pool, &p->up, s->hidden, r, m, s->y, c->x->ffn, NULL,
                           s->work, s->work_bytes);
}

static size_t at_most(size_t a, size_t b)
{
    return a < b ? a : b;
}

static int ascending(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Scores of active neurons into list, as many as it has room for. */
static ek_status active_scores(const struct layer_check *c, size_t first, size_t count, float *list,
                               size_t room, size_t *have)
{
    struct scores s;
    ek_status     err = scores_open(&s, c);
    *have             = 0;
    for (size_t at = first; at < first + count && !err;) {
        const size_t m = at_most(first + count - at, ROWS);
        err            = score(&s, c, at, m);
        for (size_t i = 0; i < m && !err; i++)
            for (size_t n = 0; n < c->x->ffn; n++)
                if (is_active(c->x, at + i, n) && *have < room)
                    list[(*have)++] = s.y[i * c->x->ffn + n];
        at += m;
    }
    scores_drop(&s);
    return err;
}

ek_status layer_threshold(const struct layer_check *c, size_t first, size_t count, double recall,
                          double *threshold)
{
    size_t have;
    count               = at_most(count, ROWS_MOST);
    const double active = layer_density(c->x, first, count) * (double)(count * c->x->ffn);
    const size_t room   = (size_t)(active + 0.5);
    float       *list   = malloc((room + 1) * sizeof *list);
    ek_status    s      = list ? active_scores(c, first, count, list, room, &have) : EK_E_NOMEM;
    *threshold          = 0;
    if (!s && have) {
        qsort(list, have, sizeof *list, ascending);
        *threshold = (double)list[at_most((size_t)((1 - recall) * (double)have), have - 1)];
    }
    free(list);
    return s;
}

ek_status layer_measure(const struct layer_check *c, size_t first, size_t count,
                        struct layer_report *r)
{
    const struct ek_mask_rule rule   = predictors_rule(c->p, c->layer, c->x->ffn);
    const size_t              words  = c->x->words;
    uint64_t                  active = 0, said = 0, both = 0;
    struct scores             s;
    ek_status                 err = scores_open(&s, c);
    for (size_t at = first; at < first + count && !err;) {
        const size_t m = at_most(first + count - at, ROWS);
        err            = score(&s, c, at, m);
        if (!err)
            err = ek_mask_scores(c->kernels, c->pool, &rule, s.y, c->x->ffn, m, c->x->ffn, s.mask,
                                 s.work, s.work_bytes);
        for (size_t i = 0; i < m * words && !err; i++) {
            const uint64_t is = c->x->active[at * words + i];
            active += (unsigned)__builtin_popcountll(is);
            said += (unsigned)__builtin_popcountll(s.mask[i]);
            both += (unsigned)__builtin_popcountll(is & s.mask[i]);
        }
        at += m;
    }
    scores_drop(&s);
    const double all = (double)(count * c->x->ffn);
    *r               = (struct layer_report){.active    = (double)active / all,
                                             .recall    = active ? (double)both / (double)active : 1,
                                             .density   = (double)said / all,
                                             .precision = said ? (double)both / (double)said : 1};
    return err;
}

/* ---- the model with it ---- */

/* Only the last windows of the text. */
static void keep_last(struct evaluation *v, size_t windows)
{
    const size_t first = (v->windows - windows) * v->protocol.context;
    const size_t count = windows * v->protocol.context;
    memmove(v->ids, v->ids + first, count * sizeof *v->ids);
    v->count = count, v->windows = windows, v->label = "check";
    v->header.positions = 0;
    for (size_t i = 0; i < windows; i++) {
        const struct window w = window_at(&v->protocol, count, i);
        v->header.positions += w.end - w.from;
    }
}

/* One run; the first keeps what it predicts. */
static int run_once(struct evaluation *v, struct session_args *a, const char *file, double *taken,
                    double *gates)
{
    struct runner r;
    struct error  e;
    uint64_t      of, some;
    int           bad = runner_open_model(&r, "ek train-predictor", a);
    v->runner         = &r;
    if (!bad) bad = runner_open_session(&r, a);
    if (!bad && (v->base ? evaluation_run(v, NULL, &e) : evaluation_run_base(v, file, &e)))
        bad = runner_fail(&r, &e);
    if (!bad) {
        session_neurons(r.session, &of, &some);
        *taken = of ? (double)some / (double)of : 0;
        session_gates(r.session, &of, &some);
        *gates = of ? (double)some / (double)of : 1;
    }
    runner_close(&r);
    return bad;
}

int predictor_check(struct evaluation *v, struct session_args *a, const char *file, size_t windows)
{
    double taken[2], gates[2], error, delta;
    keep_last(v, windows);
    int bad = run_once(v, a, file, &taken[0], &gates[0]);
    if (bad) return bad;
    const double before = v->report.mine.sum / (double)v->report.mine.count;
    a->predictor        = file;
    bad                 = run_once(v, a, file, &taken[1], &gates[1]);
    if (bad) return bad;
    mean_error(v->report.ratio, v->report.count, &delta, &error);
    printf("\nthe model on the last %zu chunks, token by token: with thresholds alone NLL %.4f, "
           "%.2f%% of the neurons taken;\nwith predictors too: NLL %+.4f +/- %.4f, same likeliest "
           "token %.2f%%, %.2f%% of the gates computed, %.2f%% of the neurons taken\n%s: written\n",
           windows, before, 100 * taken[0], delta, error,
           100 * (double)v->report.same / (double)v->report.positions, 100 * gates[1],
           100 * taken[1], file);
    return EXIT_OK;
}
