/* SPDX-License-Identifier: Apache-2.0 */
/* model/convert.c - writes a source as our own directory, a few megabytes at a time. */
#include "model/convert.h"

#include "model/container_inner.h"
#include "model/file.h"
#include "model/gguf.h"
#include "model/jobs.h"
#include "model/neurons.h"
#include "model/written.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_WEIGHTS = 8 << 20, PATH_LIMIT = 4096, FILE_LIMIT = 256 << 20 };

ek_status convert_type_from_name(const char *name, int *type)
{
    static const struct {
        const char *name;
        int         type;
    } known[] = {{"q8", EK_FMT_q8g32},     {"q4", EK_FMT_q4g32},       {"q4:g32", EK_FMT_q4g32},
                 {"q4:g64", EK_FMT_q4g64}, {"q4:g128", EK_FMT_q4g128}, {"q8:g32", EK_FMT_q8g32},
                 {"same", CONVERT_SAME}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].name)) {
            *type = known[i].type;
            return EK_OK;
        }
    enum ek_fmt fmt;
    if (ek_fmt_from_name(name, &fmt)) return EK_E_ARG;
    *type = (int)fmt;
    return EK_OK;
}

/* ---- weights ---- */

struct writer {
    struct container             *out;
    const struct convert_options *o;
    uint64_t                      done, total; /* bytes of all tensors */
    struct error                 *e;
};

static void report(const struct writer *w, const char *what)
{
    if (w->o->progress) w->o->progress(w->o->progress_self, what, w->done, w->total);
}

static ek_status put(struct writer *w, size_t i, const void *data, size_t bytes)
{
    const ek_status bad = container_put(w->out, i, data, bytes, w->e);
    w->done += bytes;
    report(w, "convert");
    return bad;
}

/* Norms and biases: parts one behind the other, in one piece. */
static ek_status put_vector(struct writer *w, const struct job *j, size_t i, size_t bytes)
{
    float    *x   = malloc(j->k * sizeof *x);
    void     *out = malloc(bytes);
    ek_status bad = x && out ? EK_OK : fail(w->e, EK_E_NOMEM, "%s: out of memory", j->name);
    size_t    at  = 0;
    for (size_t p = 0; p < j->parts && !bad; at += j->from[p++]->k)
        bad = tensor_floats(j->from[p], 0, 1, x + at, w->e);
    if (!bad && ek_weights_quantize(j->fmt, x, 1, j->k, out, bytes))
        bad = fail(w->e, EK_E_FORMAT, "%s: tensor %s: not finite, or too large for %s",
                   j->from[0]->file, j->from[0]->name, ek_fmt_info(j->fmt)->name);
    if (!bad) bad = put(w, i, out, bytes);
    free(x);
    free(out);
    return bad;
}

static ek_status put_rows(struct writer *w, const struct job *j, size_t i, const struct tensor *t)
{
    const size_t panels = CHUNK_WEIGHTS / t->k / EK_PANEL_ROWS;
    const size_t step   = (panels ? panels : 1) * EK_PANEL_ROWS;
    size_t       bytes;
    ek_status    bad = ek_weights_bytes(j->fmt, step < t->n ? step : t->n, t->k, &bytes, NULL);
    void        *out = bad ? NULL : aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!out) return fail(w->e, EK_E_NOMEM, "%s: out of memory", j->name);
    for (size_t r = 0; r < t->n && !bad; r += step) {
        const struct tensor piece = tensor_rows(t, r, r + step < t->n ? r + step : t->n);
        bad                       = ek_weights_bytes(j->fmt, piece.n, piece.k, &bytes, NULL);
        if (!bad) bad = tensor_pack_all(&piece, j->fmt, w->o->pool, out, w->e);
        if (!bad) bad = put(w, i, out, bytes);
    }
    free(out);
    return bad;
}

static ek_status tensor_rows_read(const void *tensor, size_t row0, size_t row1, float *out)
{
    return tensor_floats(tensor, row0, row1, out, NULL);
}

