/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden.c - tiny models against logits computed in double precision by other code: whole
 * prompts, token by token, in chunks, in every weight and cache format, on any number of threads.
 * Usage: golden DIR, where DIR/NAME holds a model, ids.json and logits.npy (tools/golden). */
#include "model/convert.h"
#include "model/model.h"
#include "tests/npy.h"
#include "tools/pool.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IDS_MAX = 256, PATH_BYTES = 1024 };

struct fixture {
    char       name[256], path[PATH_BYTES];
    int32_t    ids[IDS_MAX];
    size_t     n, vocab;
    struct npy want; /* [n][vocab] */
};

static int failures;

static void die(const char *what)
{
    fprintf(stderr, "golden: %s\n", what);
    exit(2);
}

static void expect(int ok, const char *fixture, const char *what, const char *why)
{
    if (ok) return;
    printf("FAILED  %s: %s: %s\n", fixture, what, why);
    failures++;
}

/* ---- fixtures ---- */

static void read_fixture(struct fixture *f, const char *dir, const char *name)
{
    char         path[PATH_BYTES + 16];
    struct error e = {""};
    json_error_t je;
    snprintf(f->name, sizeof f->name, "%s", name);
    snprintf(f->path, sizeof f->path, "%s/%s", dir, name);
    snprintf(path, sizeof path, "%s/ids.json", f->path);
    json_t *ids = json_load_file(path, 0, &je);
    f->n        = json_array_size(ids);
    if (!f->n || f->n > IDS_MAX) die(path);
    for (size_t i = 0; i < f->n; i++)
        f->ids[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    json_decref(ids);
    snprintf(path, sizeof path, "%s/logits.npy", f->path);
    if (npy_read(&f->want, path, &e)) die(e.text);
    if (f->want.dims != 2 || f->want.shape[0] != f->n) die(path);
    f->vocab = f->want.shape[1];
}

/* ---- running ---- */

/* One way to run a fixture. */
struct run {
    const char        *what;
    const ek_pool     *pool;
    enum ek_fmt        kv;
    enum ek_activation activation;
    size_t             step; /* tokens of one call; 0: all at once */
};

/* Logits of all tokens; NULL with the reason in e. */
static float *run_model(const struct fixture *f, const struct model *m, const struct run *r,
                        struct error *e)
{
    struct session_options o = {.pool       = r->pool,
                                .kv         = r->kv,
                                .context    = f->n,
                                .batch      = r->step ? r->step : f->n,
                                .activation = r->activation};
    struct session        *s;
    float                 *out = malloc(f->n * f->vocab * sizeof *out);
    if (!out) die("out of memory");
    ek_status bad = session_open(&s, m, &o, e);
    for (size_t i = 0; !bad && i < f->n; i += o.batch) {
        const float *logits;
        const size_t n = f->n - i < o.batch ? f->n - i : o.batch;
        bad            = session_eval(s, f->ids + i, n, LOGITS_ALL, &logits, e);
        if (!bad) memcpy(out + i * f->vocab, logits, n * f->vocab * sizeof *out);
    }
    if (!bad) session_close(s);
    if (!bad) return out;
    free(out);
    return NULL;
}

/* Largest difference, in units of the reference's spread. */
static double distance(const struct fixture *f, const float *got)
{
    double       sum = 0, squares = 0, worst = 0;
    const size_t n = f->n * f->vocab;
    for (size_t i = 0; i < n; i++) {
        const double w = f->want.data[i], d = fabs((double)got[i] - w);
        sum += w, squares += w * w;
        if (!(d <= worst)) worst = d; /* NaN is the worst */
    }
    return worst / sqrt(squares / (double)n - sum / (double)n * (sum / (double)n));
}

static void check_run(const struct fixture *f, const struct model *m, const struct run *r,
                      double bound, double *worst)
{
    struct error e   = {""};
    float       *got = run_model(f, m, r, &e);
    if (!got) {
        expect(0, f->name, r->what, e.text);
        return;
    }
    const double d = distance(f, got);
    char         why[96];
    snprintf(why, sizeof why, "off by %.3g, more than %.3g", d, bound);
    expect(d <= bound, f->name, r->what, why);
    if (!(d <= *worst)) *worst = d;
    free(got);
}

/* ---- checks ---- */

static void check_threads(const struct fixture *f, const struct model *m, enum ek_fmt kv)
{
    static const size_t counts[] = {2, 3, 8};
    struct error        e        = {""};
    for (size_t step = 0; step < 2; step++) {
        struct run r    = {.kv = kv, .step = step};
        float     *want = run_model(f, m, &r, &e);
        for (size_t i = 0; want && i < sizeof counts / sizeof *counts; i++) {
            struct threads t;
            if (threads_start(&t, counts[i], NULL)) die("threads");
            r.pool     = &t.pool;
            float *got = run_model(f, m, &r, &e);
            expect(got && !memcmp(want, got, f->n * f->vocab * sizeof *got), f->name,
                   step ? "threads, decoding" : "threads, prefill", "other bytes");
            free(got);
            threads_stop(&t);
        }
        expect(want != NULL, f->name, "threads", e.text);
        free(want);
    }
}

/* A text that was cut back goes on as if it had never been longer. */
static void check_truncate(const struct fixture *f, const struct model *m)
{
    struct error           e = {""};
    struct session_options o = {.context = f->n, .batch = f->n};
    struct session        *s;
    const float           *logits;
    const size_t           half = f->n / 2;
    if (session_open(&s, m, &o, &e)) die(e.text);
    float    *want = malloc(f->vocab * sizeof *want);
    ek_status bad  = session_eval(s, f->ids, half, LOGITS_NONE, NULL, &e);
    if (!bad) bad = session_eval(s, f->ids + half, 1, LOGITS_LAST, &logits, &e);
    if (!bad && want) memcpy(want, logits, f->vocab * sizeof *want);
    if (!bad) bad = session_eval(s, f->ids + half + 1, f->n - half - 1, LOGITS_NONE, NULL, &e);
    if (!bad) bad = session_truncate(s, half);
    if (!bad) bad = session_eval(s, f->ids + half, 1, LOGITS_LAST, &logits, &e);
    expect(!bad && want && !memcmp(want, logits, f->vocab * sizeof *want), f->name, "truncate",
           bad ? e.text : "other bytes");
    free(want);
    session_close(s);
}

static void check_bytes(const struct fixture *f, const struct model *m)
{
    struct error           e = {""};
    struct session_options o = {.context = 100, .kv = EK_FMT_i8};
    struct session        *s;
    uint64_t               predicted, work, used, total;
    if (session_bytes(m, &o, &predicted, &work, &e) || session_open(&s, m, &o, &e)) die(e.text);
    session_kv_used(s, &used, &total);
    expect(predicted == total && !used, f->name, "cache bytes", "not as predicted");
    session_close(s);
}

/* Formats that weights are converted to, and how far logits may then be off. */
static const struct {
    const char *type;
    double      bound;
} formats[] = {{"f32", 1e-4}, {"bf16", 1e-4}, {"f16", 2e-3}, {"q8", 0.08}, {"q4:g32", 1.2}};
enum { FORMATS = sizeof formats / sizeof *formats };

static void check_formats(const struct fixture *f, double worst[FORMATS])
{
    for (size_t i = 0; i < FORMATS; i++) {
        char                   dir[] = "/tmp/ek-golden-XXXXXX", path[64];
        struct error           e     = {""};
        struct model          *m;
        struct convert_options o = {.type = formats[i].type};
        if (!mkdtemp(dir)) die("mkdtemp");
        snprintf(path, sizeof path, "%s/m", dir);
        if (convert(f->path, path, &o, &e) || model_open(&m, path, NULL, &e)) {
            expect(0, f->name, formats[i].type, e.text);
        } else {
            const struct run r = {.what = formats[i].type};
            check_run(f, m, &r, formats[i].bound, &worst[i]);
            model_close(m);
        }
        char command[128];
        snprintf(command, sizeof command, "rm -r %s", dir);
        if (system(command)) die(command);
    }
}

static const struct {
    struct run r;
    double     bound;
} ways[] = {
    {{.what = "prefill"}, 1e-4},
    {{.what = "decoding", .step = 1}, 1e-4},
    {{.what = "chunks of 7", .step = 7}, 1e-4},
    {{.what = "f16 cache", .kv = EK_FMT_f16, .step = 1}, 5e-3},
    {{.what = "f16 cache, prefill", .kv = EK_FMT_f16}, 5e-3},
    {{.what = "bf16 cache", .kv = EK_FMT_bf16, .step = 1}, 4e-2},
    {{.what = "i8 cache", .kv = EK_FMT_i8, .step = 1}, 0.12},
    {{.what = "i8 cache, prefill", .kv = EK_FMT_i8}, 0.12},
    {{.what = "i8 activations", .activation = EK_ACTIVATION_I8, .step = 1}, 0.12},
};
enum { WAYS = sizeof ways / sizeof *ways };

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}
static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

