/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_ablate.c - ek ablate: what leaving out blocks costs, one at a time and more and more of
 * them; writes the list that --lobotomy takes. */
#include "tools/ek.h"

#include "model/cuts.h"
#include "tools/evaluate.h"
#include "tools/progress.h"
#include "tools/results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHAT_NAMES "mlp|attention|layer"

struct ablate_args {
    struct evaluation_args text;
    size_t                 cut, tries;
    double                 loss; /* per cent of perplexity */
    int                    what; /* position in WHAT_NAMES */
};

/* What leaving something out does. */
struct effect {
    size_t layer;
    double ppl, ppl_e, kld, same; /* same: share of positions with the same best token */
};

struct ablation {
    struct ablate_args *a;
    struct runner       r;
    struct evaluation   v;
    enum cut_kind       kind;
    size_t              layers, greedy_count, cut_count; /* cut: of greedy, from the first on */
    unsigned char      *skip;                            /* [layers] */
    struct effect       base, *alone, *greedy;
};

static int parse(struct ablate_args *a, int argc, char **argv)
{
    const struct arg list[] = {
        EVALUATION_ARGS(a->text, "only the first N chunks of the text; default: 16",
                        "where the list goes; default: lobotomy.json"),
        {.names = "--what",
         .value = WHAT_NAMES,
         .kind  = ARG_CHOICE,
         .to    = &a->what,
         .help  = "what is left out of a layer; default: mlp"},
        {.names = "--max-loss",
         .value = "PCT",
         .kind  = ARG_REAL,
         .to    = &a->loss,
         .most  = 1e9,
         .help  = "the list ends before perplexity rises by more than this; default: 2"},
        {.names = "--cut",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &a->cut,
         .help  = "leave out N together, one after the other; default: half of the layers"},
        {.names = "--tries",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &a->tries,
         .least = 1,
         .help  = "each further cut is the best of the N that cost least alone; default: 4"},
    };
    const struct arg_command c = {
        .name  = "ek ablate",
        .usage = "-m MODEL -f FILE [OPTIONS]",
        .about = "Leaves out each layer's MLP, attention or both, then more and more of them, and "
                 "tells what it costs.\nThe list it writes is for --lobotomy. --ctx is 512 here "
                 "unless given.",
        .env   = "EK_"};
    const int status = evaluation_parse(&a->text, &c, list, sizeof list / sizeof *list, argc, argv);
    if (status != ARGS_GO) return status;
    if (a->text.session.lobotomy) fputs("ek ablate: --lobotomy is what it makes\n", stderr);
    return a->text.session.lobotomy ? EXIT_USAGE : ARGS_GO;
}

/* ---- measuring ---- */

static struct effect effect_of(const struct evaluation *v, size_t layer)
{
    const struct ppl_report *r    = &v->report;
    struct effect            made = {.layer = layer, .same = 1};
    double                   kld_e;
    likelihood_perplexity(&r->mine, &made.ppl, &made.ppl_e);
    if (r->count) mean_error(r->kld, r->count, &made.kld, &kld_e);
    if (r->count) made.same = (double)r->same / (double)r->positions;
    return made;
}

static ek_status measure(struct ablation *b, size_t layer, struct effect *out, struct error *e)
{
    const ek_status s = evaluation_run(&b->v, NULL, e);
    if (!s) *out = effect_of(&b->v, layer);
    return s;
}

static void print_head(const char *what)
{
    printf("\n%-28s %10s %9s %9s %9s %9s\n", what, "PPL", "+/-", "change", "KLD", "same top");
}
static void print_effect(const struct ablation *b, const char *name, const struct effect *f)
{
    printf("%-28s %10.4f %9.4f %8.2f%% %9.5f %8.2f%%\n", name, f->ppl, f->ppl_e,
           100 * (f->ppl / b->base.ppl - 1), f->kld, 100 * f->same);
    fflush(stdout);
}

/* Each layer alone. */
static ek_status leave_one_out(struct ablation *b, struct error *e)
{
    ek_status s = EK_OK;
    char      name[32];
    print_head("left out alone");
    for (size_t i = 0; i < b->layers && !s; i++) {
        progress_show(NULL, "ablate", i, b->layers);
        b->skip[i] = (unsigned char)b->kind;
        s          = measure(b, i, &b->alone[i], e);
        b->skip[i] = 0;
        progress_clear();
        snprintf(name, sizeof name, "%s %zu", cut_name(b->kind), i);
        if (!s) print_effect(b, name, &b->alone[i]);
    }
    return s;
}

static int by_cost(const void *x, const void *y)
{
    const struct effect *a = x, *b = y;
    return a->kld != b->kld ? (a->kld > b->kld) - (a->kld < b->kld)
                            : (a->layer > b->layer) - (a->layer < b->layer);
}

/* The cheapest of the `tries` layers that cost least alone and are still there. */
static ek_status next_cut(struct ablation *b, struct effect *best, struct error *e)
{
    ek_status s     = EK_OK;
    size_t    tried = 0;
    for (size_t i = 0; i < b->layers && tried < b->a->tries && !s; i++) {
        struct effect f;
        const size_t  layer = b->alone[i].layer;
        if (b->skip[layer]) continue;
        progress_show(NULL, "ablate", tried, b->a->tries);
        b->skip[layer] = (unsigned char)b->kind;
        s              = measure(b, layer, &f, e);
        b->skip[layer] = 0;
        if (!s && (!tried || by_cost(&f, best) < 0)) *best = f;
        tried++;
    }
    progress_clear();
    return s;
}

