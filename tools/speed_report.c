/* SPDX-License-Identifier: Apache-2.0 */
/* tools/speed_report.c - statistics of repetitions; rows of Markdown, JSON and CSV. */
#include "tools/speed_report.h"

#include "model/perplexity.h"
#include "tools/results.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void speed_test_name(const struct speed_test *t, char *out, size_t size)
{
    char depth[32] = "";
    if (t->depth) snprintf(depth, sizeof depth, " @ d%zu", t->depth);
    if (t->prompt && t->generated)
        snprintf(out, size, "pp%zu+tg%zu%s", t->prompt, t->generated, depth);
    else if (t->prompt)
        snprintf(out, size, "pp%zu%s", t->prompt, depth);
    else
        snprintf(out, size, "tg%zu%s", t->generated, depth);
}

/* ---- statistics ---- */

struct spread {
    double mean, deviation, median;
};

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* deviation: of one value, n - 1 in the denominator, as llama-bench. */
static struct spread spread_of(const double *v, size_t n)
{
    double        sorted[REPETITIONS_MAX], error;
    struct spread s = {0, 0, 0};
    if (!n) return s;
    memcpy(sorted, v, n * sizeof *v);
    qsort(sorted, n, sizeof *sorted, ascending);
    mean_error(v, n, &s.mean, &error);
    s.deviation = error * sqrt((double)n);
    s.median    = quantile(sorted, n, 0.5);
    return s;
}

/* Tokens per second of each repetition. */
static struct spread rates(const struct speed_result *r, double *ts)
{
    const double tokens = (double)(r->test.prompt + r->test.generated);
    for (size_t i = 0; i < r->repetitions; i++) ts[i] = 1e9 * tokens / r->ns[i];
    return spread_of(ts, r->repetitions);
}

double speed_bytes_per_token(const struct speed_result *r, const struct speed_model *m)
{
    const struct model_facts *f = &m->facts;
    return (double)f->bytes_per_token - (double)f->replaced_bytes +
           r->neurons * (double)f->neuron_bytes - (1 - r->gates) * (double)f->gate_bytes +
           r->kv_read + (r->head > 0 ? r->head - (double)f->head_bytes : 0);
}

/* Each repetition against the reading beside it, so that a machine that drifts does not count. */
double speed_roofline(const struct speed_result *r, const struct speed_model *m)
{
    double share[REPETITIONS_MAX];
    if (r->note) return 0;
    for (size_t i = 0; i < r->repetitions; i++) {
        if (!(r->read[i] > 0)) return 0;
        const double rate =
            speed_bytes_per_token(r, m) * (double)r->test.generated / r->ns[i] * 1e9;
        share[i] = 100 * rate / r->read[i];
    }
    return spread_of(share, r->repetitions).median;
}

/* Per cent of the time of a repetition. */
static double head_share(const struct speed_result *r)
{
    double share[REPETITIONS_MAX];
    for (size_t i = 0; i < r->repetitions; i++) share[i] = 1e11 * r->head_s[i] / r->ns[i];
    return spread_of(share, r->repetitions).median;
}

/* ---- JSON ---- */

static json_t *real_or_null(double v)
{
    return v > 0 && isfinite(v) ? json_real(v) : json_null();
}

static json_t *list_of(const double *v, size_t n, int whole)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, whole ? json_integer((json_int_t)v[i]) : json_real(v[i]));
    return list;
}

/* Ours, behind llama-bench's. */
static json_t *own_json(const struct speed_result *r, const struct speed_model *m,
                        const struct spread *ts)
{
    const int     decodes = r->test.generated && !r->test.prompt;
    const double  bytes   = decodes ? speed_bytes_per_token(r, m) : 0;
    struct spread read    = spread_of(r->read, r->repetitions);
    char          checksum[32];
    snprintf(checksum, sizeof checksum, "%016llx", (unsigned long long)m->facts.checksum);
    return json_pack(
        "{s:f, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:f, s:f, s:I, s:I, s:s, s:s, "
        "s:s}",
        "median_ts", ts->median, "head_bytes", real_or_null(r->head), "head_pct",
        real_or_null(head_share(r)), "neurons_taken",
        real_or_null(m->facts.neuron_bytes ? r->neurons : 0), "gates_read",
        real_or_null(m->facts.gate_bytes ? r->gates : 0), "predictor_bytes",
        m->facts.predictor_bytes ? json_integer((json_int_t)m->facts.predictor_bytes) : json_null(),
        "bytes_per_token", bytes > 0 ? json_integer((json_int_t)bytes) : json_null(), "gbps",
        real_or_null(bytes * ts->median / 1e9), "read_gbps", real_or_null(read.median / 1e9),
        "roofline_pct", real_or_null(speed_roofline(r, m)), "roofline_note",
        r->note ? json_string(r->note) : json_null(), "load_ms", m->facts.load_ms, "first_token_ms",
        m->first_token_ms, "peak_rss", (json_int_t)m->peak_rss, "kv_bytes", (json_int_t)r->kv_bytes,
        "activation", r->act, "model_checksum", checksum, "compiler", __VERSION__);
}