int main(int argc, char **argv)
{
    struct dirent **names;
    double          worst[WAYS] = {0}, worst_format[FORMATS] = {0};
    const int       n = argc == 2 ? scandir(argv[1], &names, visible, by_name) : -1;
    if (n < 1) die("usage: golden DIR");
    for (int i = 0; i < n; i++) {
        struct fixture f;
        struct model  *m;
        struct error   e = {""};
        read_fixture(&f, argv[1], names[i]->d_name);
        if (model_open(&m, f.path, NULL, &e)) {
            expect(0, f.name, "open", e.text);
            continue;
        }
        for (size_t j = 0; j < WAYS; j++) check_run(&f, m, &ways[j].r, ways[j].bound, &worst[j]);
        check_threads(&f, m, EK_FMT_f32);
        check_threads(&f, m, EK_FMT_i8);
        check_truncate(&f, m);
        check_bytes(&f, m);
        check_formats(&f, worst_format);
        model_close(m);
        npy_free(&f.want);
        free(names[i]);
    }
    free(names);
    for (size_t j = 0; j < WAYS; j++)
        printf("%-20s off by %.2g at most, bound %.2g\n", ways[j].r.what, worst[j], ways[j].bound);
    for (size_t j = 0; j < FORMATS; j++)
        printf("weights in %-9s off by %.2g at most, bound %.2g\n", formats[j].type,
               worst_format[j], formats[j].bound);
    printf("%d models, %d failed\n", n, failures);
    return failures != 0;
}
