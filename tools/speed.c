/* SPDX-License-Identifier: Apache-2.0 */
/* tools/speed.c - every combination of settings, depths and tests; thread counts take turns, and a
 * reading of memory stands beside each repetition. */
#include "tools/speed.h"

#include "tools/ek.h"
#include "tools/progress.h"
#include "tools/results.h"
#include "tools/roof.h"
#include "tools/session_args.h"
#include "tools/speed_report.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* One thread count: sessions of all lanes hold the same tokens. */
struct lane {
    struct threads          threads;
    struct session         *session;
    const struct ek_kernel *read;
    struct speed_result     result;
};

struct speed {
    const struct speed_args *a;
    struct runner            r;
    struct speed_model       model;
    struct speed_columns     columns;
    struct roof              roof;
    uint64_t                 peak_before; /* resident before the roof's buffer */
    struct lane              lanes[LANES_MAX];
    size_t                   lane_count, batch, context;
    int                      kv, act, warm, over;
    int32_t                 *ids; /* random, [context] */
    json_t                  *results;
    size_t                   printed;
};

/* ---- one test ---- */

static int run_once(struct speed *s, struct lane *l, const struct speed_test *t, double *ns)
{
    struct error e;
    const float *logits;
    ek_status    bad   = EK_OK;
    const double start = seconds_now();
    if (t->prompt) bad = session_eval(l->session, s->ids, t->prompt, LOGITS_LAST, &logits, &e);
    for (size_t i = 0; i < t->generated && !bad; i++)
        bad = session_eval(l->session, s->ids + i, 1, LOGITS_LAST, &logits, &e);
    *ns = 1e9 * (seconds_now() - start);
    return bad ? runner_fail(&s->r, &e) : 0;
}

/* The cache at the test's depth again. A window may have dropped what lies there: then anew. */
static int to_depth(struct speed *s, struct lane *l, size_t depth)
{
    struct error e;
    const float *logits;
    if (session_length(l->session) >= depth && depth && !session_truncate(l->session, depth))
        return 0;
    if (session_truncate(l->session, 0)) {
        fputs("ek speed: the session cannot be emptied\n", stderr);
        return EXIT_RUN;
    }
    if (depth && session_eval(l->session, s->ids, depth, LOGITS_NONE, &logits, &e))
        return runner_fail(&s->r, &e);
    return 0;
}

/* Mean bytes of cache that a decoded token reads: as much as is used, half way. */
static double kv_read(struct lane *l, uint64_t before)
{
    uint64_t used, total;
    session_kv_used(l->session, &used, &total);
    l->result.kv_bytes = total;
    return 0.5 * ((double)before + (double)used);
}

/* Adds what the weight cache did since before. */
static void add_cache(struct lane *l, const struct tier_counts *before)
{
    struct tier_counts *sum = &l->result.cache, now;
    if (!session_weight_cache(l->session, &now)) return;
    sum->capacity = now.capacity;
    sum->hits += now.hits - before->hits;
    sum->rows_read += now.rows_read - before->rows_read;
    sum->bytes_read += now.bytes_read - before->bytes_read;
    sum->bytes_moved += now.bytes_moved - before->bytes_moved;
    sum->requests += now.requests - before->requests;
    sum->stall_s += now.stall_s - before->stall_s;
    sum->churn = sum->hits + sum->rows_read
                     ? (double)sum->rows_read / (double)(sum->hits + sum->rows_read)
                     : 0;
}

/* One repetition on one lane and, beside it, the read bandwidth. */
static int repeat(struct speed *s, struct lane *l, const struct speed_test *t)
{
    const double        reading = 0.05;
    uint64_t            before, total, of[2], taken[2], gates[2], gates_read[2];
    struct head_reading head[2];
    int                 bad = to_depth(s, l, t->depth);
    if (bad) return bad;
    session_kv_used(l->session, &before, &total);
    session_neurons(l->session, &of[0], &taken[0]);
    session_gates(l->session, &gates[0], &gates_read[0]);
    head[0]                  = session_head_read(l->session);
    struct tier_counts cache = {0};
    (void)session_weight_cache(l->session, &cache);
    double *ns = &l->result.ns[l->result.repetitions];
    bad        = run_once(s, l, t, ns);
    if (bad) return bad;
    session_neurons(l->session, &of[1], &taken[1]);
    session_gates(l->session, &gates[1], &gates_read[1]);
    head[1]                                 = session_head_read(l->session);
    l->result.head_s[l->result.repetitions] = head[1].seconds - head[0].seconds;
    if (head[1].calls > head[0].calls)
        l->result.head =
            (double)(head[1].bytes - head[0].bytes) / (double)(head[1].calls - head[0].calls);
    if (of[1] > of[0]) l->result.neurons = (double)(taken[1] - taken[0]) / (double)(of[1] - of[0]);
    if (gates[1] > gates[0])
        l->result.gates = (double)(gates_read[1] - gates_read[0]) / (double)(gates[1] - gates[0]);
    add_cache(l, &cache);
    l->result.kv_read = kv_read(l, before);
    l->result.read[l->result.repetitions++] =
        s->a->weight_cache ? 0 : roof_measure(&s->roof, &l->threads, l->read, reading);
    return 0;
}

