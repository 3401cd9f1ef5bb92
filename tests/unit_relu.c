/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_relu.c - a ReLU model: neurons whose gate is not above 0 add nothing, so that leaving them
 * out changes nothing but rounding; and what leaving out one more would do. */
#include "model/file.h"
#include "model/model.h"
#include "tests/thresholds_file.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT = 40, PATH_BYTES = 600 };

static char dir[64];

static char *in_dir(const char *name, char path[PATH_BYTES])
{
    snprintf(path, PATH_BYTES, "%s/%s", dir, name);
    return path;
}

/* A fixture in floats with another activation. */
static void make_model(void)
{
    static const char from[] = "\"silu\"", to[] = "\"relu\"";
    char              path[PATH_BYTES], *text;
    struct error      e = {""};
    size_t            bytes;
    snprintf(dir, sizeof dir, "/tmp/ek_relu_XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    cr_assert_eq(file_read(EK_GOLDEN "/llama2/config.json", 1 << 20, &text, &bytes, &e), EK_OK);
    char *act = strstr(text, from);
    cr_assert_not_null(act);
    memcpy(act, to, sizeof to - 1);
    cr_assert_eq(file_write(in_dir("config.json", path), text, bytes, &e), EK_OK);
    free(text);
    cr_assert_eq(symlink(EK_GOLDEN "/llama2/model.safetensors", in_dir("model.safetensors", path)),
                 0);
}
static void remove_model(void)
{
    static const char *const names[] = {"config.json", "model.safetensors", "thresholds.json"};
    char                     path[PATH_BYTES];
    for (size_t i = 0; i < 3; i++) unlink(in_dir(names[i], path));
    rmdir(dir);
}

/* Logits [TEXT][vocab], `step` tokens at a time; the share of the neurons that was taken. */
static float *logits_of(const struct model *m, size_t step, double *share)
{
    const size_t           vocab = model_config(m)->vocab;
    struct session_options o     = {
            .kv = EK_FMT_f32, .context = TEXT, .batch = step, .activation = EK_ACTIVATION_F32};
    struct session *s;
    struct error    e   = {""};
    float          *out = malloc(TEXT * vocab * sizeof *out);
    uint64_t        of, taken;
    cr_assert_not_null(out);
    cr_assert_eq(session_open(&s, m, &o, &e), EK_OK, "%s", e.text);
    for (size_t i = 0; i < TEXT; i += step) {
        int32_t      ids[TEXT];
        const float *logits;
        for (size_t t = 0; t < step; t++) ids[t] = (int32_t)((i + t) * 7919 % vocab);
        cr_assert_eq(session_eval(s, ids, step, LOGITS_ALL, &logits, &e), EK_OK, "%s", e.text);
        memcpy(out + i * vocab, logits, step * vocab * sizeof *out);
    }
    session_neurons(s, &of, &taken);
    *share = of ? (double)taken / (double)of : 1;
    session_close(s);
    return out;
}

static double farthest(const float *a, const float *b, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

Test(relu, closed_gates_add_nothing, .init = make_model, .fini = remove_model)
{
    struct model        *whole, *sparse;
    struct error         e = {""};
    char                 path[PATH_BYTES];
    struct model_options o = {.sparse = in_dir("thresholds.json", path)};
    double               all, share;
    cr_assert_eq(model_open(&whole, dir, NULL, &e), EK_OK, "%s", e.text);
    const size_t n    = TEXT * model_config(whole)->vocab;
    float       *want = logits_of(whole, 1, &all);
    for (int large = 0; large < 2; large++) { /* the true mask; one that leaves out open neurons */
        cr_assert_eq(
            thresholds_write(o.sparse, whole, &(enum tap){TAP_MLP_GATE}, 1, large ? 1 : 1e-30), 0);
        cr_assert_eq(model_open(&sparse, dir, &o, &e), EK_OK, "%s", e.text);
        for (size_t step = 1; step <= 8; step += 7) {
            float *got = logits_of(sparse, step, &share);
            cr_assert(share > 0.01 && (step > 1 || share < 0.7), "%g of the neurons", share);
            const double off = farthest(want, got, n);
            cr_assert(large ? off > 1e-3 : off < 1e-4, "off by %g", off);
            free(got);
        }
        model_close(sparse);
    }
    free(want);
    model_close(whole);
}

/* The same tensors behind another activation are another model. */
Test(relu, thresholds_of_another_activation, .init = make_model, .fini = remove_model)
{
    struct model        *silu, *relu = NULL;
    struct error         e = {""};
    char                 path[PATH_BYTES];
    struct model_options o = {.sparse = in_dir("thresholds.json", path)};
    cr_assert_eq(model_open(&silu, EK_GOLDEN "/llama2", NULL, &e), EK_OK, "%s", e.text);
    cr_assert_eq(thresholds_write(o.sparse, silu, &(enum tap){TAP_MLP_GATE}, 1, 0.1), 0);
    cr_assert_neq(model_open(&relu, dir, &o, &e), EK_OK);
    cr_assert(strstr(e.text, o.sparse), "%s", e.text);
    cr_assert_null(relu);
    model_close(silu);
}
