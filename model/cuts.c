/* SPDX-License-Identifier: Apache-2.0 */
/* model/cuts.c - reading lists of blocks that are left out. */
#include "model/cuts.h"

#include "model/file.h"
#include "model/json.h"

#include <stdlib.h>
#include <string.h>

enum { FILE_LIMIT = 16 << 20 };

static const struct {
    const char   *name;
    enum cut_kind kind;
} kinds[] = {{"attention", CUT_ATTENTION}, {"mlp", CUT_MLP}, {"layer", CUT_LAYER}};
enum { KINDS = sizeof kinds / sizeof *kinds };

const char *cut_name(enum cut_kind kind)
{
    for (size_t i = 0; i < KINDS; i++)
        if (kinds[i].kind == kind) return kinds[i].name;
    return "nothing";
}

static enum cut_kind kind_of(struct json_in *in, const json_t *object, enum cut_kind otherwise)
{
    const char *name = json_in_text(in, object, "what", cut_name(otherwise));
    for (size_t i = 0; name && i < KINDS; i++)
        if (!strcmp(name, kinds[i].name)) return kinds[i].kind;
    json_in_fail(in, EK_E_FORMAT, "what", "not attention, mlp or layer");
    return otherwise;
}

/* An entry is a layer, cut as the file says, or {"layer": n, "what": kind}. */
static void read_entry(struct json_in *in, const json_t *entry, enum cut_kind what, struct cuts *c)
{
    const char *key   = json_in_get(entry, "layer") ? "layer" : "idx";
    long long   layer = -1;
    if (json_is_integer(entry))
        layer = json_integer_value(entry);
    else if (json_is_object(entry))
        layer = json_in_int(in, entry, key, 0, INT32_MAX, JSON_REQUIRED);
    else
        json_in_fail(in, EK_E_FORMAT, "cut", "an entry is neither a layer nor an object");
    const enum cut_kind kind = json_is_object(entry) ? kind_of(in, entry, what) : what;
    if (in->bad) return;
    if (layer < 0 || (size_t)layer >= c->layers) {
        in->bad = fail(in->e, EK_E_FORMAT, "%s: cut: layer %lld of a model with %zu", in->path,
                       layer, c->layers);
        return;
    }
    if ((c->left_out[layer] & kind) == kind) {
        in->bad = fail(in->e, EK_E_FORMAT, "%s: cut: %s of layer %lld twice", in->path,
                       cut_name(kind), layer);
        return;
    }
    c->left_out[layer] |= (unsigned char)kind;
}

static void read_cuts(struct json_in *in, const json_t *root, struct cuts *c)
{
    const json_t       *cut = json_in_get(root, "cut"), *model = json_in_get(root, "model");
    const enum cut_kind what = kind_of(in, root, CUT_MLP);
    size_t              i;
    json_t             *entry;
    if (!json_is_array(cut)) json_in_fail(in, EK_E_FORMAT, "cut", "not a list");
    if (json_is_object(model)) { /* forge-edge has a name there */
        const long long layers = json_in_int(in, model, "layers", 0, INT32_MAX, 0);
        if (!in->bad && layers && (size_t)layers != c->layers)
            in->bad =
                fail(in->e, EK_E_ARG, "%s: made for a model with %lld layers, this one has %zu",
                     in->path, layers, c->layers);
    }
    json_array_foreach(cut, i, entry)
    {
        if (!in->bad) read_entry(in, entry, what, c);
    }
}

ek_status cuts_read(struct cuts *c, const char *path, size_t layers, struct error *e)
{
    struct json_in in = {.path = path, .e = e};
    char          *text;
    size_t         bytes;
    *c          = (struct cuts){.layers = layers};
    ek_status s = file_read(path, FILE_LIMIT, &text, &bytes, e);
    if (s) return s;
    json_t *root = json_in_parse(&in, text, bytes);
    free(text);
    if (root) {
        c->left_out = calloc(layers ? layers : 1, 1);
        if (!c->left_out)
            in.bad = fail(e, EK_E_NOMEM, "%s: out of memory", path);
        else
            read_cuts(&in, root, c);
        json_decref(root);
    }
    if (in.bad) cuts_drop(c);
    return in.bad;
}

void cuts_drop(struct cuts *c)
{
    free(c->left_out);
    *c = (struct cuts){.left_out = NULL};
}

json_t *cut_json(size_t layer, enum cut_kind kind)
{
    return json_pack("{s:I, s:s}", "layer", (json_int_t)layer, "what", cut_name(kind));
}