/* Why decoding is not held against memory, or NULL. */
static const char *no_roof(const struct speed *s, const struct speed_test *t)
{
    const size_t llc = topology_last_level(&s->r.topology), floor = (size_t)256 << 20;
    if (s->a->weight_cache) return "unavailable: neurons are read from a file";
    if (t->prompt) return "unavailable: prefill reads the weights once for many tokens";
    if (s->model.facts.bytes_per_token < (llc && llc < floor ? llc : floor))
        return "unavailable: what a token reads fits into the last-level cache";
    return NULL;
}

static void begin_result(const struct speed *s, struct lane *l, const struct speed_test *t)
{
    l->result = (struct speed_result){.test    = *t,
                                      .threads = l->threads.count,
                                      .batch   = s->batch,
                                      .kv      = ek_fmt_info(kv_format(s->kv))->name,
                                      .act     = act_name(s->act),
                                      .note    = no_roof(s, t)};
    results_time(l->result.time);
}

/* ---- output ---- */

static int print_result(struct speed *s, const struct lane *l)
{
    const uint64_t peak = peak_resident(), buffer = s->roof.arena.bytes;
    s->model.peak_rss =
        peak > buffer && peak - buffer > s->peak_before ? peak - buffer : s->peak_before;
    json_t *json = speed_json(&l->result, &s->model);
    if (!json || json_array_append(s->results, json)) {
        json_decref(json);
        fputs("ek speed: out of memory\n", stderr);
        return EXIT_RUN;
    }
    progress_clear();
    if (s->a->format == SPEED_MD && !s->printed) speed_print_md_head(&s->columns);
    if (s->a->format == SPEED_MD) speed_print_md(&s->columns, &l->result, &s->model);
    if (s->a->format == SPEED_CSV) speed_print_csv(json, !s->printed);
    if (s->a->format == SPEED_JSONL) {
        json_dumpf(json, stdout, JSON_COMPACT | JSON_REAL_PRECISION(10));
        putchar('\n');
    }
    fflush(stdout);
    s->printed++;
    s->over += speed_roofline(&l->result, &s->model) > 105;
    json_decref(json);
    return 0;
}

/* Below the Markdown table: what bounds decoding, and how near it came. */
static void print_roofs(const json_t *results)
{
    const json_t *v;
    size_t        i;
    json_array_foreach(results, i, v)
    {
        const json_t *share = json_object_get(v, "roofline_pct");
        if (!json_is_real(share)) continue;
        printf("%stg%lld @ d%lld, %s, %lld threads: %.2f GB/s of %.2f GB/s read, %.1f %%\n",
               i ? "" : "\n", (long long)json_integer_value(json_object_get(v, "n_gen")),
               (long long)json_integer_value(json_object_get(v, "n_depth")),
               json_string_value(json_object_get(v, "model_type")),
               (long long)json_integer_value(json_object_get(v, "n_threads")),
               json_real_value(json_object_get(v, "gbps")),
               json_real_value(json_object_get(v, "read_gbps")), json_real_value(share));
    }
    printf("\nbuild: %s (%d)\n", EK_COMMIT, EK_BUILD_NUMBER);
}

/* ---- all tests of one setting ---- */

