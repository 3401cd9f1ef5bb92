/* SPDX-License-Identifier: Apache-2.0 */
/* model/thresholds.c - reading thresholds, and refusing those of another model or tap. */
#include "model/thresholds.h"

#include "model/file.h"
#include "model/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 16 << 20 };

static void expect_text(struct json_in *in, const json_t *object, const char *key, const char *want,
                        const char *what)
{
    const char *have = json_in_text(in, object, key, NULL);
    if (in->bad || (have && !strcmp(have, want))) return;
    in->bad = fail(in->e, EK_E_ARG, "%s: %s: %s %s, not %s", in->path, key, what,
                   have ? have : "missing", want);
}

static void read_values(struct json_in *in, const char *tap, const json_t *list, size_t layers,
                        float *value)
{
    if (!json_is_array(list) || json_array_size(list) != layers) {
        json_in_fail(in, EK_E_FORMAT, tap, "not one for each layer");
        return;
    }
    for (size_t i = 0; i < layers && !in->bad; i++) {
        const json_t *v = json_array_get(list, i);
        const double  x = json_is_number(v) ? json_number_value(v) : -1;
        if (!(x >= 0 && x <= 1e30)) json_in_fail(in, EK_E_FORMAT, tap, "one is no number >= 0");
        value[i] = (float)x;
    }
}

static void read_taps(struct json_in *in, json_t *taps, size_t layers, struct thresholds *t)
{
    static const enum tap known[] = {TAP_ATTN_IN, TAP_ATTN_OUT, TAP_MLP_IN, TAP_MLP_GATE,
                                     TAP_MLP_HIDDEN};
    const char           *name;
    json_t               *list;
    if (!json_is_object(taps) || !json_object_size(taps))
        json_in_fail(in, EK_E_FORMAT, "thresholds", "no object of taps");
    json_object_foreach(taps, name, list)
    {
        enum tap tap = TAP_COUNT;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            if (!strcmp(name, tap_name(known[i]))) tap = known[i];
        if (in->bad) return;
        if (tap == TAP_COUNT) {
            in->bad = fail(in->e, EK_E_ARG, "%s: made for %s, where nothing can be left out",
                           in->path, name);
            return;
        }
        t->value[tap] = calloc(layers ? layers : 1, sizeof(float));
        if (!t->value[tap]) in->bad = fail(in->e, EK_E_NOMEM, "%s: out of memory", in->path);
        if (!in->bad) read_values(in, name, list, layers, t->value[tap]);
    }
    if (!in->bad && t->value[TAP_MLP_GATE] && (t->value[TAP_MLP_IN] || t->value[TAP_MLP_HIDDEN]))
        json_in_fail(in, EK_E_ARG, "thresholds", "mlp.gate goes with no other of the MLP");
}

ek_status thresholds_read(struct thresholds *t, const char *path, size_t layers, uint64_t checksum,
                          struct error *e)
{
    struct json_in in = {.path = path, .e = e};
    char          *text, hash[32];
    size_t         bytes;
    *t          = (struct thresholds){.value = {NULL}};
    ek_status s = file_read(path, FILE_LIMIT, &text, &bytes, e);
    if (s) return s;
    json_t *root = json_in_parse(&in, text, bytes);
    free(text);
    if (!root) return in.bad;
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)checksum);
    const json_t *model = json_in_get(root, "model");
    expect_text(&in, root, "format", THRESHOLDS_FORMAT, "this is");
    (void)json_in_int(&in, root, "version", THRESHOLDS_VERSION, THRESHOLDS_VERSION, JSON_REQUIRED);
    if (!json_is_object(model)) json_in_fail(&in, EK_E_FORMAT, "model", "not an object");
    if (!in.bad) expect_text(&in, model, "checksum", hash, "made for the model");
    if (!in.bad) read_taps(&in, json_in_get(root, "thresholds"), layers, t);
    json_decref(root);
    if (in.bad) thresholds_drop(t);
    return in.bad;
}

void thresholds_drop(struct thresholds *t)
{
    for (size_t i = 0; i < TAP_COUNT; i++) free(t->value[i]);
    *t = (struct thresholds){.value = {NULL}};
}
