/* SPDX-License-Identifier: Apache-2.0 */
/* tools/convert_args.c - options that ek convert and ek synth share. */
#include "tools/convert_args.h"

#include "tools/ek.h"
#include "tools/progress.h"
#include "tools/topology.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int convert_type_parse(void *to, const char *text)
{
    return convert_type_from_name(text, to) ? -1 : 0;
}

/* The type stands behind the last '=': the expression may hold others. */
int convert_rule_parse(void *to, const char *text)
{
    struct convert_args *a     = to;
    const char          *equal = strrchr(text, '=');
    struct convert_rule *rule  = &a->rules[a->options.rule_count];
    if (a->options.rule_count == RULES_MAX || !equal || equal == text) return -1;
    if (convert_type_parse(&rule->fmt, equal + 1)) return -1;
    rule->regex = strndup(text, (size_t)(equal - text));
    a->options.rule_count += rule->regex != NULL;
    return rule->regex ? 0 : -1;
}

int convert_args_begin(struct convert_args *a, const char *command)
{
    struct topology t;
    if (topology_read(&t, "", NULL)) {
        fprintf(stderr, "%s: topology: %s\n", command, strerror(errno));
        return EXIT_RUN;
    }
    const size_t count = a->thread_count ? a->thread_count : t.threads;
    if (threads_start(&a->threads, count, count <= t.perf_cores ? t.cpus : NULL)) {
        fprintf(stderr, "%s: cannot start %zu threads\n", command, count);
        return EXIT_RUN;
    }
    a->options.rules    = a->rules;
    a->options.pool     = &a->threads.pool;
    a->options.progress = progress_show;
    return 0;
}

int convert_args_end(struct convert_args *a, const char *command, ek_status bad,
                     const struct error *e)
{
    threads_stop(&a->threads);
    for (size_t i = 0; i < a->options.rule_count; i++) {
        union {
            const char *in;
            char       *at;
        } regex = {.in = a->rules[i].regex};
        free(regex.at);
    }
    progress_clear();
    if (bad) fprintf(stderr, "%s: %s\n", command, e->text);
    return bad ? EXIT_RUN : EXIT_OK;
}
