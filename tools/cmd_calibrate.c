/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_calibrate.c - ek calibrate: the thresholds of a text that leave a wanted share of each
 * MLP's neurons (CATS, arXiv 2404.08763), or of every projection's inputs (TEAL, arXiv 2408.14690). */
#include "tools/ek.h"

#include "model/thresholds.h"
#include "tools/evaluate.h"
#include "tools/results.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Magnitudes are counted by the upper bits of their float, which are in the order of the numbers:
 * bins of a thousandth. */
enum { BIN_SHIFT = 13, BINS = 1 << (31 - BIN_SHIFT), CHUNKS = 8, SITES_MAX = 4 };

#define METHOD_NAMES   "cats|teal"
#define ALLOCATE_NAMES "uniform|greedy"

struct calibrate_args {
    struct evaluation_args text;
    double                 density;
    int                    method, allocate; /* positions in METHOD_NAMES, ALLOCATE_NAMES */
};

/* What a tap shows of one layer, and what becomes of it. */
struct site {
    uint64_t *bins;   /* [BINS] magnitudes                                          */
    double   *energy; /* [BINS] greedy: of squares times those of the weights' columns */
    float    *norm;   /* [n] greedy: lengths of those columns                       */
    size_t    n;
    double    density, threshold, reached; /* density: wanted */
};

struct calibration {
    struct calibrate_args *a;
    struct runner          r;
    struct evaluation      v;
    struct ek_kernels      kernels;
    const enum tap        *taps; /* [tap_count] */
    size_t                 tap_count, layers;
    struct site           *sites; /* [layers][tap_count] */
    float                 *row;   /* [ffn] */
    int                    failed;
};

static int parse(struct calibrate_args *a, int argc, char **argv)
{
    const struct arg list[] = {
        EVALUATION_ARGS(a->text, "only the first N chunks of the text; default: 8",
                        "where the thresholds go; default: thresholds.json"),
        {.names = "--method",
         .value = METHOD_NAMES,
         .kind  = ARG_CHOICE,
         .to    = &a->method,
         .help  = "cats: neurons of MLPs by their gate; teal: inputs of every product by\n"
                  "their size; default: cats"},
        {.names = "--density",
         .value = "X",
         .kind  = ARG_REAL,
         .to    = &a->density,
         .most  = 1,
         .help  = "share of the neurons or inputs that stays; default: 0.5"},
        {.names = "--allocate",
         .value = ALLOCATE_NAMES,
         .kind  = ARG_CHOICE,
         .to    = &a->allocate,
         .help  = "with teal: the same density for all products of a layer, or, for the same\n"
                  "bytes, more where the estimated error grows faster; default: uniform"},
    };
    const struct arg_command c = {
        .name  = "ek calibrate",
        .usage = "-m MODEL -f FILE [OPTIONS]",
        .about =
            "Finds, for each layer, the thresholds that a wanted share of the numbers reaches on a "
            "text.\n--sparse takes the file.",
        .env = "EK_"};
    const int status = evaluation_parse(&a->text, &c, list, sizeof list / sizeof *list, argc, argv);
    if (status != ARGS_GO) return status;
    if (a->allocate && !a->method) {
        fputs("ek calibrate: --allocate: needs --method teal\n", stderr);
        return EXIT_USAGE;
    }
    if (!a->text.session.sparse) return ARGS_GO;
    fputs("ek calibrate: --sparse is what it makes\n", stderr);
    return EXIT_USAGE;
}

/* ---- counting ---- */

static size_t bin_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (bits & 0x7FFFFFFF) >> BIN_SHIFT;
}

/* Memory of a site when it is first seen. */
static int open_site(struct calibration *c, struct site *s, enum tap tap, size_t layer, size_t n)
{
    s->n    = n;
    s->bins = calloc(BINS, sizeof *s->bins);
    if (!s->bins || !c->a->allocate) return s->bins ? 0 : -1;
    s->energy = calloc(BINS, sizeof *s->energy);
    s->norm   = malloc(n * sizeof *s->norm);
    return !s->energy || !s->norm || model_input_norms(c->r.model, tap, layer, s->norm) ? -1 : 0;
}

static void count_row(struct site *s, const float *x)
{
    for (size_t i = 0; i < s->n; i++) s->bins[bin_of(x[i])]++;
    for (size_t i = 0; s->energy && i < s->n; i++) {
        const double y = (double)x[i] * (double)s->norm[i];
        s->energy[bin_of(x[i])] += y * y;
    }
}

