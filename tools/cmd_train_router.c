/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_train_router.c - ek train-router: the common ids of a text, a network that says when the
 * next token is none of them, and what a sliced head with it would get wrong. */
#include "tools/ek.h"

#include "model/config.h"
#include "model/perplexity.h"
#include "model/router.h"
#include "tools/router_check.h"
#include "tools/walk.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LABELS_NEXT, LABELS_ARGMAX };
static const char *const labels_names[] = {"next", "argmax"};

struct router_args {
    struct evaluation_args text;
    struct train_args      train;
    double                 share;
    int                    labels, act;
    struct arg_sizes       widths;
};

struct trainer {
    struct router_args *a;
    struct runner       r;
    struct evaluation   v;
    struct ek_kernels   kernels;
    size_t              vocab, hidden, room, rows; /* room: tokens of all windows */
    struct parts        parts;
    uint16_t           *states; /* [room][hidden] bf16 */
    struct answers      said;
    unsigned char      *is_common; /* [vocab] */
    struct router       router;    /* common ids; its layers when they are learnt */
    float              *p_rare;    /* of the tested rows */
    int                 failed;
};

static int parse(struct router_args *a, int argc, char **argv)
{
    const struct arg list[] = {
        EVALUATION_ARGS(a->text, "only the first N chunks of the text; default: 64",
                        "directory of the router; default: router"),
        TRAIN_ARGS(a->train),
        {.names = "--share",
         .value = "X",
         .kind  = ARG_REAL,
         .to    = &a->share,
         .least = 1e-6,
         .most  = 1,
         .help  = "share of the vocabulary that is common: the most frequent in the text, and\n"
                  "the special tokens; default: 0.2"},
        {.names = "--labels",
         .value = "next|argmax",
         .kind  = ARG_CHOICE,
         .to    = &a->labels,
         .help  = "what is to be foretold: that the text's next token is rare, or the model's\n"
                  "likeliest; default: argmax"},
        {.names = "--width",
         .value = "N,...",
         .kind  = ARG_PARSE,
         .to    = &a->widths,
         .parse = arg_sizes_parse,
         .help  = "numbers of hidden units, layer by layer; default: a quarter of the model's\n"
                  "hidden size, at most 312"},
        {.names = "--activation",
         .value = "relu|silu|gelu",
         .kind  = ARG_CHOICE,
         .to    = &a->act,
         .help  = "between the layers; default: relu"},
    };
    const struct arg_command c = {
        .name  = "ek train-router",
        .usage = "-m MODEL -f FILE [OPTIONS]",
        .about = "Finds the common tokens of a text and trains a small network that tells when the "
                 "next one is\nnone of them: for a head of the common tokens only.",
        .env   = "EK_"};
    const int status = evaluation_parse(&a->text, &c, list, sizeof list / sizeof *list, argc, argv);
    if (status != ARGS_GO || a->widths.count < NET_LAYERS_MAX) return status;
    fprintf(stderr, "ek train-router: --width: more than %d layers\n", NET_LAYERS_MAX - 1);
    return EXIT_USAGE;
}

/* ---- common ids ---- */

struct counted {
    uint64_t count;
    uint32_t id;
};

static int more_frequent(const void *a, const void *b)
{
    const struct counted *x = a, *y = b;
    if (x->count != y->count) return x->count > y->count ? -1 : 1;
    return (x->id > y->id) - (x->id < y->id);
}

static void mark_special(struct trainer *t, const struct tokenizer *tokenizer)
{
    const struct config *c = model_config(t->r.model);
    for (size_t i = 0; i < t->vocab; i++)
        t->is_common[i] |= tokenizer_is_special(tokenizer, (int32_t)i) != 0;
    for (size_t i = 0; i < c->eos_count; i++)
        if (c->eos[i] >= 0 && (size_t)c->eos[i] < t->vocab) t->is_common[c->eos[i]] = 1;
}

