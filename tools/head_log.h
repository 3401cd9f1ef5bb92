/* SPDX-License-Identifier: Apache-2.0 */
/* tools/head_log.h - what a head decided, state by state: lines of JSON, and sums. */
#ifndef EK_TOOLS_HEAD_LOG_H
#define EK_TOOLS_HEAD_LOG_H
#include "model/model.h"

#include <stdio.h>

/* Zero-initialised: sums only. */
struct head_log {
    FILE       *to;
    const char *path;
    uint64_t    states, agreed;
    double      before; /* seconds, of the last line */
    int         failed;
};

ek_status head_log_open(struct head_log *l, const char *path, struct error *e);
/* A head_fn; self: struct head_log. */
void head_log_add(void *self, const struct head_decision *d);
/* EK_E_IO when lines were lost. */
ek_status head_log_close(struct head_log *l, struct error *e);

/* "head: 120 states, 14.2 % by all rows, 99.2 % the full head's token"; agreement only where it was
 * verified. */
void head_log_print(const struct head_log *l, const struct session *s, FILE *to);
#endif