static void count(void *self, enum tap tap, size_t layer, const float *x, size_t m, size_t n,
                  size_t ld)
{
    struct calibration *c  = self;
    size_t              at = 0;
    while (at < c->tap_count && c->taps[at] != tap) at++;
    if (at == c->tap_count || c->failed) return;
    struct site *s = &c->sites[layer * c->tap_count + at];
    if (!s->bins && open_site(c, s, tap, layer, n)) {
        c->failed = 1;
        return;
    }
    for (size_t t = 0; t < m; t++) {
        const float *row = x + t * ld;
        if (tap == TAP_MLP_GATE) {
            (void)ek_act(&c->kernels, NULL, model_config(c->r.model)->act, row, NULL, c->row, n);
            row = c->row;
        }
        count_row(s, row);
    }
}

/* ---- thresholds ---- */

/* The lower edge of the bin at which the wanted share is reached from above. Nothing seen: nothing
 * left out. */
static void find_threshold(struct site *s)
{
    uint64_t all = 0, above = 0;
    uint32_t bin = BINS;
    float    edge;
    for (size_t i = 0; s->bins && i < BINS; i++) all += s->bins[i];
    if (!all) return;
    const double wanted = s->density * (double)all;
    while (bin > 0 && (double)above < wanted) above += s->bins[--bin];
    if (bin < BINS && (double)above - wanted > wanted - (double)(above - s->bins[bin]) &&
        above > s->bins[bin])
        above -= s->bins[bin++]; /* one bin less is nearer */
    const uint32_t bits = bin < BINS ? bin << BIN_SHIFT : 0x71000000;
    memcpy(&edge, &bits, sizeof edge);
    s->threshold = (double)edge;
    s->reached   = (double)above / (double)all;
}

/* How much of a site's output is lost, as a share of its energy, where the smallest inputs are left
 * out in steps of a hundredth: lost [STEPS + 1]. */
enum { STEPS = 100 };
static void find_losses(const struct site *s, double *lost)
{
    double all = 0, energy = 0, below = 0, sum = 0;
    size_t step = 0;
    for (size_t i = 0; i < BINS; i++) all += (double)s->bins[i], sum += s->energy[i];
    for (size_t i = 0; i < BINS && step <= STEPS; i++) {
        while (step <= STEPS && below + (double)s->bins[i] > all * (double)step / STEPS)
            lost[step++] = sum > 0 ? energy / sum : 0;
        below += (double)s->bins[i], energy += s->energy[i];
    }
    while (step <= STEPS) lost[step++] = 1;
}

/* TEAL's greedy allocation, with the estimate that outputs of different inputs are independent in place
 * of running the block: a hundredth more is left out where it loses least for the bytes it saves. */
static void allocate(const struct calibration *c, size_t layer, struct site *s)
{
    double lost[SITES_MAX][STEPS + 1], bytes[SITES_MAX], all = 0, saved = 0;
    size_t step[SITES_MAX] = {0};
    for (size_t i = 0; i < c->tap_count; i++) {
        if (!s[i].bins) return; /* a block that was cut */
        find_losses(&s[i], lost[i]);
        bytes[i] = (double)model_input_bytes(c->r.model, c->taps[i], layer);
        all += bytes[i];
    }
    while (saved < (1 - c->a->density) * all) {
        size_t best  = SITES_MAX;
        double least = 0;
        for (size_t i = 0; i < c->tap_count; i++) {
            if (step[i] == STEPS) continue;
            const double cost = (lost[i][step[i] + 1] - lost[i][step[i]]) / bytes[i];
            if (best == SITES_MAX || cost < least) best = i, least = cost;
        }
        if (best == SITES_MAX) break;
        step[best]++, saved += bytes[best] / STEPS;
    }
    for (size_t i = 0; i < c->tap_count; i++) s[i].density = 1 - (double)step[i] / STEPS;
}

/* Sets the sites' thresholds; the share of the bytes that stays. */
static double decide(struct calibration *c)
{
    double all = 0, stays = 0;
    for (size_t layer = 0; layer < c->layers; layer++) {
        struct site *s = c->sites + layer * c->tap_count;
        for (size_t i = 0; i < c->tap_count; i++) s[i].density = c->a->density;
        if (c->a->allocate) allocate(c, layer, s);
        for (size_t i = 0; i < c->tap_count; i++) {
            const double bytes = c->taps[i] == TAP_MLP_GATE
                                     ? 1
                                     : (double)model_input_bytes(c->r.model, c->taps[i], layer);
            find_threshold(&s[i]);
            all += bytes, stays += bytes * s[i].reached;
            printf("layer %3zu: %-10s >= %-12.6g %6.2f%%\n", layer, tap_name(c->taps[i]),
                   s[i].threshold, 100 * s[i].reached);
        }
    }
    return all > 0 ? stays / all : 0;
}

/* ---- the command ---- */

