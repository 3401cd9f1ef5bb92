/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_profile.c - ek profile: how unevenly a model's MLP neurons work on a text, and what
 * reading only those that matter would save. */
#include "tools/ek.h"

#include "model/concentration.h"
#include "model/file.h"
#include "tools/evaluate.h"
#include "tools/results.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARES = 3, TOP_PERCENT = 20, CHUNKS = 4 };
static const double shares[SHARES] = {0.90, 0.95, 0.99};

struct profile_args {
    struct evaluation_args text;
    const char            *svg;
    double                 tau;
    int                    plain;
};

/* Sums of one layer over tokens. */
struct layer_sums {
    float   *norm; /* [ffn] length of the down column, or NULL */
    double  *mass; /* [ffn] sum of |a|                         */
    double   fired, needed[SHARES];
    uint64_t tokens;
};

/* What is told of a layer; shares of the neurons. */
struct layer_facts {
    double fire, gini, zipf, top, fixed[SHARES], token[SHARES];
};

/* Rows of one call of the tap, and what each gave. */
struct rows {
    const float       *x;
    size_t             n, ld, m;
    struct layer_sums *to;
    double             tau;
    double            *scratch; /* [m][n] */
    double            *fired, *needed;
};

struct profile {
    struct profile_args *a;
    struct runner        r;
    struct evaluation    v;
    size_t               layers, ffn, room; /* room: tokens that scratch holds */
    struct layer_sums   *sums;
    struct layer_facts  *facts;
    double              *scratch, *fired, *needed;
    int                  failed;
};

static int parse(struct profile_args *a, int argc, char **argv)
{
    const struct arg list[] = {
        EVALUATION_ARGS(a->text, "only the first N chunks of the text; default: 4",
                        "also write the results as JSON"),
        {.names = "--tau",
         .value = "X",
         .kind  = ARG_REAL,
         .to    = &a->tau,
         .most  = 1e6,
         .help  = "a neuron fires when |a| is above X times the token's rms; default: 0.1"},
        {.names = "--plain",
         .kind  = ARG_FLAG,
         .to    = &a->plain,
         .help  = "|a| alone, not times the length of the neuron's down column"},
        {.names = "--svg", .value = "FILE", .kind = ARG_TEXT, .to = &a->svg, .help = "draw them"},
    };
    const struct arg_command c = {
        .name  = "ek profile",
        .usage = "-m MODEL -f FILE [OPTIONS]",
        .about = "Which neurons of each MLP matter on a text: fire rate, Gini coefficient, Zipf "
                 "slope, and how\nmany hold most of the mass. a = act(gate) up, what the down "
                 "projection reads.",
        .env   = "EK_"};
    return evaluation_parse(&a->text, &c, list, sizeof list / sizeof *list, argc, argv);
}

/* ---- what a token's neurons do ---- */

static void profile_tokens(void *task, size_t begin, size_t end)
{
    const struct rows *r = task;
    for (size_t t = begin; t < end; t++) {
        const float *x = r->x + t * r->ld;
        double      *v = r->scratch + t * r->n, squares = 0, fired = 0;
        for (size_t i = 0; i < r->n; i++) squares += (double)x[i] * (double)x[i];
        const double least = r->tau * sqrt(squares / (double)r->n);
        for (size_t i = 0; i < r->n; i++) {
            fired += fabs((double)x[i]) > least;
            v[i] = fabs((double)x[i]) * (r->to->norm ? (double)r->to->norm[i] : 1);
        }
        r->fired[t] = fired / (double)r->n;
    }
}
static void add_mass(void *task, size_t begin, size_t end)
{
    const struct rows *r = task;
    for (size_t i = begin; i < end; i++)
        for (size_t t = 0; t < r->m; t++) r->to->mass[i] += r->scratch[t * r->n + i];
}
static void sort_tokens(void *task, size_t begin, size_t end)
{
    const struct rows *r = task;
    for (size_t t = begin; t < end; t++) {
        double *v = r->scratch + t * r->n;
        qsort(v, r->n, sizeof *v, ascending_double);
        for (size_t q = 0; q < SHARES; q++)
            r->needed[t * SHARES + q] = (double)count_for_share(v, r->n, shares[q]) / (double)r->n;
    }
}