/* The most frequent of the learnt tokens; held-out ones have no say. */
static ek_status find_common(struct trainer *t, struct error *e)
{
    const size_t            wanted    = (size_t)ceil(t->a->share * (double)t->vocab);
    const struct tokenizer *tokenizer = model_tokenizer(t->r.model, e);
    struct counted         *list      = calloc(t->vocab, sizeof *list);
    t->is_common                      = calloc(t->vocab, 1);
    t->router.common                  = calloc(t->vocab, sizeof *t->router.common);
    if (!tokenizer || !list || !t->is_common || !t->router.common) {
        free(list);
        return tokenizer ? fail(e, EK_E_NOMEM, "out of memory") : EK_E_FORMAT;
    }
    for (size_t i = 0; i < t->vocab; i++) list[i].id = (uint32_t)i;
    const size_t tokens = t->v.windows * t->v.protocol.context;
    for (size_t i = 0; i < tokens - tokens / 5; i++) list[t->v.ids[i]].count++;
    qsort(list, t->vocab, sizeof *list, more_frequent);
    for (size_t i = 0; i < wanted && i < t->vocab; i++) t->is_common[list[i].id] = 1;
    free(list);
    mark_special(t, tokenizer);
    for (size_t i = 0; i < t->vocab; i++)
        if (t->is_common[i]) t->router.common[t->router.common_count++] = (uint32_t)i;
    return EK_OK;
}

/* ---- states, and what the model said ---- */

static void keep_state(void *self, enum tap tap, size_t layer, const float *x, size_t m, size_t n,
                       size_t ld)
{
    struct trainer *t = self;
    (void)layer;
    if (tap != TAP_HEAD_IN) return;
    t->failed |= t->rows + m > t->room;
    for (size_t i = 0; i < m && !t->failed; i++)
        for (size_t c = 0; c < n; c++)
            t->states[(t->rows + i) * n + c] = ek_bf16_from_f32(x[i * ld + c]);
}

struct scoring {
    struct trainer *t;
    const float    *logits;
    size_t          first; /* token of row 0 */
};

static void score_rows(void *task, size_t begin, size_t end)
{
    const struct scoring *s    = task;
    struct trainer       *t    = s->t;
    float                *some = malloc(t->router.common_count * sizeof *some);
    for (size_t i = begin; i < end; i++) {
        const float  *row  = s->logits + i * t->vocab;
        const size_t  to   = t->rows + i;
        const int32_t next = t->v.ids[s->first + i + 1];
        size_t        top  = 0;
        for (size_t c = 1; c < t->vocab; c++) top = row[c] > row[top] ? c : top;
        for (size_t c = 0; c < t->router.common_count && some; c++)
            some[c] = row[t->router.common[c]];
        t->said.next[to] = next, t->said.top[to] = (int32_t)top;
        t->said.whole[to]  = some ? log_sum_exp(row, t->vocab) - (double)row[next] : (double)NAN;
        t->said.common[to] = t->is_common[next] && some
                                 ? log_sum_exp(some, t->router.common_count) - (double)row[next]
                                 : (double)NAN;
    }
    free(some);
}

/* The last token of a window has no next: its row is overwritten. */
static ek_status score(void *self, size_t first, size_t n, size_t end, const float *logits,
                       struct error *e)
{
    struct trainer *t    = self;
    struct scoring  task = {t, logits, first};
    if (t->failed) return fail(e, EK_E_FORMAT, "more states than tokens");
    if (first + n == end) n--;
    t->r.threads.pool.run(t->r.threads.pool.self, n, 1, score_rows, &task);
    for (size_t i = 0; i < n; i++)
        if (isnan(t->said.whole[t->rows + i]))
            return fail(e, EK_E_FORMAT, "the logits behind token %zu are no numbers", first + i);
    t->rows += n;
    return EK_OK;
}

