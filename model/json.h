/* SPDX-License-Identifier: Apache-2.0 */
/* model/json.h - members of JSON objects from files, checked; the first error sticks. */
#ifndef EK_MODEL_JSON_H
#define EK_MODEL_JSON_H
#include "model/error.h"

#include <jansson.h>
#include <stddef.h>

struct json_in {
    const char   *path;
    struct error *e;
    ek_status     bad; /* of the first thing that was wrong */
};

/** Parses an object; NULL with in->bad set when it is none. Duplicate keys are errors. */
json_t *json_in_parse(struct json_in *in, const char *text, size_t bytes);

/** Notes an error about key unless there already is one. */
void json_in_fail(struct json_in *in, ek_status s, const char *key, const char *what);

/** The member, or NULL where it is missing or null. */
json_t *json_in_get(const json_t *object, const char *key);

enum { JSON_REQUIRED = -1 };

/** An integer in [least, most]; missing: def, or an error where def is JSON_REQUIRED. */
long long json_in_int(struct json_in *in, const json_t *object, const char *key, long long least,
                      long long most, long long def);
/** A finite number in [least, most]; missing: def. */
double json_in_real(struct json_in *in, const json_t *object, const char *key, double least,
                    double most, double def);
int    json_in_bool(struct json_in *in, const json_t *object, const char *key, int def);
/** Missing: def. */
const char *json_in_text(struct json_in *in, const json_t *object, const char *key,
                         const char *def);
#endif
