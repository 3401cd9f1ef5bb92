/* SPDX-License-Identifier: Apache-2.0 */
/* tools/results.h - results as JSON: on which machine, with which build and model they came about. */
#ifndef EK_TOOLS_RESULTS_H
#define EK_TOOLS_RESULTS_H
#include "model/model.h"
#include "tools/topology.h"

#include <jansson.h>

#ifndef EK_COMMIT
#define EK_COMMIT "unknown"
#endif
#ifndef EK_BUILD_NUMBER
#define EK_BUILD_NUMBER 0
#endif

enum { RESULTS_SCHEMA = 1 };

/* Any bytes as a JSON string; what is not UTF-8 becomes U+FFFD. */
json_t *results_text(const char *data, size_t bytes);

/* "2026-01-31T12:00:00Z" */
void results_time(char out[32]);

/* {schema_version, command, date, hardware, build, model}; add what was measured. NULL when memory
 * runs out. m: may be NULL. */
json_t *results_new(const char *command, const struct topology *t, const struct model *m);

/* Writes root (its reference is taken; NULL is an error) to path, whole or not at all. */
ek_status results_write(json_t *root, const char *path, struct error *e);
#endif
