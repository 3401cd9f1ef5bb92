/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_ppl.c - ek ppl: perplexity of a text, and divergence from another model's predictions. */
#include "tools/ek.h"

#include "model/source.h"
#include "model/topk.h"
#include "tools/ppl_report.h"
#include "tools/progress.h"
#include "tools/results.h"
#include "tools/session_args.h"
#include "tools/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct ppl_args {
    struct session_args session;
    const char         *file, *save, *base, *out;
    size_t              stride, chunks, top;
};

enum { TOP_DEFAULT = 128, SAMPLES = 64, KEEP_ALL_VOCAB = 4096, CONTEXT = 512, BATCH = 256 };

/* A text on its way through a model. */
struct pass {
    struct runner    *r;
    struct protocol   protocol;
    int32_t          *ids;
    size_t            count, windows, vocab;
    int               bos;
    struct kl_header  header; /* of what is written, or must be in the base */
    struct kl_writer *writer;
    struct kl_base   *base;
    struct ppl_report report;
    /* rows being scored */
    const float      *logits;
    size_t            first; /* id that row 0 predicts         */
    uint64_t          done;  /* positions before row 0         */
    double           *nll;   /* [batch]                        */
    struct kl_point  *points;
    unsigned char    *records;
    struct candidate *scratch;
};

static int parse(struct ppl_args *a, int argc, char **argv)
{
    const struct arg list[] = {
        SESSION_ARGS(a->session),
        {.names = "-f, --file",
         .value = "FILE",
         .kind  = ARG_TEXT,
         .to    = &a->file,
         .help  = "the text; - for standard input"},
        {.names = "--stride",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &a->stride,
         .least = 1,
         .most  = 1 << 30,
         .help  = "sliding windows N apart that score only new tokens (Hugging Face);\n"
                  "default: disjoint chunks whose second half is scored (llama.cpp)"},
        {.names = "--chunks",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &a->chunks,
         .least = 1,
         .help  = "only the first N windows"},
        {.names = "--kl-base-save",
         .value = "FILE",
         .kind  = ARG_TEXT,
         .to    = &a->save,
         .help  = "keep the predictions for --kl-base"},
        {.names = "--kl-base",
         .value = "FILE",
         .kind  = ARG_TEXT,
         .to    = &a->base,
         .help  = "compare with predictions kept by --kl-base-save"},
        {.names = "--kl-top",
         .value = "K",
         .kind  = ARG_SIZE,
         .to    = &a->top,
         .least = 1,
         .most  = INT32_MAX,
         .help  = "tokens of each prediction kept exactly; the rest is sampled. Default: 128,\n"
                  "all where the vocabulary is no larger than 4096"},
        {.names = "--out",
         .value = "FILE",
         .kind  = ARG_TEXT,
         .to    = &a->out,
         .help  = "also write the results as JSON"},
    };
    const struct arg_command c = {
        .name  = "ek ppl",
        .usage = "-m MODEL -f FILE [OPTIONS]",
        .about = "Perplexity of a text: how surprised the model is, per token. --ctx is 512 here "
                 "unless given.",
        .env   = "EK_"};
    const int status = args_parse(&c, list, sizeof list / sizeof *list, argc, argv);
    if (status != ARGS_GO) return status;
    const char *wrong = !a->file             ? "no text: -f FILE"
                        : a->save && a->base ? "--kl-base-save and --kl-base exclude each other"
                                             : NULL;
    if (wrong) fprintf(stderr, "ek ppl: %s\n", wrong);
    if (!a->session.context) a->session.context = CONTEXT;
    if (!a->session.batch) a->session.batch = BATCH;
    return wrong ? EXIT_USAGE : ARGS_GO;
}

/* ---- the text ---- */

/* Does the tokenizer begin texts with BOS? */
static ek_status begins_with_bos(const struct tokenizer *t, int *yes, struct error *e)
{
    int32_t  *ids;
    size_t    count;
    ek_status s = tokenizer_encode(t, "", 0, TOKENIZE_BOS, &ids, &count, e);
    if (s) return s;
    *yes = count > 0 && ids[0] == tokenizer_bos(t);
    free(ids);
    return EK_OK;
}

