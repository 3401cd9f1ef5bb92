/* SPDX-License-Identifier: Apache-2.0 */
/* tools/evaluate.c - reading and cutting the text, running the windows, scoring their logits. */
#include "tools/evaluate.h"

#include "model/source.h"
#include "model/topk.h"
#include "tools/ek.h"
#include "tools/progress.h"
#include "tools/text.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TOP_DEFAULT = 128, SAMPLES = 64, KEEP_ALL_VOCAB = 4096 };

int evaluation_parse(struct evaluation_args *a, const struct arg_command *c, const struct arg *list,
                     size_t count, int argc, char **argv)
{
    enum { CONTEXT = 512, BATCH = 256 };
    const int status = args_parse(c, list, count, argc, argv);
    if (status != ARGS_GO) return status;
    if (!a->file) fprintf(stderr, "%s: no text: -f FILE\n", c->name);
    if (!a->session.context) a->session.context = CONTEXT;
    if (!a->session.batch) a->session.batch = a->session.sparse ? 1 : BATCH; /* as decoding is */
    return a->file ? ARGS_GO : EXIT_USAGE;
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
static ek_status encode(struct evaluation *p, const char *file, size_t chunks,
                        const struct tokenizer *t, struct error *e)
{
    struct text text = {NULL, 0, 0};
    ek_status   s    = text_read(&text, file, e);
    if (!s) s = tokenizer_encode(t, text.data, text.bytes, TOKENIZE_BOS, &p->ids, &p->count, e);
    if (!s) s = begins_with_bos(t, &p->bos, e);
    text_drop(&text);
    if (s) return s;
    p->windows = window_count(&p->protocol, p->count);
    if (!p->windows)
        return fail(e, EK_E_ARG, "%s: %zu tokens, too few for --ctx %zu%s", file, p->count,
                    p->protocol.context, p->protocol.stride ? " and --stride" : "");
    if (chunks && chunks < p->windows) p->windows = chunks;
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
                        file, (int)p->ids[i], p->vocab);
    p->header.ids_hash = checksum64(CHECKSUM_START, p->ids, end * sizeof *p->ids);
    return EK_OK;
}

static void describe(struct evaluation *p, size_t top)
{
    struct model_facts f;
    struct kl_header  *h = &p->header;
    model_facts(p->runner->model, &f);
    h->vocab = p->vocab, h->context = p->protocol.context, h->stride = p->protocol.stride;
    h->model = f.checksum;
    snprintf(h->name, sizeof h->name, "%s", f.type);
    if (!top) top = p->vocab <= KEEP_ALL_VOCAB ? p->vocab : TOP_DEFAULT;
    h->top     = top < p->vocab ? top : p->vocab;
    h->samples = h->top == p->vocab ? 0 : p->vocab < SAMPLES ? p->vocab : SAMPLES;
}

ek_status evaluation_open(struct evaluation *p, struct runner *r, const char *file, size_t chunks,
                          size_t top, struct error *e)
{
    const struct tokenizer *t = model_tokenizer(r->model, e);
    if (!t) return EK_E_FORMAT;
    p->runner = r, p->vocab = model_config(r->model)->vocab;
    const ek_status s = encode(p, file, chunks, t, e);
    if (!s) describe(p, top);
    return s;
}

void evaluation_drop(struct evaluation *p)
{
    if (p->writer) kl_finish(p->writer, 0, NULL);
    kl_close(p->base);
    report_drop(&p->report);
    free(p->ids);
}

/* ---- scoring ---- */

static size_t scratch_stride(const struct kl_header *h)
{
    return h->top == h->vocab ? 1 : (size_t)h->top;
}

static void score_rows(void *task, size_t begin, size_t end)
{
    struct evaluation *p = task;
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
static ek_status score(struct evaluation *p, size_t first, size_t n, struct error *e)
{
    ek_status s = EK_OK;
    p->first    = first;
    p->runner->threads.pool.run(p->runner->threads.pool.self, n, 1, score_rows, p);
    for (size_t i = 0; i < n; i++)
        if (isnan(p->base ? p->points[i].nll : p->nll[i]))
            return fail(e, EK_E_FORMAT, "the logits behind token %zu are no numbers", first + i);
    for (size_t i = 0; i < n && !s; i++)
        if (p->base)
            s = report_point(&p->report, &p->points[i], e);
        else
            report_nll(&p->report, p->nll[i]);
    if (p->writer && !s) s = kl_append(p->writer, p->records, n, e);
    p->done += n;
    return s;
}

static ek_status run_window(struct evaluation *p, struct window w, struct error *e)
{
    struct session *session = p->runner->session;
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

ek_status evaluation_run(struct evaluation *p, evaluated_fn *after, struct error *e)
{
    ek_status    s     = EK_OK;
    const size_t batch = session_settings(p->runner->session)->batch;
    p->done            = 0;
    p->nll             = calloc(batch, sizeof *p->nll);
    p->points          = calloc(batch, sizeof *p->points);
    p->records         = p->writer ? calloc(batch, kl_record_bytes(&p->header)) : NULL;
    p->scratch = p->writer ? calloc(batch, scratch_stride(&p->header) * sizeof *p->scratch) : NULL;
    if (!p->nll || !p->points || (p->writer && (!p->records || !p->scratch)))
        s = fail(e, EK_E_NOMEM, "out of memory");
    report_drop(&p->report);
    for (size_t i = 0; i < p->windows && !s; i++) {
        if (p->label) progress_show(NULL, p->label, i, p->windows);
        s = run_window(p, window_at(&p->protocol, p->count, i), e);
        if (!s && after) after(p, i + 1);
    }
    if (p->label) progress_clear();
    free(p->nll), free(p->points), free(p->records), free(p->scratch);
    if (p->writer && !s) {
        s         = kl_finish(p->writer, 1, e);
        p->writer = NULL;
    }
    return s;
}

ek_status evaluation_run_base(struct evaluation *p, const char *beside, struct error *e)
{
    char      path[4096];
    const int n = snprintf(path, sizeof path, "%s.base.XXXXXX", beside);
    if (n < 0 || (size_t)n >= sizeof path) return fail(e, EK_E_ARG, "%s: name too long", beside);
    const int fd = mkstemp(path);
    if (fd < 0) return fail(e, EK_E_IO, "%s: %s", path, strerror(errno));
    close(fd);
    ek_status s = kl_create(&p->writer, path, &p->header, e);
    if (!s) s = evaluation_run(p, NULL, e);
    if (!s) s = kl_open(&p->base, path, e);
    unlink(path);
    return s;
}