static int run_test(struct speed *s, const struct speed_test *t)
{
    int          bad = 0;
    char         name[64];
    const size_t n = s->a->repetitions;
    speed_test_name(t, name, sizeof name);
    for (size_t j = 0; j < s->lane_count && !bad; j++) begin_result(s, &s->lanes[j], t);
    if (s->a->delay > 0) usleep((useconds_t)(s->a->delay * 1e6));
    for (size_t j = 0; j < s->lane_count && !bad && !s->a->no_warmup; j++) {
        const struct speed_test warm = {t->prompt, t->generated ? 1 : 0, t->depth};
        double                  ns;
        bad = to_depth(s, &s->lanes[j], t->depth);
        if (!bad) bad = run_once(s, &s->lanes[j], &warm, &ns);
    }
    for (size_t i = 0; i < n && !bad; i++)
        for (size_t j = 0; j < s->lane_count && !bad; j++) {
            progress_show(NULL, name, i * s->lane_count + j, n * s->lane_count);
            bad = repeat(s, &s->lanes[j], t);
        }
    for (size_t j = 0; j < s->lane_count && !bad; j++) bad = print_result(s, &s->lanes[j]);
    return bad;
}

/* Depth by depth, so that a deep cache is filled once. */
static int run_tests(struct speed *s)
{
    const struct speed_args *a   = s->a;
    int                      bad = 0;
    for (size_t d = 0; d < a->depth.count && !bad; d++) {
        const size_t depth = a->depth.v[d];
        for (size_t j = 0; j < s->lane_count && !bad; j++) bad = to_depth(s, &s->lanes[j], depth);
        for (size_t i = 0; i < a->prompt.count && !bad; i++)
            if (a->prompt.v[i]) bad = run_test(s, &(struct speed_test){a->prompt.v[i], 0, depth});
        for (size_t i = 0; i < a->generated.count && !bad; i++)
            if (a->generated.v[i])
                bad = run_test(s, &(struct speed_test){0, a->generated.v[i], depth});
        for (size_t i = 0; i < a->both.count && !bad; i++)
            bad = run_test(s, &(struct speed_test){a->both.first[i], a->both.second[i], depth});
    }
    return bad;
}

/* The first evaluation after the load, of one token: a mapped file is read here. */
static int first_token(struct speed *s)
{
    const struct speed_test one = {0, 1, 0};
    double                  ns;
    if (s->warm) return 0;
    s->warm                 = 1;
    const int bad           = run_once(s, &s->lanes[0], &one, &ns);
    s->model.first_token_ms = ns / 1e6;
    return bad ? bad : to_depth(s, &s->lanes[0], 0);
}

