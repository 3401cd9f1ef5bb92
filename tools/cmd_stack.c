/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_stack.c - ek stack: speed and quality of each way to do less work, and of all together, on
 * one text. */
#include "tools/ek.h"

#include "model/concentration.h"
#include "model/convert.h"
#include "tools/energy.h"
#include "tools/evaluate.h"
#include "tools/progress.h"
#include "tools/results.h"
#include "tools/speed_report.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNKS = 8, TOKENS = 128, REPETITIONS = 5, ROWS_MAX = 6 };

struct stack_args {
    struct evaluation_args text;
    size_t                 tokens, repetitions;
};

/* What a row does differently from the base. */
struct row {
    const char         *name;
    int                 head, cuts, sparse, quantized;
    struct runner       r;
    struct speed_model  model;
    struct speed_result timing;
    double   ns[REPETITIONS_MAX], base_ns[REPETITIONS_MAX]; /* of a token, taking turns */
    double   joules;                                        /* of a token; NAN: none */
    double   ppl, kld, same;
    uint64_t impossible, resident;
    int      made;
};

struct stack {
    struct stack_args *a;
    struct evaluation  v;
    struct energy      energy;
    struct row         rows[ROWS_MAX];
    size_t             count;
    char               quantized[4096]; /* directory of the 4-bit copy, or "" */
};

static int parse(struct stack_args *a, int argc, char **argv)
{
    const struct arg list[] = {
        EVALUATION_ARGS(a->text, "only the first N chunks of the text; default: 8",
                        "also write the table as JSON"),
        HEAD_ARGS(a->text.session.head),
        {.names = "-n, --n-gen",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &a->tokens,
         .least = 1,
         .most  = 1 << 20,
         .help  = "tokens of the text that are decoded and timed; default: 128"},
        {.names = "-r, --repetitions",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &a->repetitions,
         .least = 1,
         .most  = REPETITIONS_MAX,
         .help  = "of the timing, in turns with the base; default: 5"},
    };
    const struct arg_command c = {
        .name  = "ek stack",
        .usage = "-m MODEL -f FILE [--lobotomy FILE] [--sparse FILE] [--head MODE] [OPTIONS]",
        .about =
            "Speed and quality on a text of the model, of it with each of --head (certified unless "
            "given),\n--lobotomy, --sparse, of its copy in 4 bit, and of all of them together.",
        .env = "EK_"};
    const int status = evaluation_parse(&a->text, &c, list, sizeof list / sizeof *list, argc, argv);
    if (status != ARGS_GO || a->tokens < a->text.session.context) return status;
    fprintf(stderr, "ek stack: -n %zu: more than --ctx %zu\n", a->tokens, a->text.session.context);
    return EXIT_USAGE;
}

/* ---- rows ---- */

static void add_row(struct stack *s, struct row row)
{
    s->rows[s->count++] = row;
}

static void plan_rows(struct stack *s)
{
    const struct session_args *a = &s->a->text.session;
    add_row(s, (struct row){.name = "base"});
    if (a->head.mode) add_row(s, (struct row){.name = "+head", .head = 1});
    if (a->lobotomy) add_row(s, (struct row){.name = "+lobotomy", .cuts = 1});
    if (a->sparse) add_row(s, (struct row){.name = "+sparse", .sparse = 1});
    if (*s->quantized) add_row(s, (struct row){.name = "+q4", .quantized = 1});
    add_row(s, (struct row){.name      = "all",
                            .head      = a->head.mode != HEAD_FULL,
                            .cuts      = a->lobotomy != NULL,
                            .sparse    = a->sparse != NULL,
                            .quantized = *s->quantized != 0});
}

