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

static void read_values(struct json_in *in, const json_t *list, struct thresholds *t)
{
    if (!json_is_array(list) || json_array_size(list) != t->layers) {
        json_in_fail(in, EK_E_FORMAT, "thresholds", "not one for each layer");
        return;
    }
    for (size_t i = 0; i < t->layers && !in->bad; i++) {
        const json_t *v = json_array_get(list, i);
        const double  x = json_is_number(v) ? json_number_value(v) : -1;
        if (!(x >= 0 && x <= 1e30))
            json_in_fail(in, EK_E_FORMAT, "thresholds", "one is no number >= 0");
        t->value[i] = (float)x;
    }
}

ek_status thresholds_read(struct thresholds *t, const char *path, const char *tap, size_t layers,
                          uint64_t checksum, struct error *e)
{
    struct json_in in = {.path = path, .e = e};
    char          *text, hash[32];
    size_t         bytes;
    *t          = (struct thresholds){.layers = layers};
    ek_status s = file_read(path, FILE_LIMIT, &text, &bytes, e);
    if (s) return s;
    json_t *root = json_in_parse(&in, text, bytes);
    free(text);
    if (!root) return in.bad;
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)checksum);
    const json_t *model = json_in_get(root, "model");
    expect_text(&in, root, "format", THRESHOLDS_FORMAT, "this is");
    (void)json_in_int(&in, root, "version", THRESHOLDS_VERSION, THRESHOLDS_VERSION, JSON_REQUIRED);
    expect_text(&in, root, "tap", tap, "made for");
    if (!json_is_object(model)) json_in_fail(&in, EK_E_FORMAT, "model", "not an object");
    if (!in.bad) expect_text(&in, model, "checksum", hash, "made for the model");
    t->value = calloc(layers ? layers : 1, sizeof *t->value);
    if (!t->value && !in.bad) in.bad = fail(e, EK_E_NOMEM, "%s: out of memory", path);
    if (!in.bad) read_values(&in, json_in_get(root, "thresholds"), t);
    json_decref(root);
    if (in.bad) thresholds_drop(t);
    return in.bad;
}

void thresholds_drop(struct thresholds *t)
{
    free(t->value);
    *t = (struct thresholds){.value = NULL};
}
