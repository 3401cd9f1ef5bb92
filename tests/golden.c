/* SPDX-License-Identifier: Apache-2.0 */
/* tests/golden.c - tiny models against logits computed in double precision by other code: whole
 * prompts, token by token, in chunks, in every weight and cache format, on any number of threads.
 * Usage: golden DIR, where DIR/NAME holds a model, ids.json and logits.npy (tools/golden). */
#include "model/convert.h"
#include "model/file.h"
#include "model/model.h"
#include "model/npy.h"
#include "model/source.h"
#include "tests/thresholds_file.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IDS_MAX = 256, PATH_BYTES = 1024 };

struct fixture {
    char       name[256], dir[PATH_BYTES], path[PATH_BYTES + 16]; /* path: of the model */
    int32_t    ids[IDS_MAX];
    size_t     n, vocab;
    int        rounded; /* a tensor has a type that is not kept exactly */
    struct npy want;    /* [n][vocab] */
};

/* How far a model may be off, in the mean, that has tensors which go through q8. */
static const double ROUNDED = 2e-2;

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
    snprintf(f->dir, sizeof f->dir, "%s/%s", dir, name);
    snprintf(f->path, sizeof f->path, "%s/model.gguf", f->dir);
    if (!file_exists(f->path)) snprintf(f->path, sizeof f->path, "%s", f->dir);
    snprintf(path, sizeof path, "%s/ids.json", f->dir);
    json_t *ids = json_load_file(path, 0, &je);
    f->n        = json_array_size(ids);
    if (!f->n || f->n > IDS_MAX) die(path);
    for (size_t i = 0; i < f->n; i++)
        f->ids[i] = (int32_t)json_integer_value(json_array_get(ids, i));
    json_decref(ids);
    snprintf(path, sizeof path, "%s/logits.npy", f->dir);
    if (npy_read(&f->want, path, &e)) die(e.text);
    if (f->want.dims != 2 || f->want.shape[0] != f->n) die(path);
    f->vocab   = f->want.shape[1];
    f->rounded = 0;
    struct source *source;
    if (source_open(&source, f->path, &e)) die(e.text);
    for (size_t i = 0; i < source->count; i++) {
        int exact;
        tensor_format(&source->tensors[i], &exact);
        f->rounded |= !exact;
    }
    source_close(source);
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

/* How far off, in units of the reference's spread: the worst logit where nothing was rounded, all
 * of them in the mean where something was. */
static double distance(const struct fixture *f, const float *got, int rounded)
{
    double       sum = 0, squares = 0, worst = 0, off = 0;
    const size_t n = f->n * f->vocab;
    for (size_t i = 0; i < n; i++) {
        const double w = f->want.data[i], d = fabs((double)got[i] - w);
        sum += w, squares += w * w, off += d * d;
        if (!(d <= worst)) worst = d; /* NaN is the worst */
    }
    const double spread = sqrt(squares / (double)n - sum / (double)n * (sum / (double)n));
    return (rounded ? sqrt(off / (double)n) : worst) / spread;
}

/* A way to run a fixture and how far it may be off; worst: of all fixtures so far. */
struct way {
    struct run r;
    int        rounded;
    double     bound, worst;
};

static void check_run(const struct fixture *f, const struct model *m, struct way *w)
{
    struct error e   = {""};
    float       *got = run_model(f, m, &w->r, &e);
    if (!got) {
        expect(0, f->name, w->r.what, e.text);
        return;
    }
    const double bound = f->rounded && w->bound < ROUNDED ? ROUNDED : w->bound;
    const double d     = distance(f, got, w->rounded || f->rounded);
    char         why[96];
    snprintf(why, sizeof why, "off by %.3g, more than %.3g", d, bound);
    expect(d <= bound, f->name, w->r.what, why);
    if (!f->rounded && !(d <= w->worst)) w->worst = d;
    free(got);
}

/* ---- checks ---- */