static ek_status cut_more(struct ablation *b, struct error *e)
{
    ek_status s = EK_OK;
    char      name[32];
    qsort(b->alone, b->layers, sizeof *b->alone, by_cost);
    print_head("left out together");
    while (!s && b->greedy_count < b->layers && b->greedy_count < b->a->cut) {
        struct effect best = {.layer = 0};
        s                  = next_cut(b, &best, e);
        if (s) break;
        snprintf(name, sizeof name, "+ %s %zu", cut_name(b->kind), best.layer);
        print_effect(b, name, &best);
        b->skip[best.layer]          = (unsigned char)b->kind;
        b->greedy[b->greedy_count++] = best;
        const int within = best.ppl <= b->base.ppl * (1 + b->a->loss / 100); /* NaN: no */
        if (within && b->cut_count + 1 == b->greedy_count) b->cut_count++;
    }
    return s;
}

/* ---- the file ---- */

static json_t *effect_json(const struct ablation *b, const struct effect *f)
{
    json_t *o = cut_json(f->layer, b->kind);
    if (o)
        json_object_update_new(o, json_pack("{s:f, s:f, s:f, s:f, s:f}", "ppl", f->ppl, "ppl_error",
                                            f->ppl_e, "delta", f->ppl - b->base.ppl, "kld", f->kld,
                                            "same_top", f->same));
    return o;
}

static ek_status write_list(const struct ablation *b, struct error *e)
{
    json_t *root = results_new("ablate", &b->r.topology, b->r.model);
    json_t *all = json_array(), *greedy = json_array(), *cut = json_array();
    char    hash[32];
    for (size_t i = 0; i < b->layers; i++) json_array_append_new(all, effect_json(b, &b->alone[i]));
    for (size_t i = 0; i < b->greedy_count; i++) {
        json_array_append_new(greedy, effect_json(b, &b->greedy[i]));
        if (i < b->cut_count) json_array_append_new(cut, cut_json(b->greedy[i].layer, b->kind));
    }
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)b->v.header.ids_hash);
    json_t *rest =
        json_pack("{s:s, s:s, s:{s:f, s:f}, s:{s:s, s:s, s:I, s:I, s:I}, s:f, s:o, s:o, s:o}",
                  "what", cut_name(b->kind), "metric", "kld", "baseline", "ppl", b->base.ppl,
                  "ppl_error", b->base.ppl_e, "text", "file", b->a->text.file, "ids_checksum", hash,
                  "n_ctx", (json_int_t)b->v.protocol.context, "chunks", (json_int_t)b->v.windows,
                  "scored", (json_int_t)b->v.header.positions, "max_loss_pct", b->a->loss, "layers",
                  all, "greedy", greedy, "cut", cut);
    json_t *model = json_object_get(root, "model");
    if (!root || !rest || json_object_update(root, rest) ||
        json_object_set_new(model, "layers", json_integer((json_int_t)b->layers))) {
        json_decref(root), json_decref(rest);
        return fail(e, EK_E_NOMEM, "%s: out of memory", b->a->text.out);
    }
    json_decref(rest);
    return results_write(root, b->a->text.out, e);
}

/* ---- the command ---- */

static ek_status run(struct ablation *b, struct error *e)
{
    ek_status s = evaluation_run_base(&b->v, b->a->text.out, e);
    if (s) return s;
    b->base = effect_of(&b->v, 0);
    printf("ek ablate: %zu layers, %llu tokens scored of %zu chunks of %zu; base PPL = %.4f +/- "
           "%.4f\n",
           b->layers, (unsigned long long)b->v.header.positions, b->v.windows,
           b->v.protocol.context, b->base.ppl, b->base.ppl_e);
    if (!s) s = leave_one_out(b, e);
    if (!s) s = cut_more(b, e);
    if (!s) s = write_list(b, e);
    if (!s)
        printf("\n%s: %zu of %zu %s%s cut\n", b->a->text.out, b->cut_count, b->layers,
               cut_name(b->kind), b->kind == CUT_MLP ? "s" : " blocks");
    return s;
}

static int open_all(struct ablation *b)
{
    static const enum cut_kind kinds[] = {CUT_MLP, CUT_ATTENTION, CUT_LAYER}; /* WHAT_NAMES */
    struct error               e;
    b->kind               = kinds[b->a->what];
    b->layers             = model_config(b->r.model)->layers;
    b->skip               = calloc(b->layers, 1);
    b->alone              = calloc(b->layers, sizeof *b->alone);
    b->greedy             = calloc(b->layers, sizeof *b->greedy);
    b->v.protocol.context = b->a->text.session.context;
    if (!b->skip || !b->alone || !b->greedy)
        return fail(&e, EK_E_NOMEM, "out of memory"), runner_fail(&b->r, &e);
    if (evaluation_open(&b->v, &b->r, b->a->text.file, b->a->text.chunks, 0, &e))
        return runner_fail(&b->r, &e);
    if (!b->a->cut) b->a->cut = (b->layers + 1) / 2;
    b->a->text.session.skip = b->skip;
    return runner_open_session(&b->r, &b->a->text.session);
}

int cmd_ablate(int argc, char **argv)
{
    struct ablate_args a = {.text = {.out = "lobotomy.json", .chunks = 16}, .tries = 4, .loss = 2};
    struct ablation    b = {.a = &a};
    int                status = parse(&a, argc, argv);
    struct error       e;
    if (status != ARGS_GO) return status;
    status = runner_open_model(&b.r, "ek ablate", &a.text.session);
    if (!status) status = open_all(&b);
    if (!status && run(&b, &e)) status = runner_fail(&b.r, &e);
    evaluation_drop(&b.v);
    free(b.skip), free(b.alone), free(b.greedy);
    runner_close(&b.r);
    return status;
}