/* {tap: [layers]} */
static json_t *by_tap(const struct calibration *c, int reached)
{
    json_t *taps = json_object();
    for (size_t i = 0; i < c->tap_count; i++) {
        json_t *list = json_array();
        for (size_t l = 0; l < c->layers; l++) {
            const struct site *s = &c->sites[l * c->tap_count + i];
            json_array_append_new(list, json_real(reached ? s->reached : s->threshold));
        }
        json_object_set_new(taps, tap_name(c->taps[i]), list);
    }
    return taps;
}

static ek_status write_thresholds(const struct calibration *c, struct error *e)
{
    static const char *const methods[] = {"cats", "teal"}, *const allocations[] = {"uniform",
                                                                                   "greedy"};
    struct model_facts f;
    char               hash[32], text[32];
    json_t            *root = results_new("calibrate", &c->r.topology, c->r.model);
    model_facts(c->r.model, &f);
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)f.checksum);
    snprintf(text, sizeof text, "%016llx", (unsigned long long)c->v.header.ids_hash);
    json_t *rest = json_pack(
        "{s:s, s:i, s:s, s:s, s:f, s:{s:s, s:s, s:I, s:I}, s:o, s:o}", "format", THRESHOLDS_FORMAT,
        "version", THRESHOLDS_VERSION, "method", methods[c->a->method], "allocation",
        allocations[c->a->allocate], "density", c->a->density, "text", "file", c->a->text.file,
        "ids_checksum", text, "n_ctx", (json_int_t)c->v.protocol.context, "chunks",
        (json_int_t)c->v.windows, "thresholds", by_tap(c, 0), "reached", by_tap(c, 1));
    json_t   *model = json_object_get(root, "model");
    const int bad   = !root || !rest || json_object_update(root, rest) ||
                    json_object_set_new(model, "layers", json_integer((json_int_t)c->layers)) ||
                    json_object_set_new(model, "checksum", json_string(hash));
    json_decref(rest);
    if (bad) {
        json_decref(root);
        return fail(e, EK_E_NOMEM, "%s: out of memory", c->a->text.out);
    }
    return results_write(root, c->a->text.out, e);
}

static ek_status run(struct calibration *c, struct error *e)
{
    ek_status s = evaluation_run(&c->v, NULL, e);
    if (!s && c->failed)
        s = fail(e, EK_E_UNSUPPORTED, "%s: out of memory, or neurons stored without their matrices",
                 c->a->text.session.model);
    if (s) return s;
    const double density = decide(c);
    s                    = write_thresholds(c, e);
    if (!s) printf("%s: density %.4f, wanted %.4f\n", c->a->text.out, density, c->a->density);
    return s;
}

static int open_all(struct calibration *c)
{
    static const enum tap cats[] = {TAP_MLP_GATE},
                          teal[] = {TAP_ATTN_IN, TAP_ATTN_OUT, TAP_MLP_IN, TAP_MLP_HIDDEN};
    struct error e;
    c->taps               = c->a->method ? teal : cats;
    c->tap_count          = c->a->method ? sizeof teal / sizeof *teal : 1;
    c->layers             = model_config(c->r.model)->layers;
    c->sites              = calloc(c->layers * c->tap_count, sizeof *c->sites);
    c->row                = calloc(model_config(c->r.model)->ffn, sizeof *c->row);
    c->v.protocol.context = c->a->text.session.context;
    c->v.label            = "calibrate";
    if (!c->sites || !c->row || ek_kernels_default(&c->kernels))
        return fail(&e, EK_E_NOMEM, "out of memory"), runner_fail(&c->r, &e);
    if (evaluation_open(&c->v, &c->r, c->a->text.file, c->a->text.chunks, 0, &e))
        return runner_fail(&c->r, &e);
    c->a->text.session.tap = count, c->a->text.session.tap_self = c;
    return runner_open_session(&c->r, &c->a->text.session);
}

int cmd_calibrate(int argc, char **argv)
{
    struct calibrate_args a      = {.text    = {.out = "thresholds.json", .chunks = CHUNKS},
                                    .density = 0.5};
    struct calibration    c      = {.a = &a};
    int                   status = parse(&a, argc, argv);
    struct error          e;
    if (status != ARGS_GO) return status;
    status = runner_open_model(&c.r, "ek calibrate", &a.text.session);
    if (!status) status = open_all(&c);
    if (!status && run(&c, &e)) status = runner_fail(&c.r, &e);
    evaluation_drop(&c.v);
    for (size_t i = 0; c.sites && i < c.layers * c.tap_count; i++)
        free(c.sites[i].bins), free(c.sites[i].energy), free(c.sites[i].norm);
    free(c.sites), free(c.row);
    runner_close(&c.r);
    return status;
}
