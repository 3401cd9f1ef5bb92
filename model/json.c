/* SPDX-License-Identifier: Apache-2.0 */
/* model/json.c - checked members of JSON objects. */
#include "model/json.h"

#include <math.h>

json_t *json_in_parse(struct json_in *in, const char *text, size_t bytes)
{
    json_error_t why;
    json_t      *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &why);
    if (!root) {
        const int memory = json_error_code(&why) == json_error_out_of_memory;
        in->bad = fail(in->e, memory ? EK_E_NOMEM : EK_E_FORMAT, "%s: line %d: %s", in->path,
                       why.line, why.text);
        return NULL;
    }
    if (!json_is_object(root)) {
        json_decref(root);
        in->bad = fail(in->e, EK_E_FORMAT, "%s: not a JSON object", in->path);
        return NULL;
    }
    return root;
}

void json_in_fail(struct json_in *in, ek_status s, const char *key, const char *what)
{
    if (!in->bad) in->bad = fail(in->e, s, "%s: %s: %s", in->path, key, what);
}

json_t *json_in_get(const json_t *object, const char *key)
{
    json_t *v = json_object_get(object, key);
    return json_is_null(v) ? NULL : v;
}

long long json_in_int(struct json_in *in, const json_t *object, const char *key, long long least,
                      long long most, long long def)
{
    const json_t *v = json_in_get(object, key);
    if (!v) {
        if (def == JSON_REQUIRED) json_in_fail(in, EK_E_FORMAT, key, "missing");
        return def;
    }
    if (!json_is_integer(v)) {
        json_in_fail(in, EK_E_FORMAT, key, "not an integer");
        return def;
    }
    const long long n = json_integer_value(v);
    if (n < least || n > most) {
        if (!in->bad)
            in->bad = fail(in->e, EK_E_FORMAT, "%s: %s: %lld is not from %lld to %lld", in->path,
                           key, n, least, most);
        return def;
    }
    return n;
}

double json_in_real(struct json_in *in, const json_t *object, const char *key, double least,
                    double most, double def)
{
    const json_t *v = json_in_get(object, key);
    if (!v) return def;
    const double x = json_number_value(v);
    if (!json_is_number(v)) {
        json_in_fail(in, EK_E_FORMAT, key, "not a number");
        return def;
    }
    if (!isfinite(x) || x < least || x > most) {
        if (!in->bad)
            in->bad = fail(in->e, EK_E_FORMAT, "%s: %s: %g is not from %g to %g", in->path, key, x,
                           least, most);
        return def;
    }
    return x;
}

int json_in_bool(struct json_in *in, const json_t *object, const char *key, int def)
{
    const json_t *v = json_in_get(object, key);
    if (v && !json_is_boolean(v)) json_in_fail(in, EK_E_FORMAT, key, "neither true nor false");
    return json_is_boolean(v) ? json_is_true(v) : def;
}

const char *json_in_text(struct json_in *in, const json_t *object, const char *key, const char *def)
{
    const json_t *v = json_in_get(object, key);
    if (v && !json_is_string(v)) json_in_fail(in, EK_E_FORMAT, key, "not a string");
    return json_is_string(v) ? json_string_value(v) : def;
}