/* Ids, windows, BOS rule and the header that goes with them. */
static ek_status encode(struct pass *p, const struct ppl_args *a, const struct tokenizer *t,
                        struct error *e)
{
    struct text text = {NULL, 0, 0};
    ek_status   s    = text_read(&text, a->file, e);
    if (!s) s = tokenizer_encode(t, text.data, text.bytes, TOKENIZE_BOS, &p->ids, &p->count, e);
    if (!s) s = begins_with_bos(t, &p->bos, e);
    text_drop(&text);
    if (s) return s;
    p->windows = window_count(&p->protocol, p->count);
    if (!p->windows)
        return fail(e, EK_E_ARG, "%s: %zu tokens, too few for --ctx %zu%s", a->file, p->count,
                    p->protocol.context, p->protocol.stride ? " and --stride" : "");
    if (a->chunks && a->chunks < p->windows) p->windows = a->chunks;
    p->header.positions = 0;
    for (size_t i = 0; i < p->windows; i++) {
        const struct window w = window_at(&p->protocol, p->count, i);
        if (p->bos && !p->protocol.stride) p->ids[w.begin] = tokenizer_bos(t);
        p->header.positions += w.end - w.from;
    }
    const size_t end = window_at(&p->protocol, p->count, p->windows - 1).end;
    for (size_t i = 0; i < end; i++)
        if (p->ids[i] < 0 || (size_t)p->ids[i] >= p->vocab)
            return fail(e, EK_E_FORMAT, "%s: token %d of the tokenizer is none of the model's %zu",
                        a->file, (int)p->ids[i], p->vocab);
    p->header.ids_hash = checksum64(CHECKSUM_START, p->ids, end * sizeof *p->ids);
    return EK_OK;
}

/* ---- scoring ---- */

static size_t scratch_stride(const struct kl_header *h)
{
    return h->top == h->vocab ? 1 : (size_t)h->top;
}

static void score_rows(void *task, size_t begin, size_t end)
{
    struct pass *p = task;
    for (size_t i = begin; i < end; i++) {
        const float  *row  = p->logits + i * p->vocab;
        const int32_t next = p->ids[p->first + i];
        if (p->base)
            kl_compare(p->base, p->done + i, row, next, &p->points[i]);
        else
            p->nll[i] = log_sum_exp(row, p->vocab) - (double)row[next];
        if (p->writer)
            kl_record(&p->header, row, next, p->done + i,
                      p->scratch + i * scratch_stride(&p->header),
                      p->records + i * kl_record_bytes(&p->header));
    }
}

/* Rows of logits that predict ids[first, first + n). */
static ek_status score(struct pass *p, size_t first, size_t n, struct error *e)
{
    ek_status s = EK_OK;
    p->first    = first;
    p->r->threads.pool.run(p->r->threads.pool.self, n, 1, score_rows, p);
    for (size_t i = 0; i < n; i++)
        if (isnan(p->base ? p->points[i].nll : p->nll[i]))
            return fail(e, EK_E_FORMAT, "the logits behind token %zu are no numbers", first + i);
    for (size_t i = 0; i < n && !s; i++)
        if (p->base)
            s = report_point(&p->report, &p->points[i], e);
        else
            likelihood_add(&p->report.mine, p->nll[i]);
    if (p->writer && !s) s = kl_append(p->writer, p->records, n, e);
    p->done += n;
    return s;
}

static ek_status run_window(struct pass *p, struct window w, struct error *e)
{
    struct session *session = p->r->session;
    const size_t    batch   = session_settings(session)->batch;
    ek_status       s       = session_truncate(session, 0);
    if (s) return fail(e, s, "the session cannot be emptied");
    if (w.from - 1 > w.begin)
        s = session_eval(session, p->ids + w.begin, w.from - 1 - w.begin, LOGITS_NONE, &p->logits,
                         e);
    for (size_t at = w.from; at < w.end && !s;) { /* token at is predicted by the one before */
        const size_t n = w.end - at < batch ? w.end - at : batch;
        s              = session_eval(session, p->ids + at - 1, n, LOGITS_ALL, &p->logits, e);
        if (!s) s = score(p, at, n, e);
        at += n;
    }
    return s;
}

static ek_status run_windows(struct pass *p, struct error *e)
{
    ek_status    s      = EK_OK;
    const size_t batch  = session_settings(p->r->session)->batch;
    const int    hidden = !isatty(STDOUT_FILENO); /* else the running values show how far it is */
    p->nll              = calloc(batch, sizeof *p->nll);
    p->points           = calloc(batch, sizeof *p->points);
    p->records          = p->writer ? calloc(batch, kl_record_bytes(&p->header)) : NULL;
    p->scratch = p->writer ? calloc(batch, scratch_stride(&p->header) * sizeof *p->scratch) : NULL;
    if (!p->nll || !p->points || (p->writer && (!p->records || !p->scratch)))
        s = fail(e, EK_E_NOMEM, "out of memory");
    if (!s && p->base) report_table_head();
    for (size_t i = 0; i < p->windows && !s; i++) {
        if (hidden) progress_show(NULL, "perplexity", i, p->windows);
        s = run_window(p, window_at(&p->protocol, p->count, i), e);
        if (!s) report_chunk(&p->report, i + 1, p->base != NULL);
    }
    progress_clear();
    free(p->nll), free(p->points), free(p->records), free(p->scratch);
    return s;
}

/* ---- the command ---- */