static ek_status collect(struct trainer *t, struct error *e)
{
    const size_t room = t->room;
    t->states         = spill(t->a->text.out, room * t->hidden * sizeof *t->states, e);
    if (!t->states) return EK_E_IO;
    t->said =
        (struct answers){calloc(room, sizeof *t->said.next), calloc(room, sizeof *t->said.top),
                         calloc(room, sizeof *t->said.whole), calloc(room, sizeof *t->said.common)};
    if (!t->said.next || !t->said.top || !t->said.whole || !t->said.common)
        return fail(e, EK_E_NOMEM, "out of memory");
    ek_status s = find_common(t, e);
    if (!s) s = walk_text(&t->v, LOGITS_ALL, score, t, e);
    return s ? s : parts_of(t->rows, &t->parts, e);
}

/* ---- training ---- */

static int is_rare(const struct trainer *t, size_t row)
{
    return !t->is_common[t->a->labels == LABELS_NEXT ? t->said.next[row] : t->said.top[row]];
}

static void fill(void *self, const uint32_t *rows, size_t m, float *inputs, float *answers)
{
    const struct trainer *t = self;
    for (size_t i = 0; i < m; i++) {
        const uint16_t *x = t->states + rows[i] * t->hidden;
        for (size_t c = 0; c < t->hidden; c++) inputs[i * t->hidden + c] = ek_f32_from_bf16(x[c]);
        answers[i] = (float)is_rare(t, rows[i]);
    }
}

/* The router's layers lie in the network until it is closed. */
static void borrow_layers(struct trainer *t, const struct net *n, const struct net_options *o,
                          struct router *r)
{
    struct model_facts f;
    model_facts(t->r.model, &f);
    *r = (struct router){.common       = t->router.common,
                         .common_count = t->router.common_count,
                         .layer_count  = o->layers,
                         .act          = o->act,
                         .checksum     = f.checksum};
    for (size_t i = 0; i < o->layers; i++) {
        r->layers[i] = (struct ek_weights){.fmt    = EK_FMT_f32,
                                           .layout = ek_fmt_info(EK_FMT_f32)->layout,
                                           .n      = o->width[i + 1],
                                           .k      = o->width[i],
                                           .data   = net_matrix(n, i)};
        r->bias[i]   = net_bias(n, i);
    }
}

static ek_status learn(struct trainer *t, struct training *how, struct error *e)
{
    static const enum ek_act_kind acts[] = {EK_ACT_RELU, EK_ACT_SILU, EK_ACT_GELU_ERF};
    const struct arg_sizes       *w      = &t->a->widths;
    struct router                 r;
    struct net_options            o = {.kernels  = &t->kernels,
                                       .pool     = &t->r.threads.pool,
                                       .layers   = w->count + 1,
                                       .bias     = 1,
                                       .act      = acts[t->a->act],
                                       .positive = 1,
                                       .negative = 1};
    o.width[0]                      = t->hidden;
    for (size_t i = 0; i < w->count; i++) o.width[i + 1] = w->v[i];
    o.width[o.layers] = 1;
    *how              = (struct training){.fill = fill, .self = t};
    ek_status s       = train_net(how, &o, &t->a->train, &t->parts, e);
    if (!s) {
        borrow_layers(t, how->net, &o, &r);
        s = router_write(&r, t->a->text.out, t->vocab, labels_names[t->a->labels], e);
    }
    net_close(how->net);
    return s;
}

/* ---- what it is worth ---- */

/* P(rare) of the tested rows by the router as it was written. */
static ek_status ask(struct trainer *t, struct error *e)
{
    const size_t  first = t->rows - t->parts.test;
    struct router r;
    size_t        bytes;
    ek_status     s = router_read(&r, t->a->text.out, t->vocab, t->hidden, e);
    if (s) return s;
    float *x   = calloc(t->hidden, sizeof *x);
    t->p_rare  = calloc(t->parts.test, sizeof *t->p_rare);
    s          = router_work_bytes(&r, 1, NULL, &bytes);
    void *work = s ? NULL : aligned_alloc(64, (bytes + 64) / 64 * 64);
    if (!x || !t->p_rare || !work) s = EK_E_NOMEM;
    for (size_t i = 0; i < t->parts.test && !s; i++) {
        for (size_t c = 0; c < t->hidden; c++)
            x[c] = ek_f32_from_bf16(t->states[(first + i) * t->hidden + c]);
        s = router_run(&t->kernels, NULL, &r, x, 1, &t->p_rare[i], work, bytes);
    }
    free(x), free(work);
    router_drop(&r);
    return s ? fail(e, s, "%s: %s", t->a->text.out, ek_status_text(s)) : EK_OK;
}

