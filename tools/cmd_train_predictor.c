/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_train_predictor.c - ek train-predictor: from an MLP's input, which of its neurons will
 * open. Trained on what the model shows while it reads a text, layer by layer. */
#include "tools/ek.h"

#include "model/source.h"
#include "model/thresholds.h"
#include "tools/predictor_check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct predictor_args {
    struct evaluation_args text;
    struct train_args      train;
    const char            *thresholds;
    size_t                 rank, chunks;
    int                    rule, type;
    double                 value;
};

struct trainer {
    struct predictor_args *a;
    struct runner          r;
    struct evaluation      v;
    struct ek_kernels      kernels;
    struct thresholds      thresholds;
    struct predictors      made;
    struct predictors_for  what;
    struct layer_states   *layers;
    size_t                 room; /* tokens of all windows */
    void                  *mapped;
    size_t                 mapped_bytes;
    int                    failed;
};

enum { RULE_RECALL, RULE_TOPK, RULE_GAUSS, RULE_SIGMA };
static const struct {
    enum ek_rule_kind kind;
    double            value;
} rules[] = {
    {EK_RULE_THRESHOLD, 0.95}, {EK_RULE_TOPK, 0.5}, {EK_RULE_GAUSS, 0.5}, {EK_RULE_SIGMA, 0}};

static int parse(struct predictor_args *a, int argc, char **argv)
{
    const struct arg list[] = {
        EVALUATION_ARGS(a->text, "only the first N chunks of the text; default: 64",
                        "the file; default: predictor.safetensors"),
        TRAIN_ARGS(a->train),
        {.names = "--thresholds",
         .value = "FILE",
         .kind  = ARG_TEXT,
         .to    = &a->thresholds,
         .help  = "of ek calibrate: neurons from it on are active. ReLU models do without"},
        {.names = "--rank",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &a->rank,
         .least = 1,
         .most  = 1 << 16,
         .help  = "numbers between the two matrices; default: a sixteenth of the neurons"},
        {.names = "--rule",
         .value = "recall|topk|gauss|sigma",
         .kind  = ARG_CHOICE,
         .to    = &a->rule,
         .help  = "recall: each layer's threshold so that this share of active neurons is\n"
                  "found; topk: the likeliest; gauss, sigma: those above a cutoff from the\n"
                  "scores' mean and deviation; default: recall"},
        {.names = "--value",
         .value = "X",
         .kind  = ARG_REAL,
         .to    = &a->value,
         .least = -100,
         .most  = 100,
         .help  = "share found (recall, 0.95), taken (topk, 0.5) or left out (gauss, 0.5);\n"
                  "deviations above the mean (sigma, 0)"},
        {.names = "--type",
         .value = "bf16|f32",
         .kind  = ARG_CHOICE,
         .to    = &a->type,
         .help  = "numbers of the file; default: bf16"},
        {.names = "--check-chunks",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &a->chunks,
         .most  = 1 << 20,
         .help  = "last chunks on which the model runs with the file, and with the\n"
                  "thresholds alone; 0: none; default: 4"},
    };
    const struct arg_command c = {
        .name  = "ek train-predictor",
        .usage = "-m MODEL -f FILE --thresholds FILE [OPTIONS]",
        .about = "Trains, for each layer, a product of two small matrices that tells from an MLP's "
                 "input which of\nits neurons will be active. --predictor takes the file, beside "
                 "--sparse.",
        .env   = "EK_"};
    const int status = evaluation_parse(&a->text, &c, list, sizeof list / sizeof *list, argc, argv);
    if (status != ARGS_GO) return status;
    if (isnan(a->value)) a->value = rules[a->rule].value;
    const int share = a->rule != RULE_SIGMA;
    if (share && !(a->value > 0 && (a->value < 1 || (a->value == 1 && a->rule == RULE_TOPK))))
        fputs("ek train-predictor: --value: not a share between 0 and 1\n", stderr);
    else if (a->text.session.sparse || a->text.session.predictor || a->text.session.lobotomy)
        fputs("ek train-predictor: learns from the whole model, without --sparse, --predictor, "
              "--lobotomy\n",
              stderr);
    else
        return ARGS_GO;
    return EXIT_USAGE;
}

/* ---- states ---- */

struct rows_task {
    const struct trainer *t;
    struct layer_states  *to;
    const float          *x;
    size_t                layer, ld;
};

static void keep_inputs(void *task, size_t begin, size_t end)
{
    const struct rows_task *k = task;
    const size_t            d = k->to->hidden;
    for (size_t i = begin; i < end; i++)
        for (size_t c = 0; c < d; c++)
            k->to->x[(k->to->rows + i) * d + c] = ek_bf16_from_f32(k->x[i * k->ld + c]);
}