/* A layer at a time: its down matrix as floats, and what it becomes. */
static ek_status put_neurons(struct writer *w, const struct job *j, size_t i, size_t bytes)
{
    const struct rows_reader up   = {tensor_rows_read, j->from[0], j->first[0]};
    const struct rows_reader down = {tensor_rows_read, j->from[1], j->first[1]};
    void                    *out  = aligned_alloc(64, bytes);
    struct ek_neurons        to   = {j->fmt, j->n, j->k, CONTAINER_NEURON_ROWS, out};
    if (!out) return fail(w->e, EK_E_NOMEM, "%s: out of memory", j->name);
    ek_status bad = neurons_pack(&to, out, &up, &down, w->o->pool);
    if (bad == EK_E_FORMAT)
        bad = fail(w->e, bad, "%s: tensors %s, %s: not finite, or too large for %s",
                   j->from[0]->file, j->from[0]->name, j->from[1]->name, ek_fmt_info(j->fmt)->name);
    else if (bad)
        bad = fail(w->e, bad, "%s: %s", j->name, ek_status_text(bad));
    if (!bad) bad = put(w, i, out, bytes);
    free(out);
    return bad;
}

static ek_status put_job(struct writer *w, const struct job *j, size_t i, size_t bytes)
{
    if (j->role == PART_NORM || j->role == PART_BIAS) return put_vector(w, j, i, bytes);
    if (j->role == PART_NEURONS) return put_neurons(w, j, i, bytes);
    ek_status bad = EK_OK;
    for (size_t p = 0; p < j->parts && !bad; p++) {
        const struct tensor part = tensor_rows(j->from[p], j->first[p], j->first[p] + j->rows[p]);
        bad                      = put_rows(w, j, i, &part);
    }
    return bad;
}

/* ---- the tokenizer ---- */

/* Copies a file of the source directory as it is, where there is one. */
static ek_status copy_file(struct container *out, const char *from, const char *name,
                           struct error *e)
{
    char      path[PATH_LIMIT];
    char     *data;
    size_t    bytes;
    ek_status bad = path_join(path, sizeof path, from, name, e);
    if (bad || !file_exists(path)) return bad;
    bad = file_read(path, FILE_LIMIT, &data, &bytes, e);
    if (bad) return bad;
    bad = container_file(out, name, data, bytes, e);
    free(data);
    return bad;
}

static ek_status copy_tokenizer(struct container *out, const char *from, struct error *e)
{
    static const char *const names[] = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "tokenizer.model",
                                        "chat_template.jinja",
                                        "encoder.json",
                                        "vocab.bpe"};
    ek_status                bad     = EK_OK;
    for (size_t i = 0; i < sizeof names / sizeof *names && !bad; i++)
        bad = copy_file(out, from, names[i], e);
    return bad;
}

ek_status written_tokenizer(struct container *out, const struct tokenizer *t, struct error *e)
{
    size_t    bytes, config_bytes;
    char     *text   = tokenizer_write_json(t, &bytes);
    char     *config = tokenizer_write_config(t, &config_bytes);
    ek_status bad    = text && config ? EK_OK : fail(e, EK_E_NOMEM, "tokenizer: out of memory");
    if (!bad) bad = container_file(out, "tokenizer.json", text, bytes, e);
    if (!bad) bad = container_file(out, "tokenizer_config.json", config, config_bytes, e);
    free(text);
    free(config);
    return bad;
}

/* llama2.c keeps the tokenizer in a file of its own; these are the names it goes by. */
static ek_status find_beside(const struct source *s, char path[PATH_LIMIT], struct error *e)
{
    static const char *const names[] = {"tokenizer.json", "tokenizer.model", "tokenizer.bin"};
    char                     dir[PATH_LIMIT], own[2][32];
    const char              *slash = strrchr(s->path, '/');
    snprintf(own[0], sizeof own[0], "tok%zu.model", s->config.vocab);
    snprintf(own[1], sizeof own[1], "tok%zu.bin", s->config.vocab);
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - s->path) : 1, slash ? s->path : ".");
    for (size_t i = 0; i < 5; i++)
        if (!path_join(path, PATH_LIMIT, dir, i < 2 ? own[i] : names[i - 2], NULL) &&
            file_exists(path))
            return EK_OK;
    return fail(e, EK_E_IO, "%s: no tokenizer beside it; --tokenizer names one", s->path);
}