static size_t count_rare(const struct trainer *t, size_t begin, size_t end)
{
    size_t rare = 0;
    for (size_t i = begin; i < end; i++) rare += (size_t)is_rare(t, i);
    return rare;
}

static ek_status run(struct trainer *t, struct error *e)
{
    struct training how;
    const double    start = seconds_now();
    ek_status       s     = collect(t, e);
    const double    seen  = seconds_now();
    if (!s) s = learn(t, &how, e);
    if (!s) s = ask(t, e);
    if (s) return s;
    const size_t first = t->rows - t->parts.test;
    printf("ek train-router: %zu of %zu ids are common; %zu tokens learnt, %zu to stop by, %zu "
           "tested\n%s rare: %.2f%% of the learnt, %.2f%% of the tested; %zu epochs, the best %zu: "
           "loss %.5f; states %.1f s, training %.1f s\n",
           t->router.common_count, t->vocab, t->parts.learn, t->parts.stop, t->parts.test,
           labels_names[t->a->labels],
           100 * (double)count_rare(t, 0, t->parts.learn) / (double)t->parts.learn,
           100 * (double)count_rare(t, first, t->rows) / (double)t->parts.test, how.ran,
           how.best_epoch, how.loss, seen - start, seconds_now() - seen);
    router_table(&(struct router_check){.said         = &t->said,
                                        .is_common    = t->is_common,
                                        .vocab        = t->vocab,
                                        .common_count = t->router.common_count,
                                        .first        = first,
                                        .count        = t->parts.test,
                                        .p_rare       = t->p_rare});
    printf("%s: written\n", t->a->text.out);
    return EK_OK;
}

static int open_all(struct trainer *t)
{
    const struct config *c = model_config(t->r.model);
    struct arg_sizes    *w = &t->a->widths;
    struct error         e;
    t->vocab = c->vocab, t->hidden = c->hidden;
    if (!w->count) w->v[w->count++] = c->hidden < (size_t)4 * 312 ? (c->hidden + 3) / 4 : 312;
    t->v.protocol.context = t->a->text.session.context;
    t->v.label            = "states";
    if (ek_kernels_default(&t->kernels)) return EXIT_RUN;
    if (evaluation_open(&t->v, &t->r, t->a->text.file, t->a->text.chunks, 0, &e))
        return runner_fail(&t->r, &e);
    t->room                = t->v.windows * t->v.protocol.context;
    t->a->text.session.tap = keep_state, t->a->text.session.tap_self = t;
    return runner_open_session(&t->r, &t->a->text.session);
}

int cmd_train_router(int argc, char **argv)
{
    struct router_args a      = {.text   = {.out = "router", .chunks = TRAIN_CHUNKS},
                                 .train  = TRAIN_DEFAULTS,
                                 .labels = LABELS_ARGMAX,
                                 .share  = 0.2};
    struct trainer     t      = {.a = &a};
    int                status = parse(&a, argc, argv);
    struct error       e;
    if (status != ARGS_GO) return status;
    status = runner_open_model(&t.r, "ek train-router", &a.text.session);
    if (!status) status = open_all(&t);
    if (!status && run(&t, &e)) status = runner_fail(&t.r, &e);
    evaluation_drop(&t.v);
    spill_drop(t.states, t.room * t.hidden * sizeof *t.states);
    free(t.said.next), free(t.said.top), free(t.said.whole), free(t.said.common);
    free(t.is_common), free(t.router.common), free(t.p_rare);
    runner_close(&t.r);
    return status;
}