/* |act(gate)| is compared as the sparse block does; without thresholds, of ReLU: gate > 0. */
static void keep_labels(void *task, size_t begin, size_t end)
{
    const struct rows_task *k   = task;
    const size_t            n   = k->to->ffn;
    const float            *cut = k->t->thresholds.value[TAP_MLP_GATE];
    float                  *h   = malloc(n * sizeof *h);
    for (size_t i = begin; i < end && h; i++) {
        uint64_t *bits = k->to->active + (k->to->rows + i) * k->to->words;
        k->t->kernels.act[EK_FMT_f32]->fn.act(
            &(struct ek_act_args){k->x + i * k->ld, NULL, h, model_config(k->t->r.model)->act}, 0,
            n);
        memset(bits, 0, k->to->words * sizeof *bits);
        for (size_t c = 0; c < n; c++)
            if (cut ? fabsf(h[c]) >= cut[k->layer] : h[c] > 0)
                bits[c / 64] |= UINT64_C(1) << c % 64;
    }
    free(h);
}

static void keep(void *self, enum tap tap, size_t layer, const float *x, size_t m, size_t n,
                 size_t ld)
{
    struct trainer  *t    = self;
    struct rows_task task = {t, &t->layers[layer], x, layer, ld};
    const ek_pool   *pool = &t->r.threads.pool;
    if (tap != TAP_MLP_IN && tap != TAP_MLP_GATE) return;
    t->failed |=
        task.to->rows + m > t->room || n != (tap == TAP_MLP_IN ? task.to->hidden : task.to->ffn);
    if (t->failed) return;
    ek_parallel(pool, m, 8, tap == TAP_MLP_IN ? keep_inputs : keep_labels, &task);
    if (tap == TAP_MLP_GATE) task.to->rows += m;
}

static ek_status open_states(struct trainer *t, struct error *e)
{
    const size_t d = t->what.hidden, words = ek_mask_words(t->what.ffn);
    const size_t labels = t->room * words * sizeof(uint64_t),
                 inputs = t->room * d * sizeof(uint16_t);
    t->mapped_bytes     = t->what.layers * (labels + inputs);
    t->mapped           = spill(t->a->text.out, t->mapped_bytes, e);
    t->layers           = calloc(t->what.layers, sizeof *t->layers);
    if (!t->mapped) return EK_E_IO;
    if (!t->layers) return fail(e, EK_E_NOMEM, "out of memory");
    char *at = t->mapped; /* words first: their alignment is the larger */
    for (size_t i = 0; i < t->what.layers; i++, at += labels)
        t->layers[i] = (struct layer_states){
            .hidden = d, .ffn = t->what.ffn, .words = words, .active = (uint64_t *)(void *)at};
    for (size_t i = 0; i < t->what.layers; i++, at += inputs)
        t->layers[i].x = (uint16_t *)(void *)at;
    return EK_OK;
}

static ek_status collect(struct trainer *t, struct error *e)
{
    ek_status s = EK_OK;
    if (t->a->thresholds)
        s = thresholds_read(&t->thresholds, t->a->thresholds, t->what.layers, t->what.checksum, e);
    else if (model_config(t->r.model)->act != EK_ACT_RELU)
        s = fail(e, EK_E_ARG, "no --thresholds: only a ReLU model says by itself what is active");
    if (!s && t->a->thresholds && !t->thresholds.value[TAP_MLP_GATE])
        s = fail(e, EK_E_ARG, "%s: made for other taps than %s", t->a->thresholds,
                 tap_name(TAP_MLP_GATE));
    if (!s) s = open_states(t, e);
    if (!s) s = walk_text(&t->v, LOGITS_NONE, NULL, NULL, e);
    if (!s && t->failed) s = fail(e, EK_E_UNSUPPORTED, "an MLP of another width");
    return s;
}

/* ---- one layer ---- */

/* A copy of a trained matrix in the type of the file. */
static ek_status take(struct ek_weights *to, enum ek_fmt fmt, const float *from, size_t n, size_t k)
{
    size_t    bytes;
    ek_status s    = ek_weights_bytes(fmt, n, k, &bytes, NULL);
    void     *data = s ? NULL : aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!data) return s ? s : EK_E_NOMEM;
    *to = (struct ek_weights){fmt, ek_fmt_info(fmt)->layout, n, k, data};
    return ek_weights_quantize(fmt, from, n, k, data, bytes);
}