static void look(void *self, enum tap tap, size_t layer, const float *x, size_t m, size_t n,
                 size_t ld)
{
    struct profile    *p    = self;
    struct layer_sums *to   = &p->sums[layer];
    const ek_pool     *pool = &p->r.threads.pool;
    if (tap != TAP_MLP_HIDDEN || p->failed) return;
    struct rows r = {.x       = x,
                     .n       = n,
                     .ld      = ld,
                     .m       = m,
                     .to      = to,
                     .tau     = p->a->tau,
                     .scratch = p->scratch,
                     .fired   = p->fired,
                     .needed  = p->needed};
    if (n != p->ffn || m > p->room) {
        p->failed = 1;
        return;
    }
    ek_parallel(pool, m, 1, profile_tokens, &r);
    ek_parallel(pool, n, 64, add_mass, &r);
    ek_parallel(pool, m, 1, sort_tokens, &r);
    for (size_t t = 0; t < m; t++) {
        to->fired += p->fired[t];
        for (size_t q = 0; q < SHARES; q++) to->needed[q] += p->needed[t * SHARES + q];
    }
    to->tokens += m;
}

static struct layer_facts facts_of(struct layer_sums *s, size_t ffn)
{
    struct layer_facts f      = {.fire = 0};
    const double       tokens = (double)s->tokens;
    if (!s->tokens) return f;
    qsort(s->mass, ffn, sizeof *s->mass, ascending_double);
    f.fire = s->fired / tokens;
    f.gini = gini(s->mass, ffn);
    f.zipf = zipf_slope(s->mass, ffn);
    f.top  = share_of_largest(s->mass, ffn, (ffn * TOP_PERCENT + 50) / 100);
    for (size_t q = 0; q < SHARES; q++) {
        f.fixed[q] = (double)count_for_share(s->mass, ffn, shares[q]) / (double)ffn;
        f.token[q] = s->needed[q] / tokens;
    }
    return f;
}

/* ---- output ---- */

static struct layer_facts mean_of(const struct profile *p)
{
    struct layer_facts m = {.fire = 0};
    double             n = 0;
    for (size_t i = 0; i < p->layers; i++) n += p->sums[i].tokens > 0;
    for (size_t i = 0; i < p->layers && n > 0; i++) {
        const struct layer_facts *f = &p->facts[i];
        m.fire += f->fire / n, m.gini += f->gini / n, m.zipf += f->zipf / n, m.top += f->top / n;
        for (size_t q = 0; q < SHARES; q++)
            m.fixed[q] += f->fixed[q] / n, m.token[q] += f->token[q] / n;
    }
    return m;
}

static void print_facts(const char *name, const struct layer_facts *f)
{
    printf("%5s %7.1f%% %6.3f %7.2f %7.1f%%", name, 100 * f->fire, f->gini, f->zipf, 100 * f->top);
    for (size_t q = 0; q < SHARES; q++) printf(" %6.1f%%", 100 * f->fixed[q]);
    fputs("  ", stdout);
    for (size_t q = 0; q < SHARES; q++) printf(" %6.1f%%", 100 * f->token[q]);
    putchar('\n');
}

/* Share of the bytes of a token that reading only these neurons would save. */
static double saving(const struct profile *p, const struct layer_facts *mean, size_t q)
{
    struct model_facts f;
    model_facts(p->r.model, &f);
    return (1 - mean->token[q]) * (double)f.mlp_bytes / (double)f.bytes_per_token;
}

static void print_all(const struct profile *p, const struct layer_facts *mean)
{
    char name[32];
    printf("\n%5s %8s %6s %7s %8s %23s   %23s\n", "", "", "", "", "top", "neurons for, over text",
           "neurons for, per token");
    printf("%5s %8s %6s %7s %7d%% %6d%% %6d%% %6d%%   %6d%% %6d%% %6d%%\n", "layer", "fire", "gini",
           "zipf", TOP_PERCENT, 90, 95, 99, 90, 95, 99);
    for (size_t i = 0; i < p->layers; i++) {
        snprintf(name, sizeof name, "%zu", i);
        if (p->sums[i].tokens) print_facts(name, &p->facts[i]);
    }
    print_facts("mean", mean);
    for (size_t q = 0; q < SHARES; q++)
        printf("%s%.0f%% of the mass: %.1f%% of a token's bytes less", q ? "; " : "\n",
               100 * shares[q], 100 * saving(p, mean, q));
    putchar('\n');
}