/* A pool whose pieces run one after another, the last first: what a piece must not lean on shows
 * without waiting for threads. tests/threads.c has real ones. */
static void run_backwards(void *self, size_t items, size_t grain, ek_task_fn *fn, void *task)
{
    (void)self;
    for (size_t i = (items + grain - 1) / grain; i-- > 0;)
        fn(task, i * grain, (i + 1) * grain < items ? (i + 1) * grain : items);
}

static void check_threads(const struct fixture *f, const struct model *m, enum ek_fmt kv)
{
    static const size_t counts[] = {2, 3, 8};
    struct error        e        = {""};
    for (size_t step = 0; step < 2; step++) {
        struct run r    = {.kv = kv, .step = step};
        float     *want = run_model(f, m, &r, &e);
        for (size_t i = 0; want && i < sizeof counts / sizeof *counts; i++) {
            const ek_pool pool = {
                .struct_size = sizeof pool, .threads = counts[i], .run = run_backwards};
            r.pool     = &pool;
            float *got = run_model(f, m, &r, &e);
            expect(got && !memcmp(want, got, f->n * f->vocab * sizeof *got), f->name,
                   step ? "threads, decoding" : "threads, prefill", "other bytes");
            free(got);
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
    struct session        *s = NULL;
    uint64_t               predicted, work, used, total;
    if (session_bytes(m, &o, &predicted, &work, &e) || session_open(&s, m, &o, &e)) die(e.text);
    session_kv_used(s, &used, &total);
    expect(predicted == total && !used, f->name, "cache bytes", "not as predicted");
    session_close(s);
}

#define F32 EK_ACTIVATION_F32
#define I8  EK_ACTIVATION_I8

static struct way as_stored[] = {
    {{.what = "prefill", .activation = F32}, 0, 1e-4, 0},
    {{.what = "decoding", .activation = F32, .step = 1}, 0, 1e-4, 0},
    {{.what = "chunks of 7", .activation = F32, .step = 7}, 0, 1e-4, 0},
    {{.what = "f16 cache", .activation = F32, .kv = EK_FMT_f16, .step = 1}, 1, 2e-3, 0},
    {{.what = "f16 cache, prefill", .activation = F32, .kv = EK_FMT_f16}, 1, 2e-3, 0},
    {{.what = "bf16 cache", .activation = F32, .kv = EK_FMT_bf16, .step = 1}, 1, 1e-2, 0},
    {{.what = "i8 cache", .activation = F32, .kv = EK_FMT_i8, .step = 1}, 1, 2e-2, 0},
    {{.what = "i8 cache, prefill", .activation = F32, .kv = EK_FMT_i8}, 1, 2e-2, 0},
    {{.what = "i8 activations", .activation = I8, .step = 1}, 1, 2e-2, 0},
    {{.what = "i8 activations, prefill", .activation = I8}, 1, 2e-2, 0},
};
/* Of models in bf16, converted to kv's format; their cache stays f32. */
static struct way converted[] = {
    {{.what = "weights in f32", .kv = EK_FMT_f32}, 0, 1e-4, 0},
    {{.what = "weights in bf16", .kv = EK_FMT_bf16}, 0, 1e-4, 0},
    {{.what = "weights in f16", .kv = EK_FMT_f16}, 0, 1e-4, 0},
    {{.what = "weights in q8g32", .kv = EK_FMT_q8g32, .activation = F32}, 1, 2e-2, 0},
    {{.what = "weights in q4g32", .kv = EK_FMT_q4g32, .activation = F32}, 1, 0.5, 0},
    {{.what = "weights in q4g128", .kv = EK_FMT_q4g128, .activation = F32}, 1, 0.5, 0},
};
/* Everything above 0 taken: neurons by their gates, inputs of all products. */
static struct way sparse[] = {
    {{.what = "gates, decoding", .activation = F32, .step = 1}, 0, 1e-4, 0},
    {{.what = "gates, chunks of 7", .activation = F32, .step = 7}, 0, 1e-4, 0},
    {{.what = "inputs, decoding", .activation = F32, .step = 1}, 0, 1e-4, 0},
    {{.what = "inputs, chunks of 7", .activation = F32, .step = 7}, 0, 1e-4, 0},
};
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Converts f and checks the result; the rest of ways[i].r is how it is run. */
static void check_converted(const struct fixture *f, struct way *w)
{
    char                   dir[] = "/tmp/ek-golden-XXXXXX", path[64], command[64];
    struct error           e     = {""};
    struct model          *m;
    struct way             way = *w;
    struct convert_options o   = {
          .type = (int)w->r.kv, .head = CONVERT_DEFAULT, .embed = CONVERT_DEFAULT};
    if (!mkdtemp(dir)) die("mkdtemp");
    snprintf(path, sizeof path, "%s/m", dir);
    if (convert(f->path, path, &o, &e) || model_open(&m, path, NULL, &e)) {
        expect(0, f->name, w->r.what, e.text);
    } else {
        way.r.kv = EK_FMT_f32;
        check_run(f, m, &way);
        w->worst = way.worst;
        model_close(m);
    }
    snprintf(command, sizeof command, "rm -r %s", dir);
    if (system(command)) die(command);
}

/* f with thresholds of 0; f of floats, which lose nothing when rows become columns. MLPs with biases
 * have no neurons. */
static void check_sparse(const struct fixture *f, const struct model *whole, struct way *w,
                         int gates)
{
    static const enum tap neurons[]   = {TAP_MLP_GATE},
                          inputs[]    = {TAP_ATTN_IN, TAP_ATTN_OUT, TAP_MLP_IN, TAP_MLP_HIDDEN};
    char                       path[] = "/tmp/ek-golden-XXXXXX";
    struct error               e      = {""};
    struct model              *m;
    const struct model_options o  = {.sparse = path};
    const int                  fd = mkstemp(path);
    if (fd < 0 || close(fd) ||
        thresholds_write(path, whole, gates ? neurons : inputs, gates ? 1 : 4, 0))
        die(path);
    const ek_status bad    = model_open(&m, f->path, &o, &e);
    const int       biased = gates && model_config(whole)->mlp_bias;
    expect(biased ? bad == EK_E_UNSUPPORTED : !bad, f->name, w->r.what, e.text);
    unlink(path);
    if (bad) return;
    check_run(f, m, &w[0]);
    check_run(f, m, &w[1]);
    model_close(m);
}

static void print_ways(const struct way *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        printf("%-24s %-7s off by %.2g at most, bound %.2g\n", w[i].r.what,
               w[i].rounded ? "mean" : "worst", w[i].worst, w[i].bound);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}
static int visible(const struct dirent *d)
{
    return !strchr(d->d_name, '.'); /* not README.md */
}

int main(int argc, char **argv)
{
    struct dirent **names;
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
        for (size_t j = 0; j < COUNT(as_stored); j++) check_run(&f, m, &as_stored[j]);
        check_threads(&f, m, EK_FMT_f32);
        check_threads(&f, m, EK_FMT_i8);
        check_truncate(&f, m);
        check_bytes(&f, m);
        if (!strcmp(f.path, f.dir)) check_sparse(&f, m, &sparse[0], 1);
        if (!strcmp(f.path, f.dir)) check_sparse(&f, m, &sparse[2], 0);
        for (size_t j = 0; strcmp(f.path, f.dir) == 0 && j < COUNT(converted); j++)
            check_converted(&f, &converted[j]);
        model_close(m);
        npy_free(&f.want);
        free(names[i]);
    }
    free(names);
    print_ways(as_stored, COUNT(as_stored));
    print_ways(converted, COUNT(converted));
    print_ways(sparse, COUNT(sparse));
    printf("%d models, %d failed\n", n, failures);
    return failures != 0;
}