static ek_status learn_layer(struct trainer *t, size_t layer, struct error *e)
{
    const struct predictor_args *a     = t->a;
    struct layer_states         *x     = &t->layers[layer];
    struct predictor_layer      *made  = &t->made.layer[layer];
    const enum ek_fmt            fmt   = a->type ? EK_FMT_f32 : EK_FMT_bf16;
    const double                 start = seconds_now();
    struct parts                 parts;
    struct layer_report          report;
    struct training              how = {.fill = layer_fill, .self = x};
    ek_status                    s   = parts_of(x->rows, &parts, e);
    if (s) return s;
    const double       share = layer_density(x, 0, parts.learn);
    struct net_options o     = {.kernels  = &t->kernels,
                                .pool     = &t->r.threads.pool,
                                .width    = {x->hidden, a->rank, x->ffn},
                                .layers   = 2,
                                .act      = EK_ACT_KINDS,
                                .positive = 1, /* as Deja Vu */
                                .negative = (float)share + 0.005F};
    s                        = train_net(&how, &o, &a->train, &parts, e);
    if (!s) s = take(&made->down, fmt, net_matrix(how.net, 0), a->rank, x->hidden);
    if (!s) s = take(&made->up, fmt, net_matrix(how.net, 1), x->ffn, a->rank);
    net_close(how.net);
    struct layer_check check = {&t->kernels, &t->r.threads.pool, x, &t->made, layer};
    made->value              = a->value;
    if (!s && a->rule == RULE_RECALL)
        s = layer_threshold(&check, parts.learn, parts.stop, a->value, &made->value);
    if (!s) s = layer_measure(&check, parts.learn + parts.stop, parts.test, &report);
    if (s) return fail(e, s, "layer %zu: %s", layer, ek_status_text(s));
    printf("%5zu %8.2f%% %8.2f%% %8.2f%% %8.2f%% %10.4g %6zu %8.1f\n", layer, 100 * report.active,
           100 * report.recall, 100 * report.density, 100 * report.precision, made->value, how.ran,
           seconds_now() - start);
    fflush(stdout);
    return EK_OK;
}

/* ---- the command ---- */

static ek_status run(struct trainer *t, struct error *e)
{
    const double start = seconds_now();
    struct parts parts;
    ek_status    s = collect(t, e);
    t->made        = (struct predictors){.layer  = calloc(t->what.layers, sizeof *t->made.layer),
                                         .layers = t->what.layers,
                                         .rule   = rules[t->a->rule].kind};
    if (!s && !t->made.layer) s = fail(e, EK_E_NOMEM, "out of memory");
    if (!s) s = parts_of(t->layers[0].rows, &parts, e);
    if (s) return s;
    printf(
        "ek train-predictor: rank %zu of %zu neurons, %zu layers; %zu tokens learnt, %zu to stop "
        "by, %zu tested; states %.1f MB, %.1f s\n\n%5s %9s %9s %9s %9s %10s %6s %8s\n",
        t->a->rank, t->what.ffn, t->what.layers, parts.learn, parts.stop, parts.test,
        1e-6 * (double)t->mapped_bytes, seconds_now() - start, "layer", "active", "recall",
        "density", "precision", "value", "epochs", "seconds");
    for (size_t i = 0; i < t->what.layers && !s; i++) s = learn_layer(t, i, e);
    if (!s) s = predictors_write(&t->made, t->a->text.out, &t->what, t->v.header.ids_hash, e);
    return s;
}

static int open_all(struct trainer *t)
{
    const struct config *c = model_config(t->r.model);
    struct model_facts   f;
    struct error         e;
    model_facts(t->r.model, &f);
    t->what =
        (struct predictors_for){tap_name(TAP_MLP_IN), c->layers, c->hidden, c->ffn, f.checksum};
    if (!t->a->rank) t->a->rank = (c->ffn / 16 + 31) / 32 * 32;
    t->v.protocol.context = t->a->text.session.context;
    t->v.label            = "states";
    if (ek_kernels_default(&t->kernels)) return EXIT_RUN;
    if (evaluation_open(&t->v, &t->r, t->a->text.file, t->a->text.chunks, 0, &e))
        return runner_fail(&t->r, &e);
    t->room                = t->v.windows * t->v.protocol.context;
    t->a->text.session.tap = keep, t->a->text.session.tap_self = t;
    return runner_open_session(&t->r, &t->a->text.session);
}

static void drop(struct trainer *t)
{
    evaluation_drop(&t->v);
    spill_drop(t->mapped, t->mapped_bytes);
    thresholds_drop(&t->thresholds);
    predictors_drop(&t->made);
    free(t->layers);
}

/* The model again, as it will run. */
static int check(struct trainer *t)
{
    struct session_args a    = t->a->text.session;
    const size_t        last = t->a->chunks < t->v.windows ? t->a->chunks : t->v.windows;
    if (!last) return EXIT_OK;
    if (!t->a->thresholds) {
        puts("run with it: unavailable: needs --thresholds");
        return EXIT_OK;
    }
    runner_close(&t->r);
    t->r  = (struct runner){.command = t->r.command};
    a.tap = NULL, a.batch = 1, a.sparse = t->a->thresholds;
    return predictor_check(&t->v, &a, t->a->text.out, last);
}

int cmd_train_predictor(int argc, char **argv)
{
    struct predictor_args a = {.text   = {.out = "predictor.safetensors", .chunks = TRAIN_CHUNKS},
                               .train  = TRAIN_DEFAULTS,
                               .chunks = 4,
                               .value  = (double)NAN};
    struct trainer        t = {.a = &a};
    int                   status = parse(&a, argc, argv);
    struct error          e;
    if (status != ARGS_GO) return status;
    status = runner_open_model(&t.r, "ek train-predictor", &a.text.session);
    if (!status) status = open_all(&t);
    if (!status && run(&t, &e)) status = runner_fail(&t.r, &e);
    if (!status) status = check(&t);
    drop(&t);
    runner_close(&t.r);
    return status;
}