static json_t *facts_json(const struct layer_facts *f)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:[f,f,f], s:[f,f,f]}", "fire_rate", f->fire, "gini",
                     f->gini, "zipf_slope", f->zipf, "top_mass", f->top, "neurons_over_text",
                     f->fixed[0], f->fixed[1], f->fixed[2], "neurons_per_token", f->token[0],
                     f->token[1], f->token[2]);
}

static ek_status write_json(const struct profile *p, const struct layer_facts *mean,
                            struct error *e)
{
    json_t *root = results_new("profile", &p->r.topology, p->r.model), *layers = json_array();
    for (size_t i = 0; i < p->layers; i++) {
        json_t *f = p->sums[i].tokens ? facts_json(&p->facts[i]) : json_null();
        if (p->sums[i].tokens) json_object_set_new(f, "layer", json_integer((json_int_t)i));
        json_array_append_new(layers, f);
    }
    json_t *rest =
        json_pack("{s:s, s:s, s:I, s:I, s:f, s:b, s:[f,f,f], s:i, s:[f,f,f], s:o, s:o}", "tap",
                  tap_name(TAP_MLP_HIDDEN), "file", p->a->text.file, "tokens",
                  (json_int_t)p->sums[0].tokens, "neurons", (json_int_t)p->ffn, "tau", p->a->tau,
                  "times_down_norm", !p->a->plain, "mass_shares", shares[0], shares[1], shares[2],
                  "top_percent", TOP_PERCENT, "bytes_saved", saving(p, mean, 0), saving(p, mean, 1),
                  saving(p, mean, 2), "mean", facts_json(mean), "layers", layers);
    if (!root || !rest || json_object_set_new(root, "results", rest)) {
        json_decref(root);
        return fail(e, EK_E_NOMEM, "%s: out of memory", p->a->text.out);
    }
    return results_write(root, p->a->text.out, e);
}

/* Two panels of curves over the layers: neurons needed for 90, 95, 99 % of the mass of the text, and
 * of each token. */
static ek_status draw(const struct profile *p, struct error *e)
{
    enum { W = 340, H = 220, LEFT = 50, TOP = 40, GAP = 60 };
    static const char *const colour[] = {"#4c9f70", "#3366aa", "#aa3355"};
    const double             step     = p->layers > 1 ? (double)W / (double)(p->layers - 1) : 0;
    char                    *text     = NULL;
    size_t                   bytes    = 0;
    FILE                    *f        = open_memstream(&text, &bytes);
    if (!f) return fail(e, EK_E_NOMEM, "%s: out of memory", p->a->svg);
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n"
            "<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            LEFT + 2 * W + GAP + 20, TOP + H + 50);
    for (int panel = 0; panel < 2; panel++) {
        const int left = LEFT + panel * (W + GAP);
        fprintf(f,
                "<text x=\"%d\" y=\"20\">share of neurons that hold 90, 95, 99 %% of the mass, "
                "%s</text>\n",
                left, panel ? "per token" : "over the text");
        for (int y = 0; y <= 100; y += 25)
            fprintf(f,
                    "<path d=\"M%d %dh%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%d\" "
                    "text-anchor=\"end\">%d %%</text>\n",
                    left, TOP + H - H * y / 100, W, left - 6, TOP + H - H * y / 100 + 4, y);
        for (size_t q = 0; q < SHARES; q++) {
            fprintf(f, "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"%s\" points=\"",
                    colour[q]);
            for (size_t i = 0; i < p->layers; i++)
                fprintf(f, "%.1f,%.1f ", (double)left + step * (double)i,
                        TOP + H - H * (panel ? p->facts[i].token[q] : p->facts[i].fixed[q]));
            fputs("\"/>\n", f);
        }
        fprintf(f, "<text x=\"%d\" y=\"%d\">layer 0 to %zu</text>\n", left, TOP + H + 20,
                p->layers - 1);
    }
    fputs("</svg>\n", f);
    const int bad = fclose(f);
    ek_status s   = bad ? fail(e, EK_E_NOMEM, "%s: out of memory", p->a->svg)
                        : file_write(p->a->svg, text, bytes, e);
    free(text);
    return s;
}

