/* SPDX-License-Identifier: Apache-2.0 */
/* model/router_parse.c - the three files of a router, checked against the model. */
#include "model/matrices.h"
#include "model/npy.h"
#include "model/router_inner.h"

#include <stdlib.h>
#include <string.h>

/* ---- common_ids.npy ---- */

static int ascending(const void *a, const void *b)
{
    const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static ek_status take_ids(struct router *r, const struct npy *a, size_t vocab, const char *path,
                          struct error *e)
{
    if (!a->whole || a->dims != 1 || !a->count)
        return fail(e, EK_E_FORMAT, "%s: not a list of token ids", path);
    r->common = calloc(a->count, sizeof *r->common);
    if (!r->common) return fail(e, EK_E_NOMEM, "%s: out of memory", path);
    r->common_count = a->count;
    for (size_t i = 0; i < a->count; i++) {
        if (!(a->data[i] >= 0 && a->data[i] < (double)vocab))
            return fail(e, EK_E_FORMAT, "%s: id %.0f is not in [0, %zu)", path, a->data[i], vocab);
        r->common[i] = (uint32_t)a->data[i];
    }
    qsort(r->common, a->count, sizeof *r->common, ascending);
    for (size_t i = 1; i < a->count; i++)
        if (r->common[i] == r->common[i - 1])
            return fail(e, EK_E_FORMAT, "%s: id %u is there twice", path, (unsigned)r->common[i]);
    return EK_OK;
}

ek_status router_parse_ids(struct router *r, const void *data, size_t bytes, size_t vocab,
                           const char *path, struct error *e)
{
    struct npy a;
    ek_status  s = npy_parse(&a, path, data, bytes, e);
    if (s) return s;
    s = take_ids(r, &a, vocab, path, e);
    npy_free(&a);
    return s;
}

/* ---- router.safetensors ---- */

struct linear {
    const struct safetensors_entry *weight, *bias;
};

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* By name, numbers by their value: layers.2 before layers.10. */
static int name_order(const char *a, const char *b)
{
    while (*a && *b) {
        if (is_digit(*a) && is_digit(*b)) {
            while (*a == '0' && is_digit(a[1])) a++;
            while (*b == '0' && is_digit(b[1])) b++;
            const size_t n = strspn(a, "0123456789"), m = strspn(b, "0123456789");
            if (n != m) return n < m ? -1 : 1;
        }
        if (*a != *b) return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        a++, b++;
    }
    return (*a != 0) - (*b != 0);
}

static int by_name(const void *a, const void *b)
{
    return name_order(((const struct linear *)a)->weight->name,
                      ((const struct linear *)b)->weight->name);
}

/* Length of the name before its "weight" or "bias"; 0 where it ends otherwise. */
static size_t stem(const char *name, const char *suffix)
{
    const size_t n = strlen(name), m = strlen(suffix);
    if (n < m || strcmp(name + n - m, suffix) != 0) return SIZE_MAX;
    return n == m || name[n - m - 1] == '.' ? n - m : SIZE_MAX;
}

static ek_status find_linears(struct linear *list, size_t *count, const struct safetensors *st,
                              const char *path, struct error *e)
{
    size_t biases = 0;
    *count        = 0;
    for (size_t i = 0; i < st->count; i++) {
        const struct safetensors_entry *t = &st->entries[i];
        if (stem(t->name, "bias") != SIZE_MAX && t->dims == 1) {
            biases++;
            continue;
        }
        if (stem(t->name, "weight") == SIZE_MAX || t->dims != 2)
            return fail(e, EK_E_FORMAT, "%s: tensor %s: neither weight nor bias of a linear", path,
                        t->name);
        if (*count == ROUTER_LAYERS_MAX)
            return fail(e, EK_E_UNSUPPORTED, "%s: more than %d layers", path, ROUTER_LAYERS_MAX);
        list[(*count)++] = (struct linear){.weight = t};
    }
    for (size_t i = 0; i < *count; i++)
        for (size_t j = 0; j < st->count; j++) {
            const char  *w = list[i].weight->name, *b = st->entries[j].name;
            const size_t n = stem(w, "weight");
            if (stem(b, "bias") != n || memcmp(w, b, n) != 0) continue;
            list[i].bias = &st->entries[j], biases--;
        }
    if (!*count || biases)
        return fail(e, EK_E_FORMAT, "%s: %s", path,
                    biases ? "a bias without its weight" : "no layers");
    qsort(list, *count, sizeof *list, by_name);
    return EK_OK;
}

static ek_status take_linear(struct router *r, const struct linear *l, const char *path,
                             struct error *e)
{
    const size_t      at = r->layer_count;
    struct ek_weights bias;
    ek_status         s = matrix_copy(&r->layers[at], l->weight, path, e);
    if (s) return s;
    r->layer_count++;
    if (!l->bias) return EK_OK;
    if (l->bias->shape[0] != l->weight->shape[0])
        return fail(e, EK_E_FORMAT, "%s: tensor %s: %zu values, not %zu", path, l->bias->name,
                    l->bias->shape[0], l->weight->shape[0]);
    s = matrix_copy(&bias, l->bias, path, e);
    if (s) return s;
    float *values = malloc(bias.k * sizeof *values);
    r->bias[at]   = values;
    s             = values ? ek_weights_dequantize(&bias, 0, 1, values)
                           : fail(e, EK_E_NOMEM, "%s: out of memory", path);
    free_const(bias.data);
    return s;
}

static ek_status chain(struct router *r, struct linear *list, size_t count, size_t hidden,
                       const char *path, struct error *e)
{
    size_t width = hidden;
    for (size_t done = 0; done < count; done++) {
        size_t i = 0;
        while (i < count && (!list[i].weight || list[i].weight->shape[1] != width)) i++;
        if (i == count)
            return fail(e, EK_E_FORMAT, "%s: no layer takes the %zu numbers of %s", path, width,
                        done ? "the one before it" : "the model's states");
        width             = list[i].weight->shape[0];
        const ek_status s = take_linear(r, &list[i], path, e);
        if (s) return s;
        list[i].weight = NULL;
    }
    if (width != 1)
        return fail(e, EK_E_FORMAT, "%s: the last layer gives %zu numbers, not 1", path, width);
    return EK_OK;
}

ek_status router_parse_weights(struct router *r, const void *data, size_t bytes, size_t hidden,
                               const char *path, struct error *e)
{
    struct safetensors st;
    struct linear      list[ROUTER_LAYERS_MAX];
    size_t             count;
    ek_status          s = safetensors_parse(&st, data, bytes, path, e);
    if (s) return s;
    s = find_linears(list, &count, &st, path, e);
    if (!s) s = chain(r, list, count, hidden, path, e);
    safetensors_free(&st);
    return s;
}

/* ---- meta.txt ---- */

/* Cuts spaces off both ends. */
static char *trim(char *s)
{
    s += strspn(s, " \t\r");
    for (size_t n = strlen(s); n && strchr(" \t\r", s[n - 1]); n--) s[n - 1] = '\0';
    return s;
}

static ek_status expect_size(const char *key, const char *value, size_t want, const char *path,
                             struct error *e)
{
    char                    *end;
    const unsigned long long have = strtoull(value, &end, 10);
    if (!is_digit(*value) || *end)
        return fail(e, EK_E_FORMAT, "%s: %s: %s is no number", path, key, value);
    return have == want ? EK_OK
                        : fail(e, EK_E_ARG, "%s: %s: made for %s, not %zu", path, key, value, want);
}

static ek_status take_act(struct router *r, const char *value, const char *path, struct error *e)
{
    static const struct {
        const char      *name;
        enum ek_act_kind kind;
    } known[] = {{"relu", EK_ACT_RELU},
                 {"silu", EK_ACT_SILU},
                 {"gelu", EK_ACT_GELU_ERF},
                 {"gelu_tanh", EK_ACT_GELU_TANH},
                 {"gelu_pytorch_tanh", EK_ACT_GELU_TANH},
                 {"tanh", EK_ACT_TANH}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, value)) {
            r->act = known[i].kind;
            return EK_OK;
        }
    return fail(e, EK_E_UNSUPPORTED, "%s: activation: %s is not supported", path, value);
}