static ek_status put_tokenizer(struct container *out, const struct source *s, const char *given,
                               struct error *e)
{
    char              path[PATH_LIMIT];
    struct tokenizer *t   = NULL;
    ek_status         bad = EK_OK;
    if (!given && (s->kind == SOURCE_HF || s->kind == SOURCE_EK))
        return copy_tokenizer(out, s->path, e);
    if (!given && s->kind == SOURCE_GGUF) {
        if (!gguf_find(s->gguf, "tokenizer.ggml.model")) return EK_OK;
        bad = tokenizer_from_gguf(&t, s->gguf, s->path, e);
    } else {
        if (!given) bad = find_beside(s, path, e);
        if (!bad) bad = tokenizer_open(&t, given ? given : path, e);
    }
    if (!bad) bad = written_tokenizer(out, t, e);
    if (t) tokenizer_close(t);
    return bad;
}

/* ---- the whole ---- */

ek_status written_config(struct container *out, const struct config *c, struct error *e)
{
    char     *text       = config_write(c);
    char     *generation = config_write_generation(c);
    ek_status bad        = text && generation ? EK_OK : fail(e, EK_E_NOMEM, "out of memory");
    if (!bad) bad = container_file(out, "config.json", text, strlen(text), e);
    if (!bad)
        bad = container_file(out, "generation_config.json", generation, strlen(generation), e);
    free(text);
    free(generation);
    return bad;
}

struct container_tensor *written_tensors(const struct job_list *p, uint64_t *total)
{
    struct container_tensor *t = calloc(p->count + 1, sizeof *t);
    *total                     = 0;
    for (size_t i = 0; t && i < p->count; i++) {
        const struct job *j = &p->jobs[i];
        t[i] = (struct container_tensor){.name = j->name, .fmt = j->fmt, .n = j->n, .k = j->k};
        t[i].vector  = j->role == PART_NORM || j->role == PART_BIAS;
        t[i].neurons = j->role == PART_NEURONS;
        if (!container_measure(&t[i])) *total += t[i].bytes;
    }
    return t;
}

const struct job *written_job(const struct job_list *p, const struct container_tensor *t)
{
    for (size_t i = 0; i < p->count; i++)
        if (t->name == p->jobs[i].name) return &p->jobs[i];
    return NULL;
}

static ek_status write_all(const struct job_list *p, const struct source *s, const char *dst,
                           const struct convert_options *o, struct error *e)
{
    struct writer            w       = {.o = o, .e = e};
    struct container_tensor *tensors = written_tensors(p, &w.total);
    ek_status bad = tensors ? EK_OK : fail(e, EK_E_NOMEM, "%s: out of memory", s->path);
    if (!bad) bad = container_begin(&w.out, dst, o->force, tensors, p->count, e);
    if (!bad) bad = written_config(w.out, &p->config, e);
    if (!bad) bad = put_tokenizer(w.out, s, o->tokenizer, e);
    for (size_t i = 0; i < p->count && !bad; i++)
        bad = put_job(&w, written_job(p, &tensors[i]), i, tensors[i].bytes);
    if (!bad) bad = container_end(w.out, e);
    w.done = w.total;
    report(&w, "convert");
    container_close(w.out);
    free(tensors);
    return bad;
}

ek_status convert(const char *src, const char *dst, const struct convert_options *o,
                  struct error *e)
{
    struct source  *s   = NULL;
    struct job_list p   = {.jobs = NULL};
    ek_status       bad = source_open(&s, src, e);
    for (size_t i = 0; !bad && i < s->count; i++)
        if (s->tensors[i].type == TENSOR_NEURONS)
            bad =
                fail(e, EK_E_UNSUPPORTED, "%s: holds neurons; convert what it was made from", src);
    if (!bad) bad = jobs_plan(&p, &s->config, s, o, e);
    if (!bad) bad = write_all(&p, s, dst, o, e);
    jobs_free(&p);
    source_close(s);
    return bad;
}