/* The roof's buffer comes after the first token, so that it does not count as the model's. */
static int open_roof(struct speed *s)
{
    const uint64_t token = s->model.facts.bytes_per_token, least = (uint64_t)256 << 20;
    const long     pages = sysconf(_SC_AVPHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    uint64_t       bytes = (uint64_t)s->a->memory << 20;
    if (s->roof.sums || s->a->weight_cache) return 0;
    if (!bytes) bytes = token > least ? token : least;
    if (!s->a->memory && pages > 0 && page > 0 && bytes > (uint64_t)pages * (uint64_t)page / 4)
        bytes = least;
    s->peak_before = peak_resident();
    if (roof_open(&s->roof, bytes)) {
        fprintf(stderr, "ek speed: %llu MiB to read: %s\n", (unsigned long long)(bytes >> 20),
                strerror(errno));
        return EXIT_RUN;
    }
    for (size_t j = 0; j < s->lane_count; j++) {
        s->lanes[j].read = roof_best(&s->roof, &s->lanes[j].threads);
        if (s->a->verbose && s->lanes[j].read)
            fprintf(stderr, "read: %zu MiB, %zu threads: %s\n", s->roof.arena.bytes >> 20,
                    s->lanes[j].threads.count, s->lanes[j].read->name);
    }
    return 0;
}

static int run_setting(struct speed *s)
{
    struct error e;
    int          bad = 0;
    for (size_t j = 0; j < s->lane_count && !bad; j++) {
        const struct session_options o = {.pool             = &s->lanes[j].threads.pool,
                                          .kv               = kv_format(s->kv),
                                          .context          = s->context,
                                          .batch            = s->batch,
                                          .weight_cache     = (uint64_t)s->a->weight_cache << 20,
                                          .activation       = act_kind(s->act),
                                          .router_threshold = (float)s->a->head.threshold};
        if (session_open(&s->lanes[j].session, s->r.model, &o, &e)) bad = runner_fail(&s->r, &e);
        if (!bad && s->a->head.mode) session_head_top(s->lanes[j].session, 1);
    }
    if (!bad) bad = first_token(s);
    if (!bad) bad = open_roof(s);
    if (!bad) bad = run_tests(s);
    for (size_t j = 0; j < s->lane_count; j++) {
        if (s->lanes[j].session) session_close(s->lanes[j].session);
        s->lanes[j].session = NULL;
    }
    return bad;
}

/* ---- all settings of one model ---- */

static size_t largest(const size_t *v, size_t count)
{
    size_t most = 0;
    for (size_t i = 0; i < count; i++) most = v[i] > most ? v[i] : most;
    return most;
}

/* Tokens of the longest test, and random ids for them. */
static int make_ids(struct speed *s)
{
    const struct speed_args *a     = s->a;
    const size_t             vocab = model_config(s->r.model)->vocab;
    size_t                   most  = largest(a->prompt.v, a->prompt.count);
    if (largest(a->generated.v, a->generated.count) > most)
        most = largest(a->generated.v, a->generated.count);
    for (size_t i = 0; i < a->both.count; i++)
        if (a->both.first[i] + a->both.second[i] > most)
            most = a->both.first[i] + a->both.second[i];
    s->context = largest(a->depth.v, a->depth.count) + most + 1;
    s->ids     = malloc(s->context * sizeof *s->ids);
    if (!s->ids) {
        fputs("ek speed: out of memory\n", stderr);
        return EXIT_RUN;
    }
    uint64_t x = 88172645463325252u; /* xorshift64 */
    for (size_t i = 0; i < s->context; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        s->ids[i] = (int32_t)(x % vocab);
    }
    return 0;
}

static int run_model(struct speed *s, const char *path)
{
    struct error               e;
    const struct speed_args   *a   = s->a;
    const struct model_options o   = {.pool      = &s->lanes[s->lane_count - 1].threads.pool,
                                      .cuts      = a->lobotomy,
                                      .sparse    = a->sparse,
                                      .predictor = a->predictor,
                                      .head      = (enum head_mode)a->head.mode,
                                      .router    = a->head.router,
                                      .progress  = progress_show};
    int                        bad = 0;
    if (model_open(&s->r.model, path, &o, &e)) return runner_fail(&s->r, &e);
    model_facts(s->r.model, &s->model.facts);
    s->model.cpu = s->r.topology.model;
    s->warm      = 0;
    bad          = make_ids(s);
    for (size_t i = 0; i < a->batch.count && !bad; i++)
        for (size_t j = 0; j < a->kv.count && !bad; j++)
            for (size_t k = 0; k < a->act.count && !bad; k++) {
                s->batch = a->batch.v[i], s->kv = a->kv.v[j], s->act = a->act.v[k];
                bad = run_setting(s);
            }
    free(s->ids);
    roof_close(&s->roof);
    return bad;
}

static int write_out(const struct speed *s)
{
    struct error e;
    json_t      *root = results_new("speed", &s->r.topology, s->r.model);
    if (root) json_object_set(root, "results", s->results);
    return s->a->out && results_write(root, s->a->out, &e) ? runner_fail(&s->r, &e) : 0;
}

static int run_models(struct speed *s)
{
    int bad = 0;
    for (size_t i = 0; i < s->a->threads.count && !bad; i++, s->lane_count += !bad)
        bad = runner_threads(&s->r, &s->lanes[i].threads, s->a->threads.v[i]);
    for (size_t i = 0; i < s->a->models.count && !bad; i++) {
        if (s->r.model) model_close(s->r.model);
        s->r.model = NULL;
        bad        = run_model(s, s->a->models.v[i]);
    }
    if (!bad && s->a->format == SPEED_MD) print_roofs(s->results);
    if (!bad && s->a->format == SPEED_JSON) {
        json_dumpf(s->results, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
        putchar('\n');
    }
    if (!bad && s->a->out) bad = write_out(s);
    if (!bad && s->over) {
        fprintf(
            stderr,
            "ek speed: %d result%s above 105 %% of the read bandwidth: bytes are miscounted, or "
            "a cache serves them\n",
            s->over, s->over == 1 ? "" : "s");
        bad = EXIT_RUN;
    }
    return bad;
}

int speed_run(const struct speed_args *a, const struct topology *t)
{
    static struct speed s; /* results of all lanes are large */
    s                = (struct speed){.a       = a,
                                      .r       = {.command = "ek speed", .topology = *t},
                                      .results = json_array(),
                                      .columns = {.batch = a->batch.count > 1 || a->batch.v[0] != SESSION_BATCH,
                                                  .kv    = a->kv.count > 1 || a->kv.v[0] != 0,
                                                  .act   = a->act.count > 1 || a->act.v[0] != 0}};
    const int status = run_models(&s);
    if (s.r.model) model_close(s.r.model);
    for (size_t i = 0; i < s.lane_count; i++) threads_stop(&s.lanes[i].threads);
    json_decref(s.results);
    return status;
}