/* Of a weight cache, for one token; null where there is none. */
static int add_cache(json_t *root, const struct speed_result *r)
{
    const struct tier_counts *c = &r->cache;
    const double tokens         = (double)((r->test.prompt + r->test.generated) * r->repetitions);
    const struct {
        const char *key;
        double      value;
    } facts[] = {{"cache_hits", (double)c->hits / tokens},
                 {"cache_rows_read", (double)c->rows_read / tokens},
                 {"cache_bytes_read", (double)c->bytes_read / tokens},
                 {"cache_bytes_moved", (double)c->bytes_moved / tokens},
                 {"cache_requests", (double)c->requests / tokens},
                 {"cache_churn", c->churn},
                 {"cache_stall_ns", 1e9 * c->stall_s / tokens}};
    int bad   = json_object_set_new(
          root, "cache_neurons", c->capacity ? json_integer((json_int_t)c->capacity) : json_null());
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        bad |= json_object_set_new(root, facts[i].key,
                                   c->capacity ? json_real(facts[i].value) : json_null());
    return bad;
}

json_t *speed_json(const struct speed_result *r, const struct speed_model *m)
{
    double              ts[REPETITIONS_MAX];
    const struct spread rate = rates(r, ts), ns = spread_of(r->ns, r->repetitions);
    const size_t        n    = r->repetitions;
    json_t             *root = json_pack(
                    "{s:s, s:i, s:s, s:s, s:s, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:s, s:s, s:I, s:I, "
                                "s:I, s:s, s:I, s:I, s:f, s:f, s:o, s:o}",
                    "build_commit", EK_COMMIT, "build_number", EK_BUILD_NUMBER, "cpu_info", m->cpu, "gpu_info",
                    "", "backends", "CPU", "model_filename", results_text(m->facts.path, strlen(m->facts.path)),
                    "model_type", m->facts.type, "model_size", (json_int_t)m->facts.weight_bytes,
                    "model_n_params", (json_int_t)m->facts.params, "n_batch", (json_int_t)r->batch, "n_ubatch",
                    (json_int_t)r->batch, "n_threads", (json_int_t)r->threads, "type_k", r->kv, "type_v", r->kv,
                    "n_prompt", (json_int_t)r->test.prompt, "n_gen", (json_int_t)r->test.generated, "n_depth",
                    (json_int_t)r->test.depth, "test_time", r->time, "avg_ns", (json_int_t)ns.mean, "stddev_ns",
                    (json_int_t)ns.deviation, "avg_ts", rate.mean, "stddev_ts", rate.deviation, "samples_ns",
                    list_of(r->ns, n, 1), "samples_ts", list_of(ts, n, 0));
    json_t   *own = own_json(r, m, &rate);
    const int bad = !root || !own || json_object_update(root, own) || add_cache(root, r);
    json_decref(own);
    if (!bad) return root;
    json_decref(root);
    return NULL;
}

/* ---- CSV: everything but the samples ---- */

static void print_quoted(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        if (*text == '"') putchar('"');
        putchar(*text);
    }
    putchar('"');
}

int speed_print_csv(json_t *result, int head)
{
    for (int line = !head; line < 2; line++) {
        const char *key;
        json_t     *value;
        int         count = 0;
        json_object_foreach(result, key, value)
        {
            if (json_is_array(value)) continue;
            if (count++) putchar(',');
            if (line == 0) {
                fputs(key, stdout);
            } else if (json_is_string(value)) {
                print_quoted(json_string_value(value));
            } else {
                char *text = json_is_null(value)
                                 ? NULL
                                 : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(10));
                print_quoted(text ? text : "");
                free(text);
            }
        }
        putchar('\n');
    }
    return ferror(stdout) ? -1 : 0;
}

/* ---- Markdown ---- */

void speed_print_md_head(const struct speed_columns *c)
{
    printf("| %-30s | %10s | %10s | %-10s | %7s |", "model", "size", "params", "backend",
           "threads");
    if (c->batch) printf(" %7s |", "n_batch");
    if (c->kv) printf(" %7s |", "type_kv");
    if (c->act) printf(" %7s |", "act");
    printf(" %15s | %20s |\n", "test", "t/s");
    fputs("| ------------------------------ | ---------: | ---------: | ---------- | ------: |",
          stdout);
    for (int i = 0; i < c->batch + c->kv + c->act; i++) fputs(" ------: |", stdout);
    puts(" --------------: | -------------------: |");
}

static void scaled(double v, double step, const char *const units[4], char *out, size_t size)
{
    int i = 0;
    while (i < 3 && v >= step) v /= step, i++;
    snprintf(out, size, "%.2f %s", v, units[i]);
}

void speed_print_md(const struct speed_columns *c, const struct speed_result *r,
                    const struct speed_model *m)
{
    static const char *const bytes[4] = {"B", "KiB", "MiB", "GiB"}, *const counts[4] = {"", "K",
                                                                                        "M", "B"};
    double              ts[REPETITIONS_MAX];
    char                size[32], params[32], test[64], value[64];
    const struct spread s = rates(r, ts);
    scaled((double)m->facts.weight_bytes, 1024, bytes, size, sizeof size);
    scaled((double)m->facts.params, 1000, counts, params, sizeof params);
    speed_test_name(&r->test, test, sizeof test);
    snprintf(value, sizeof value, "%.2f ± %.2f", s.mean, s.deviation);
    printf("| %-30s | %10s | %10s | %-10s | %7zu |", m->facts.type, size, params, "CPU",
           r->threads);
    if (c->batch) printf(" %7zu |", r->batch);
    if (c->kv) printf(" %7s |", r->kv);
    if (c->act) printf(" %7s |", r->act);
    printf(" %15s | %21s |\n", test, value); /* one more: ± is two bytes */
    fflush(stdout);
}
