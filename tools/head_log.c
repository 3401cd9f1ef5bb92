/* SPDX-License-Identifier: Apache-2.0 */
/* tools/head_log.c - writes what heads decide. */
#include "tools/head_log.h"

#include "tools/session_args.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

ek_status head_log_open(struct head_log *l, const char *path, struct error *e)
{
    l->path = path;
    l->to   = fopen(path, "w");
    return l->to ? EK_OK : fail(e, EK_E_IO, "%s: %s", path, strerror(errno));
}

void head_log_add(void *self, const struct head_decision *d)
{
    struct head_log *l = self;
    l->states++, l->agreed += d->best == d->full_best;
    if (!l->to) return;
    const double at = seconds_now();
    json_t      *line =
        json_pack("{s:i, s:s, s:o, s:i, s:o, s:o, s:o}", "position", (int)d->position, "head",
                  d->full ? "full" : "short", "p_rare",
                  isnan(d->p_rare) ? json_null() : json_real((double)d->p_rare), "best",
                  (int)d->best, "full_best", d->verified ? json_integer(d->full_best) : json_null(),
                  "agree", d->verified ? json_boolean(d->best == d->full_best) : json_null(), "ms",
                  l->before > 0 ? json_real(1e3 * (at - l->before)) : json_null());
    l->before = at;
    if (!line || json_dumpf(line, l->to, JSON_COMPACT | JSON_REAL_PRECISION(6)) ||
        fputc('\n', l->to) == EOF)
        clearerr(l->to), l->failed = 1;
    json_decref(line);
}

ek_status head_log_close(struct head_log *l, struct error *e)
{
    if (!l->to) return EK_OK;
    const int bad = fclose(l->to) || l->failed;
    l->to         = NULL;
    return bad ? fail(e, EK_E_IO, "%s: cannot be written", l->path) : EK_OK;
}

void head_log_print(const struct head_log *l, const struct session *s, FILE *to)
{
    const struct head_reading r = session_head_read(s);
    if (!r.calls) return;
    fprintf(to, "head: %llu states, %.2f%% by all rows", (unsigned long long)r.calls,
            100 * (double)r.full / (double)r.calls);
    if (session_settings(s)->head_verify && l->states)
        fprintf(to, ", %.2f%% the full head's token", 100 * (double)l->agreed / (double)l->states);
    fputc('\n', to);
}
