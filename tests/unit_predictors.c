/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_predictors.c - predictor files: what is written is read, what is another model's, tap's
 * or broken is refused in one line that names the file. */
#include "model/file.h"
#include "model/matrices.h"
#include "model/predictors.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LAYERS = 2, HIDDEN = 5, RANK = 3, FFN = 7 };

static char                        path[] = "/tmp/ek_predictor_XXXXXX";
static const struct predictors_for want   = {"mlp.in", LAYERS, HIDDEN, FFN, 0xab};

static void make_path(void)
{
    const int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
}
static void remove_path(void)
{
    unlink(path);
}

static float down[LAYERS][RANK * HIDDEN], up[LAYERS][FFN * RANK];

static struct ek_weights rows(const float *data, size_t n, size_t k)
{
    return (struct ek_weights){EK_FMT_f32, EK_LAYOUT_ROWS, n, k, data};
}

static void write_file(enum ek_rule_kind rule, double first, double second)
{
    struct predictor_layer layer[LAYERS];
    struct predictors      p = {layer, LAYERS, rule};
    struct error           e = {""};
    for (int l = 0; l < LAYERS; l++) {
        for (int i = 0; i < RANK * HIDDEN; i++) down[l][i] = (float)(i - 3 * l) * 0.25F;
        for (int i = 0; i < FFN * RANK; i++) up[l][i] = (float)(2 * l - i) * 0.5F;
        layer[l] = (struct predictor_layer){rows(down[l], RANK, HIDDEN), rows(up[l], FFN, RANK),
                                            l ? second : first};
    }
    cr_assert_eq(predictors_write(&p, path, &want, 0x77, &e), EK_OK, "%s", e.text);
}

Test(predictors, come_back, .init = make_path, .fini = remove_path)
{
    struct predictors p;
    struct error      e = {""};
    write_file(EK_RULE_TOPK, 0.3, 1);
    cr_assert_eq(predictors_read(&p, path, &want, &e), EK_OK, "%s", e.text);
    cr_assert(p.layers == LAYERS && p.rule == EK_RULE_TOPK);
    for (int l = 0; l < LAYERS; l++) {
        cr_assert(p.layer[l].down.n == RANK && p.layer[l].up.n == FFN);
        cr_assert_eq(memcmp(p.layer[l].down.data, down[l], sizeof down[l]), 0);
        cr_assert_eq(memcmp(p.layer[l].up.data, up[l], sizeof up[l]), 0);
    }
    cr_assert_eq(predictors_rule(&p, 0, FFN).k, 3); /* 2.1 rounded up */
    cr_assert_eq(predictors_rule(&p, 1, FFN).k, FFN);
    predictors_drop(&p);
    write_file(EK_RULE_THRESHOLD, -1.25, 1e-7);
    cr_assert_eq(predictors_read(&p, path, &want, &e), EK_OK, "%s", e.text);
    cr_assert(p.layer[0].value == -1.25 && fabs(p.layer[1].value - 1e-7) < 1e-15);
    predictors_drop(&p);
}

static void refused(const struct predictors_for *what, const char *said)
{
    struct predictors p;
    struct error      e = {""};
    cr_assert_neq(predictors_read(&p, path, what, &e), EK_OK, "%s", said);
    cr_assert(strstr(e.text, path) && strstr(e.text, said) && !strchr(e.text, '\n'),
              "wanted %s; had %s", said, e.text);
    cr_assert(!p.layer && !p.layers);
}

Test(predictors, of_another_model, .init = make_path, .fini = remove_path)
{
    struct predictors_for other;
    write_file(EK_RULE_THRESHOLD, 0, 0);
    other = want, other.checksum = 0xac;
    refused(&other, "made for the model 00000000000000ab, not 00000000000000ac");
    other = want, other.tap = "mlp.hidden";
    refused(&other, "made for mlp.in, not mlp.hidden");
    other = want, other.hidden = 6;
    refused(&other, "layers.0.down: its shape");
    other = want, other.ffn = 8;
    refused(&other, "layers.0.up: its shape");
    other = want, other.layers = 3;
    refused(&other, "values: not one for each layer");
    other = want, other.layers = 1;
    refused(&other, "values: more than the 1 layers");
    write_file(EK_RULE_GAUSS, 0.5, 1.5);
    refused(&want, "values: not one for each layer that gauss can have");
}

/* Files of others: no metadata, another rule, a matrix that is missing. */
Test(predictors, of_another_kind, .init = make_path, .fini = remove_path)
{
    static const struct {
        const char *metadata, *said;
    } files[] = {
        {"{}", "format: this is missing, not edgekern predictor"},
        {"{\"format\":\"edgekern predictor\",\"version\":\"2\"}", "version: this is 2, not 1"},
        {"{\"format\":\"edgekern predictor\",\"version\":\"1\",\"tap\":\"mlp.in\","
         "\"model_checksum\":\"00000000000000ab\",\"rule\":\"oracle\"}",
         "rule: oracle is not supported"},
        {"{\"format\":\"edgekern predictor\",\"version\":\"1\",\"tap\":\"mlp.in\","
         "\"model_checksum\":\"00000000000000ab\",\"rule\":\"sigma\",\"values\":\"0 2\"}",
         "tensor layers.0.down: missing"},
    };
    const struct matrix m = {"other", EK_FMT_f32, 2, RANK, HIDDEN, down[0]};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        json_t *metadata = json_loads(files[i].metadata, 0, NULL);
        cr_assert_eq(matrices_write(path, &m, 1, metadata, NULL), EK_OK);
        refused(&want, files[i].said);
        json_decref(metadata);
    }
    cr_assert_eq(matrices_write(path, &m, 1, NULL, NULL), EK_OK);
    refused(&want, "format: this is missing");
}

Test(predictors, cut_and_missing_files, .init = make_path, .fini = remove_path)
{
    char  *data;
    size_t bytes;
    write_file(EK_RULE_THRESHOLD, 0, 0);
    cr_assert_eq(file_read(path, 1 << 20, &data, &bytes, NULL), EK_OK);
    for (size_t cut = 0; cut < bytes; cut += cut + 40 < bytes ? 13 : 1) {
        cr_assert_eq(file_write(path, data, cut, NULL), EK_OK);
        refused(&want, "");
    }
    free(data);
    unlink(path);
    refused(&want, "No such file");
}