static ek_status take_pair(struct router *r, const char *key, const char *value, size_t vocab,
                           size_t hidden, const char *path, struct error *e)
{
    char *end;
    if (!strcmp(key, "hidden_size")) return expect_size(key, value, hidden, path, e);
    if (!strcmp(key, "vocab_size")) return expect_size(key, value, vocab, path, e);
    if (!strcmp(key, "activation")) return take_act(r, value, path, e);
    if (!strcmp(key, "tap") && strcmp(value, ROUTER_TAP) != 0)
        return fail(e, EK_E_ARG, "%s: tap: made for %s, not %s", path, value, ROUTER_TAP);
    if (!strcmp(key, "model_checksum")) {
        r->checksum = strtoull(value, &end, 16);
        if (!*value || *end) return fail(e, EK_E_FORMAT, "%s: model_checksum: %s", path, value);
    }
    return EK_OK;
}

/* Keys that are not ours are for people. */
ek_status router_parse_meta(struct router *r, char *text, size_t vocab, size_t hidden,
                            const char *path, struct error *e)
{
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        char *colon = strchr(line, ':');
        if (!colon) continue;
        *colon            = '\0';
        const ek_status s = take_pair(r, trim(line), trim(colon + 1), vocab, hidden, path, e);
        if (s) return s;
    }
    return EK_OK;
}