/* A head in 4 bit has no smaller copy to certify it with. */
static int open_row(struct stack *s, struct row *row)
{
    struct session_args a = s->a->text.session;
    struct model_facts  f;
    if (!row->head || (row->quantized && a.head.mode == HEAD_CERTIFIED)) a.head.mode = HEAD_FULL;
    if (!row->cuts) a.lobotomy = NULL;
    if (!row->sparse) a.sparse = a.predictor = NULL;
    a.batch = row->sparse ? 1 : a.batch;
    if (row->quantized) {
        model_facts(s->rows[0].r.model, &f);
        a.model = s->quantized, a.made_for = f.checksum;
    }
    int status = runner_open_model(&row->r, "ek stack", &a);
    if (!status) status = runner_open_session(&row->r, &a);
    return status;
}

/* ---- timing ---- */

/* The first tokens of the text, one by one, as if they had been generated: nanoseconds of one. */
static ek_status decode(const struct stack *s, struct row *row, double *ns, double *joules,
                        struct error *e)
{
    const size_t n = s->a->tokens < s->v.count ? s->a->tokens : s->v.count;
    const float *logits;
    ek_status    bad = session_truncate(row->r.session, 0);
    if (bad) return fail(e, bad, "the session cannot be emptied");
    session_head_top(row->r.session, 1);
    const double joules0 = energy_read(&s->energy), start = seconds_now();
    for (size_t i = 0; i < n && !bad; i++)
        bad = session_eval(row->r.session, s->v.ids + i, 1, LOGITS_LAST, &logits, e);
    *ns     = 1e9 * (seconds_now() - start) / (double)n;
    *joules = (energy_read(&s->energy) - joules0) / (double)n;
    session_head_top(row->r.session, 0);
    return bad;
}

static double median(const double *v, size_t n)
{
    double sorted[REPETITIONS_MAX];
    memcpy(sorted, v, n * sizeof *v);
    qsort(sorted, n, sizeof *sorted, ascending_double);
    return quantile(sorted, n, 0.5);
}

/* In turns with the base, as the machine may drift; once before, untimed. */
static ek_status time_row(struct stack *s, struct row *row, struct error *e)
{
    struct row               *base = &s->rows[0];
    const struct head_reading head = session_head_read(row->r.session);
    double                    joules[REPETITIONS_MAX], unused;
    uint64_t                  used, total, of, taken, gates, gates_read;
    ek_status                 bad = decode(s, row, &row->ns[0], &unused, e);
    for (size_t i = 0; i < s->a->repetitions && !bad; i++) {
        bad = decode(s, base, &row->base_ns[i], &unused, e);
        if (!bad && row != base) bad = decode(s, row, &row->ns[i], &joules[i], e);
        if (row == base) row->ns[i] = row->base_ns[i], joules[i] = unused;
    }
    if (bad) return bad;
    const struct head_reading after = session_head_read(row->r.session);
    session_kv_used(row->r.session, &used, &total);
    session_neurons(row->r.session, &of, &taken);
    session_gates(row->r.session, &gates, &gates_read);
    row->joules         = median(joules, s->a->repetitions);
    row->timing.kv_read = 0.5 * (double)used;
    row->timing.neurons = of ? (double)taken / (double)of : 0;
    row->timing.gates   = gates ? (double)gates_read / (double)gates : 1;
    if (after.calls > head.calls)
        row->timing.head = (double)(after.bytes - head.bytes) / (double)(after.calls - head.calls);
    return EK_OK;
}