static void print_protocol(const struct pass *p)
{
    char how[96];
    if (p->protocol.stride)
        snprintf(how, sizeof how, "sliding windows, stride %zu, new tokens scored",
                 p->protocol.stride);
    else
        snprintf(how, sizeof how, "disjoint chunks, second halves scored");
    printf("ek ppl: %zu tokens, %zu chunks, n_ctx=%zu, batch %zu: %s; %llu tokens scored; %s\n",
           p->count, p->windows, p->protocol.context, session_settings(p->r->session)->batch, how,
           (unsigned long long)p->header.positions,
           !p->bos              ? "no BOS"
           : p->protocol.stride ? "BOS at the beginning of the text"
                                : "BOS at the beginning of each chunk");
    fflush(stdout);
}

static ek_status open_base(struct pass *p, const struct ppl_args *a, struct error *e)
{
    struct model_facts f;
    ek_status          s = EK_OK;
    model_facts(p->r->model, &f);
    p->header.vocab = p->vocab, p->header.context = p->protocol.context;
    p->header.stride = p->protocol.stride, p->header.model = f.checksum;
    snprintf(p->header.name, sizeof p->header.name, "%s", f.type);
    const size_t top  = a->top ? a->top : p->vocab <= KEEP_ALL_VOCAB ? p->vocab : TOP_DEFAULT;
    p->header.top     = top < p->vocab ? top : p->vocab;
    p->header.samples = p->header.top == p->vocab ? 0 : p->vocab < SAMPLES ? p->vocab : SAMPLES;
    if (a->save) s = kl_create(&p->writer, a->save, &p->header, e);
    if (a->base) s = kl_open(&p->base, a->base, e);
    if (a->base && !s) s = kl_check(p->base, &p->header, e);
    return s;
}

static ek_status write_results(const struct pass *p, const struct ppl_args *a, double seconds,
                               struct error *e)
{
    json_t *root = results_new("ppl", &p->r->topology, p->r->model);
    json_t *how  = json_pack(
         "{s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:s, s:I, s:f}", "protocol",
        p->protocol.stride ? "sliding" : "chunks", "n_ctx", (json_int_t)p->protocol.context,
         "stride", (json_int_t)p->protocol.stride, "chunks", (json_int_t)p->windows, "tokens",
         (json_int_t)p->count, "scored", (json_int_t)p->header.positions, "bos", p->bos, "type_kv",
         ek_fmt_info(kv_format(a->session.kv))->name, "file", a->file, "n_threads",
         (json_int_t)p->r->threads.count, "seconds", seconds);
    json_t *numbers = report_json(&p->report, p->base ? kl_header(p->base) : NULL);
    if (!root || !how || !numbers || json_object_update(how, numbers)) {
        json_decref(root), json_decref(how), json_decref(numbers);
        return fail(e, EK_E_NOMEM, "%s: results: out of memory", a->out);
    }
    json_decref(numbers);
    json_object_set_new(root, "results", how);
    return results_write(root, a->out, e);
}

static int run(struct pass *p, const struct ppl_args *a)
{
    struct error            e;
    const struct tokenizer *t = model_tokenizer(p->r->model, &e);
    p->protocol = (struct protocol){.context = a->session.context, .stride = a->stride};
    p->vocab    = model_config(p->r->model)->vocab;
    if (!t || encode(p, a, t, &e) || open_base(p, a, &e)) return runner_fail(p->r, &e);
    const int bad = runner_open_session(p->r, &a->session);
    if (bad) return bad;
    print_protocol(p);
    const double start = seconds_now();
    ek_status    s     = run_windows(p, &e);
    if (p->writer && !s) {
        s         = kl_finish(p->writer, 1, &e);
        p->writer = NULL;
    }
    const double seconds = seconds_now() - start;
    if (!s && a->session.verbose)
        fprintf(stderr, "%.1f s, %.1f tokens/s\n", seconds,
                (double)(p->windows * p->protocol.context) / seconds);
    if (!s && a->out) s = write_results(p, a, seconds, &e);
    if (s) return runner_fail(p->r, &e);
    report_final(&p->report, p->base ? kl_header(p->base) : NULL);
    return ferror(stdout) ? EXIT_RUN : EXIT_OK;
}

int cmd_ppl(int argc, char **argv)
{
    struct ppl_args a = {.stride = 0};
    struct runner   r;
    struct pass     p      = {.r = &r};
    int             status = parse(&a, argc, argv);
    if (status != ARGS_GO) return status;
    status = runner_open_model(&r, "ek ppl", &a.session);
    if (!status) status = run(&p, &a);
    if (p.writer) kl_finish(p.writer, 0, NULL);
    kl_close(p.base);
    report_drop(&p.report);
    free(p.ids);
    runner_close(&r);
    return status;
}
