/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_logits.c - ek logits: what the model says at every position, for comparison with other
 * implementations. */
#include "tools/ek.h"

#include "tools/session_args.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct ids {
    int32_t *v;
    size_t   count;
};

struct logits_args {
    struct session_args session;
    struct ids          ids;
    const char         *prompt;
    int                 format, last;
    size_t              steps;
};

/* "1,2,3" */
static int parse_ids(void *to, const char *text)
{
    struct ids *ids = to;
    size_t      n   = 1;
    for (const char *p = text; *p; p++) n += *p == ',';
    int32_t *v = realloc(ids->v, n * sizeof *v);
    if (!v) return -1;
    ids->v = v, ids->count = 0;
    for (const char *p = text; ids->count < n; p++) {
        char *end;
        errno         = 0;
        const long id = strtol(p, &end, 10);
        if (end == p || errno || id < 0 || id > INT32_MAX) return -1;
        v[ids->count++] = (int32_t)id;
        p               = end;
        if (*p != (ids->count < n ? ',' : '\0')) return -1;
    }
    return 0;
}

static int parse(struct logits_args *a, int argc, char **argv)
{
    const struct arg list[] = {
        SESSION_ARGS(a->session),
        {.names = "--ids",
         .value = "1,2,3",
         .kind  = ARG_PARSE,
         .to    = &a->ids,
         .parse = parse_ids,
         .help  = "the tokens"},
        {.names = "-p, --prompt",
         .value = "TEXT",
         .kind  = ARG_TEXT,
         .to    = &a->prompt,
         .help  = "or a text"},
        {.names = "--last", .kind = ARG_FLAG, .to = &a->last, .help = "only the last position"},
        {.names = "--steps",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &a->steps,
         .least = 1,
         .most  = 1 << 16,
         .help  = "tokens evaluated at once; 1: as in decoding. Default: --batch"},
        {.names = "-o, --output",
         .value = "json",
         .kind  = ARG_CHOICE,
         .to    = &a->format,
         .help  = "{\"ids\": [...], \"logits\": [[...], ...]}, nine digits"},
    };
    const struct arg_command c      = {.name  = "ek logits",
                                       .usage = "-m MODEL --ids 1,2,3 [OPTIONS]",
                                       .about = "Prints the logits of every position.",
                                       .env   = "EK_"};
    const int                status = args_parse(&c, list, sizeof list / sizeof *list, argc, argv);
    if (status != ARGS_GO) return status;
    if (!a->ids.count == !a->prompt) {
        fputs("ek logits: either --ids or -p\n", stderr);
        return EXIT_USAGE;
    }
    return ARGS_GO;
}

static void print_row(const float *row, size_t n, int first)
{
    fputs(first ? "\n[" : ",\n[", stdout);
    for (size_t i = 0; i < n; i++) {
        if (i) putchar(',');
        if (isfinite(row[i]))
            printf("%.9g", (double)row[i]);
        else
            fputs("null", stdout); /* JSON has no other word for it */
    }
    putchar(']');
}

static void print_ids(const int32_t *ids, size_t n)
{
    fputs("{\"ids\":[", stdout);
    for (size_t i = 0; i < n; i++) printf("%s%d", i ? "," : "", (int)ids[i]);
    fputs("],\"logits\":[", stdout);
}

static int print_logits(const struct runner *r, const struct logits_args *a)
{
    struct error e;
    const float *logits;
    const size_t vocab = model_config(r->model)->vocab, n = a->ids.count;
    const size_t batch = session_settings(r->session)->batch;
    const size_t step  = a->steps && a->steps < batch ? a->steps : batch;
    int          first = 1;
    for (size_t at = 0; at < n;) {
        const size_t             now    = n - at < step ? n - at : step;
        const int                end    = at + now == n;
        const enum logits_wanted wanted = !a->last ? LOGITS_ALL : end ? LOGITS_LAST : LOGITS_NONE;
        if (session_eval(r->session, a->ids.v + at, now, wanted, &logits, &e))
            return runner_fail(r, &e);
        if (!at) print_ids(a->ids.v, n); /* not before something has worked */
        at += now;
        const size_t rows = wanted == LOGITS_ALL ? now : wanted == LOGITS_LAST;
        for (size_t i = 0; i < rows; i++, first = 0) print_row(logits + i * vocab, vocab, first);
    }
    fputs("\n]}\n", stdout);
    return ferror(stdout) || fflush(stdout) ? EXIT_RUN : EXIT_OK;
}

static int encode(const struct runner *r, struct logits_args *a)
{
    struct error            e;
    const struct tokenizer *t = model_tokenizer(r->model, &e);
    if (!t || tokenizer_encode(t, a->prompt, strlen(a->prompt), TOKENIZE_BOS | TOKENIZE_SPECIAL,
                               &a->ids.v, &a->ids.count, &e))
        return runner_fail(r, &e);
    return 0;
}

int cmd_logits(int argc, char **argv)
{
    struct logits_args a      = {.last = 0};
    int                status = parse(&a, argc, argv);
    struct runner      r;
    if (status != ARGS_GO) {
        free(a.ids.v);
        return status;
    }
    status = runner_open_model(&r, "ek logits", &a.session);
    if (!status && a.prompt) status = encode(&r, &a);
    if (a.steps > a.session.batch) a.session.batch = a.steps;
    if (!a.session.context) a.session.context = a.ids.count; /* the whole text and no more */
    if (!status) status = runner_open_session(&r, &a.session);
    if (!status) status = print_logits(&r, &a);
    free(a.ids.v);
    runner_close(&r);
    return status;
}