/* ---- the command ---- */

static int open_all(struct profile *p)
{
    const struct config *c = model_config(p->r.model);
    struct error         e;
    p->layers = c->layers, p->ffn = c->ffn, p->room = p->a->text.session.batch;
    p->sums    = calloc(p->layers, sizeof *p->sums);
    p->facts   = calloc(p->layers, sizeof *p->facts);
    p->scratch = calloc(p->room * p->ffn, sizeof *p->scratch);
    p->fired   = calloc(p->room, sizeof *p->fired);
    p->needed  = calloc(p->room * SHARES, sizeof *p->needed);
    int memory = p->sums && p->facts && p->scratch && p->fired && p->needed;
    for (size_t i = 0; i < p->layers && memory; i++) {
        struct layer_sums *s = &p->sums[i];
        s->mass              = calloc(p->ffn, sizeof *s->mass);
        s->norm              = p->a->plain ? NULL : calloc(p->ffn, sizeof *s->norm);
        memory               = s->mass && (s->norm || p->a->plain);
        if (memory && s->norm)
            (void)model_input_norms(p->r.model, TAP_MLP_HIDDEN, i, s->norm); /* cut: no rows */
    }
    p->v.protocol.context = p->a->text.session.context;
    p->v.label            = "profile";
    if (!memory) return fail(&e, EK_E_NOMEM, "out of memory"), runner_fail(&p->r, &e);
    if (evaluation_open(&p->v, &p->r, p->a->text.file, p->a->text.chunks, 0, &e))
        return runner_fail(&p->r, &e);
    p->a->text.session.tap = look, p->a->text.session.tap_self = p;
    return runner_open_session(&p->r, &p->a->text.session);
}

static ek_status run(struct profile *p, struct error *e)
{
    double    ppl, error;
    ek_status s = evaluation_run(&p->v, NULL, e);
    if (!s && p->failed) s = fail(e, EK_E_UNSUPPORTED, "an MLP of another width");
    uint64_t seen = 0;
    for (size_t i = 0; i < p->layers; i++) seen += p->sums[i].tokens;
    if (!s && !seen)
        s = fail(e, EK_E_UNSUPPORTED,
                 "%s: stored neurons do not show what they do; take the model it was made from",
                 p->a->text.session.model);
    if (s) return s;
    for (size_t i = 0; i < p->layers; i++) p->facts[i] = facts_of(&p->sums[i], p->ffn);
    const struct layer_facts mean = mean_of(p);
    likelihood_perplexity(&p->v.report.mine, &ppl, &error);
    printf(
        "ek profile: %zu layers of %zu neurons, %llu tokens, tau %g, |a|%s; PPL = %.4f +/- %.4f\n",
        p->layers, p->ffn, (unsigned long long)p->sums[0].tokens, p->a->tau,
        p->a->plain ? "" : " |down|", ppl, error);
    print_all(p, &mean);
    if (p->a->text.out) s = write_json(p, &mean, e);
    if (!s && p->a->svg) s = draw(p, e);
    return s;
}

int cmd_profile(int argc, char **argv)
{
    struct profile_args a      = {.text = {.chunks = CHUNKS}, .tau = 0.1};
    struct profile      p      = {.a = &a};
    int                 status = parse(&a, argc, argv);
    struct error        e;
    if (status != ARGS_GO) return status;
    status = runner_open_model(&p.r, "ek profile", &a.text.session);
    if (!status) status = open_all(&p);
    if (!status && run(&p, &e)) status = runner_fail(&p.r, &e);
    evaluation_drop(&p.v);
    for (size_t i = 0; p.sums && i < p.layers; i++) free(p.sums[i].mass), free(p.sums[i].norm);
    free(p.sums), free(p.facts), free(p.scratch), free(p.fired), free(p.needed);
    runner_close(&p.r);
    return status;
}