/* Bytes of this process that are in memory; 0 where the system does not tell. */
static uint64_t resident(void)
{
    char  text[64] = "", *rest = text;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f) return 0;
    if (fgets(text, sizeof text, f)) (void)strtoull(text, &rest, 10); /* all pages, then these */
    fclose(f);
    return strtoull(rest, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- quality ---- */

static ek_status score_row(struct stack *s, struct row *row, struct error *e)
{
    const struct ppl_report *r = &s->v.report;
    double                   unused;
    s->v.runner         = &row->r;
    const ek_status bad = evaluation_run(&s->v, NULL, e);
    if (bad) return bad;
    likelihood_perplexity(&r->mine, &row->ppl, &unused);
    row->impossible = r->impossible;
    mean_error(r->kld, r->count, &row->kld, &unused);
    row->same = (double)r->same / (double)r->positions;
    return EK_OK;
}

static int run_row(struct stack *s, struct row *row)
{
    struct error   e;
    const uint64_t before = resident();
    const int      status = row == s->rows ? 0 : open_row(s, row); /* the base is open */
    if (status) return status;
    ek_status bad = time_row(s, row, &e);
    if (!bad && row == s->rows) {
        const char *beside = s->a->text.out ? s->a->text.out : "stack";
        bad                = evaluation_run_base(&s->v, beside, &e);
    }
    if (!bad) bad = score_row(s, row, &e);
    if (bad) return runner_fail(&row->r, &e);
    row->resident = resident() - (row == s->rows ? 0 : before);
    model_facts(row->r.model, &row->model.facts);
    row->made = 1;
    return 0;
}

/* ---- the table ---- */

static double ratio_of(const struct stack *s, const struct row *row)
{
    double v[REPETITIONS_MAX];
    for (size_t i = 0; i < s->a->repetitions; i++) v[i] = row->base_ns[i] / row->ns[i];
    return median(v, s->a->repetitions);
}

static void print_row(const struct stack *s, const struct row *row)
{
    const double ns = median(row->ns, s->a->repetitions);
    char         ppl[32], kld[32], joules[32] = "-";
    snprintf(ppl, sizeof ppl, "%.4f", row->ppl);
    if (row->impossible)
        snprintf(ppl, sizeof ppl, "inf (%llu)", (unsigned long long)row->impossible);
    snprintf(kld, sizeof kld, isfinite(row->kld) ? "%.5f" : "%f", row->kld);
    if (!s->energy.why) snprintf(joules, sizeof joules, "%.3f", row->joules);
    printf("| %-9s | %9.2f | %8.3f | %5.2f | %12.0f | %12s | %8s | %6.2f%% | %8.1f | %8s |\n",
           row->name, 1e9 / ns, 1e-6 * ns, ratio_of(s, row),
           speed_bytes_per_token(&row->timing, &row->model), ppl, kld, 100 * row->same,
           (double)row->resident / 0x1p20, joules);
    fflush(stdout);
}

static void print_head(const struct stack *s)
{
    const struct row  *base = &s->rows[0];
    struct model_facts f;
    model_facts(base->r.model, &f);
    printf("%s, %zu threads; %zu tokens decoded, %zu times, in turns with the base; %llu tokens "
           "scored of "
           "%zu chunks of %zu\n\n",
           f.type, base->r.threads.count, s->a->tokens, s->a->repetitions,
           (unsigned long long)s->v.header.positions, s->v.windows, s->v.protocol.context);
    printf("| %-9s | %9s | %8s | %5s | %12s | %12s | %8s | %7s | %8s | %8s |\n", "", "tok/s",
           "ms/token", "x", "bytes/token", "PPL", "KLD", "same", "RSS MiB", "J/token");
    puts("|-----------|----------:|---------:|------:|-------------:|-------------:|---------:|----"
         "----:|"
         "---------:|---------:|");
}

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *row_json(const struct stack *s, const struct row *row)
{
    const double ns = median(row->ns, s->a->repetitions);
    return json_pack("{s:s, s:f, s:f, s:f, s:f, s:o, s:I, s:o, s:f, s:I, s:o}", "name", row->name,
                     "median_ts", 1e9 / ns, "ms_per_token", 1e-6 * ns, "speedup", ratio_of(s, row),
                     "bytes_per_token", speed_bytes_per_token(&row->timing, &row->model), "ppl",
                     number(row->impossible ? (double)INFINITY : row->ppl), "impossible",
                     (json_int_t)row->impossible, "mean_kld", number(row->kld), "same_top_p",
                     row->same, "resident", (json_int_t)row->resident, "joules_per_token",
                     s->energy.why ? json_null() : number(row->joules));
}

static ek_status write_results(const struct stack *s, struct error *e)
{
    const struct runner *r    = &s->rows[0].r;
    json_t              *root = results_new("stack", &r->topology, r->model), *rows = json_array();
    for (size_t i = 0; i < s->count; i++)
        if (s->rows[i].made) json_array_append_new(rows, row_json(s, &s->rows[i]));
    if (!root || json_object_set_new(root, "results", rows) ||
        json_object_set_new(root, "energy_note",
                            s->energy.why ? json_string(s->energy.why) : json_null())) {
        json_decref(root);
        return fail(e, EK_E_NOMEM, "%s: out of memory", s->a->text.out);
    }
    return results_write(root, s->a->text.out, e);
}

/* ---- the command ---- */

/* A copy in 4 bit in a directory of its own, for a model that is not in 4 bit already. */
static ek_status quantize(struct stack *s, struct error *e)
{
    const char            *tmp = getenv("TMPDIR");
    struct model_facts     f;
    char                   dir[sizeof s->quantized - 8];
    struct convert_options o = {.type     = EK_FMT_q4g32,
                                .head     = CONVERT_DEFAULT,
                                .embed    = CONVERT_DEFAULT,
                                .pool     = &s->rows[0].r.threads.pool,
                                .progress = progress_show};
    model_facts(s->rows[0].r.model, &f);
    const char *type = strrchr(f.type, ' ');
    if (type && !strncmp(type, " q4", 3)) return EK_OK;
    const int n = snprintf(dir, sizeof dir, "%s/ek-stack-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (n < 0 || (size_t)n >= sizeof dir) return fail(e, EK_E_ARG, "TMPDIR: name too long");
    if (!mkdtemp(dir)) return fail(e, EK_E_IO, "%s: %s", dir, strerror(errno));
    snprintf(s->quantized, sizeof s->quantized, "%s/q4", dir);
    return convert(s->a->text.session.model, s->quantized, &o, e);
}

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static void remove_copy(struct stack *s)
{
    if (!*s->quantized) return;
    *strrchr(s->quantized, '/') = 0; /* the directory that quantize made */
    if (nftw(s->quantized, remove_one, 8, FTW_DEPTH | FTW_PHYS))
        fprintf(stderr, "ek stack: %s stays behind\n", s->quantized);
}

static int open_base(struct stack *s)
{
    struct error e;
    s->count        = 0;
    struct row base = {.name = "base"};
    add_row(s, base);
    const int status = open_row(s, &s->rows[0]);
    if (status) return status;
    s->v.protocol.context = s->a->text.session.context;
    if (quantize(s, &e) ||
        evaluation_open(&s->v, &s->rows[0].r, s->a->text.file, s->a->text.chunks, 0, &e))
        return runner_fail(&s->rows[0].r, &e);
    const struct runner open = s->rows[0].r;
    s->count                 = 0;
    plan_rows(s);
    s->rows[0].r = open;
    return 0;
}

static int run(struct stack *s)
{
    struct error e;
    int          status = open_base(s);
    if (status) return status;
    energy_open(&s->energy);
    print_head(s);
    for (size_t i = 0; i < s->count && !status; i++) {
        status = run_row(s, &s->rows[i]);
        if (!status) print_row(s, &s->rows[i]);
        if (status && s->rows[i].head && i + 1 < s->count) { /* said on stderr */
            printf("| %-9s | unavailable\n", s->rows[i].name);
            s->a->text.session.head.mode = HEAD_FULL, status = 0;
        }
        if (i) runner_close(&s->rows[i].r);
    }
    if (s->energy.why) printf("\nJ/token: unavailable: %s\n", s->energy.why);
    if (!status && s->a->text.out && write_results(s, &e)) status = runner_fail(&s->rows[0].r, &e);
    return status;
}

int cmd_stack(int argc, char **argv)
{
    struct stack_args a = {
        .text = {.chunks = CHUNKS, .session = {.head = {.mode = HEAD_CERTIFIED, .threshold = 0.5}}},
        .tokens      = TOKENS,
        .repetitions = REPETITIONS};
    struct stack s      = {.a = &a, .count = 0};
    int          status = parse(&a, argc, argv);
    if (status != ARGS_GO) return status;
    status = run(&s);
    evaluation_drop(&s.v);
    runner_close(&s.rows[0].r);
    remove_copy(&s);
    return status;
}
