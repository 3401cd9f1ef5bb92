/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_calibrate.c - ek calibrate: the thresholds of a text that leave a wanted share of each
 * MLP's neurons. */
#include "tools/ek.h"

#include "model/thresholds.h"
#include "tools/evaluate.h"
#include "tools/results.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Magnitudes are counted by the upper bits of their float, which are in the order of the numbers:
 * bins of a thousandth. */
enum { BIN_SHIFT = 13, BINS = 1 << (31 - BIN_SHIFT), CHUNKS = 8 };

struct calibrate_args {
    struct evaluation_args text;
    double                 density;
};

struct calibration {
    struct calibrate_args *a;
    struct runner          r;
    struct evaluation      v;
    struct ek_kernels      kernels;
    size_t                 layers, ffn;
    uint64_t              *bins; /* [layers][BINS] */
    float                 *row;  /* [ffn] */
    double                *threshold, *reached;
};

static int parse(struct calibrate_args *a, int argc, char **argv)
{
    const struct arg list[] = {
        EVALUATION_ARGS(a->text, "only the first N chunks of the text; default: 8",
                        "where the thresholds go; default: thresholds.json"),
        {.names = "--density",
         .value = "X",
         .kind  = ARG_REAL,
         .to    = &a->density,
         .most  = 1,
         .help  = "share of the neurons that stays; default: 0.5"},
    };
    const struct arg_command c = {
        .name  = "ek calibrate",
        .usage = "-m MODEL -f FILE [OPTIONS]",
        .about = "Finds, for each layer, the threshold of |act(gate)| that a wanted share of the "
                 "MLP's neurons\nreaches on a text. --sparse takes the file.",
        .env   = "EK_"};
    const int status = evaluation_parse(&a->text, &c, list, sizeof list / sizeof *list, argc, argv);
    if (status != ARGS_GO || !a->text.session.sparse) return status;
    fputs("ek calibrate: --sparse is what it makes\n", stderr);
    return EXIT_USAGE;
}

/* ---- counting ---- */

static void count_gates(void *self, enum tap tap, size_t layer, const float *x, size_t m, size_t n,
                        size_t ld)
{
    struct calibration *c = self;
    if (tap != TAP_MLP_GATE || n != c->ffn) return;
    uint64_t *bins = c->bins + layer * BINS;
    for (size_t t = 0; t < m; t++) {
        (void)ek_act(&c->kernels, NULL, model_config(c->r.model)->act, x + t * ld, NULL, c->row, n);
        for (size_t i = 0; i < n; i++) {
            uint32_t bits;
            memcpy(&bits, &c->row[i], sizeof bits);
            bins[(bits & 0x7FFFFFFF) >> BIN_SHIFT]++;
        }
    }
}

/* The lower edge of the bin at which the wanted share is reached from above. */
static void find_threshold(struct calibration *c, size_t layer)
{
    const uint64_t *bins = c->bins + layer * BINS;
    uint64_t        all = 0, above = 0;
    uint32_t        bin = BINS;
    float           edge;
    for (size_t i = 0; i < BINS; i++) all += bins[i];
    const double wanted = c->a->density * (double)all;
    while (bin > 0 && (double)above < wanted) above += bins[--bin];
    if (bin < BINS && (double)above - wanted > wanted - (double)(above - bins[bin]) &&
        above > bins[bin])
        above -= bins[bin++]; /* one bin less is nearer */
    const uint32_t bits = bin < BINS ? bin << BIN_SHIFT : 0x7F000000;
    memcpy(&edge, &bits, sizeof edge);
    c->threshold[layer] = (double)edge;
    c->reached[layer]   = all ? (double)above / (double)all : 0;
}

/* ---- the command ---- */

static ek_status write_thresholds(const struct calibration *c, struct error *e)
{
    struct model_facts f;
    char               hash[32], text[32];
    json_t            *root   = results_new("calibrate", &c->r.topology, c->r.model);
    json_t            *values = json_array(), *reached = json_array();
    model_facts(c->r.model, &f);
    for (size_t i = 0; i < c->layers; i++) {
        json_array_append_new(values, json_real(c->threshold[i]));
        json_array_append_new(reached, json_real(c->reached[i]));
    }
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)f.checksum);
    snprintf(text, sizeof text, "%016llx", (unsigned long long)c->v.header.ids_hash);
    json_t *rest =
        json_pack("{s:s, s:i, s:s, s:s, s:f, s:{s:s, s:s, s:I, s:I}, s:o, s:o}", "format",
                  THRESHOLDS_FORMAT, "version", THRESHOLDS_VERSION, "method", "cats", "tap",
                  tap_name(TAP_MLP_GATE), "density", c->a->density, "text", "file", c->a->text.file,
                  "ids_checksum", text, "n_ctx", (json_int_t)c->v.protocol.context, "chunks",
                  (json_int_t)c->v.windows, "thresholds", values, "reached", reached);
    json_t   *model = json_object_get(root, "model");
    const int bad   = !root || !rest || json_object_update(root, rest) ||
                    json_object_set_new(model, "layers", json_integer((json_int_t)c->layers)) ||
                    json_object_set_new(model, "ffn", json_integer((json_int_t)c->ffn)) ||
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
    ek_status s   = evaluation_run(&c->v, NULL, e);
    double    sum = 0;
    for (size_t i = 0; i < c->layers && !s; i++) {
        find_threshold(c, i);
        printf("layer %3zu: |act(gate)| >= %-12.6g %6.2f%% of the neurons\n", i, c->threshold[i],
               100 * c->reached[i]);
        sum += c->reached[i];
    }
    if (!s) s = write_thresholds(c, e);
    if (!s)
        printf("%s: density %.4f, wanted %.4f\n", c->a->text.out, sum / (double)c->layers,
               c->a->density);
    return s;
}

static int open_all(struct calibration *c)
{
    struct error e;
    c->layers = model_config(c->r.model)->layers, c->ffn = model_config(c->r.model)->ffn;
    c->bins               = calloc(c->layers * BINS, sizeof *c->bins);
    c->row                = calloc(c->ffn, sizeof *c->row);
    c->threshold          = calloc(c->layers, sizeof *c->threshold);
    c->reached            = calloc(c->layers, sizeof *c->reached);
    c->v.protocol.context = c->a->text.session.context;
    c->v.label            = "calibrate";
    if (!c->bins || !c->row || !c->threshold || !c->reached || ek_kernels_default(&c->kernels))
        return fail(&e, EK_E_NOMEM, "out of memory"), runner_fail(&c->r, &e);
    if (evaluation_open(&c->v, &c->r, c->a->text.file, c->a->text.chunks, 0, &e))
        return runner_fail(&c->r, &e);
    c->a->text.session.tap = count_gates, c->a->text.session.tap_self = c;
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
    free(c.bins), free(c.row), free(c.threshold), free(c.reached);
    runner_close(&c.r);
    return status;
}
