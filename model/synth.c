/* SPDX-License-Identifier: Apache-2.0 */
/* model/synth.c - writes models of random weights. */
#include "model/synth.h"

#include "ek/sparse.h"
#include "model/container_inner.h"
#include "model/random.h"
#include "model/written.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- presets: the config.json of the published models ---- */

static const struct preset {
    const char *name, *arch;
    size_t      layers, hidden, heads, kv_heads, head_dim, ffn, vocab, context;
    double      theta, factor; /* factor: of Llama 3's rope scaling, 0: none */
    int         tied;
} presets[] = {
    {"llama-3.2-1b", "llama", 16, 2048, 32, 8, 64, 8192, 128256, 131072, 500000, 32, 1},
    {"llama-3.2-3b", "llama", 28, 3072, 24, 8, 128, 8192, 128256, 131072, 500000, 32, 1},
    {"llama-3.1-8b", "llama", 32, 4096, 32, 8, 128, 14336, 128256, 131072, 500000, 8, 0},
    {"qwen2.5-0.5b", "qwen2", 24, 896, 14, 2, 64, 4864, 151936, 32768, 1000000, 0, 1},
    {"qwen2.5-1.5b", "qwen2", 28, 1536, 12, 2, 128, 8960, 151936, 32768, 1000000, 0, 1},
    {"qwen2.5-3b", "qwen2", 36, 2048, 16, 2, 128, 11008, 151936, 32768, 1000000, 0, 1},
    {"qwen2.5-7b", "qwen2", 28, 3584, 28, 4, 128, 18944, 152064, 32768, 1000000, 0, 0},
    {"qwen2.5-14b", "qwen2", 48, 5120, 40, 8, 128, 13824, 152064, 32768, 1000000, 0, 0},
    {"qwen3-0.6b", "qwen3", 28, 1024, 16, 8, 128, 3072, 151936, 40960, 1000000, 0, 1},
    {"qwen3-4b", "qwen3", 36, 2560, 32, 8, 128, 9728, 151936, 40960, 1000000, 0, 1},
};
enum { PRESETS = sizeof presets / sizeof *presets };

const char *synth_preset(size_t i)
{
    return i < PRESETS ? presets[i].name : NULL;
}

static void fill_config(const struct preset *p, struct config *c)
{
    const int llama = !strcmp(p->arch, "llama");
    config_defaults(c);
    snprintf(c->arch, sizeof c->arch, "%s", p->arch);
    c->layers = p->layers, c->hidden = p->hidden, c->heads = p->heads, c->kv_heads = p->kv_heads;
    c->head_dim = c->rot = p->head_dim;
    c->ffn = p->ffn, c->vocab = p->vocab, c->context = p->context, c->tied = p->tied;
    c->rope.theta = p->theta;
    c->rms_eps    = llama ? 1e-5F : 1e-6F;
    c->qkv_bias   = !strcmp(p->arch, "qwen2");
    c->qk_norm    = !strcmp(p->arch, "qwen3");
    c->bos        = llama ? 128000 : 151643;
    c->eos[0]     = llama ? 128001 : 151645;
    c->eos_count  = 1;
    if (p->factor == 0) return;
    c->rope.scaling          = EK_ROPE_LLAMA3;
    c->rope.factor           = p->factor;
    c->rope.original_context = 8192, c->rope.low_freq = 1, c->rope.high_freq = 4;
}

ek_status synth_config(const char *preset, struct config *c, struct error *e)
{
    char   known[256] = "";
    size_t used       = 0;
    for (size_t i = 0; i < PRESETS; i++) {
        if (!strcmp(preset, presets[i].name)) {
            fill_config(&presets[i], c);
            return EK_OK;
        }
        used += (size_t)snprintf(known + used, sizeof known - used, " %s", presets[i].name);
    }
    return fail(e, EK_E_ARG, "%s: no such preset; known:%s", preset, known);
}

/* ---- random numbers ---- */

/* About normal: the sum of four uniform numbers, to a standard deviation of 0.02. */
static float next_weight(uint64_t *state)
{
    const uint64_t r   = splitmix64(state);
    double         sum = -2;
    for (int i = 0; i < 4; i++) sum += (double)(r >> (16 * i) & 0xFFFF) / 65536;
    return (float)(sum * sqrt(3) * 0.02);
}

/* ---- filling ---- */

/* Panels of one matrix. Packed: the template panel, whose scales belong to such weights, with
 * random codes. Floats: rows that repeat a table from a random place on. */
struct fill {
    const struct job *job;
    unsigned char    *out;
    const void       *model; /* the template panel, or the table */
    size_t            panel_bytes, first_panel;
    uint64_t          seed;
};

enum { TABLE = 1 << 16 }; /* floats in the table */

static void fill_packed(const struct fill *f, unsigned char *out, uint64_t *state)
{
    const struct ek_fmt_info *i     = ek_fmt_info(f->job->fmt);
    const size_t              block = i->head + 2 * (size_t)i->bits * i->block;
    memcpy(out, f->model, f->panel_bytes);
    for (size_t at = 0; at < f->panel_bytes; at += block) {
        const size_t end = at + block < f->panel_bytes ? at + block : f->panel_bytes;
        for (size_t c = at + i->head; c < end; c += sizeof(uint64_t)) {
            const uint64_t r = splitmix64(state);
            memcpy(out + c, &r, sizeof r);
        }
    }
}

static void fill_floats(const struct fill *f, unsigned char *out, size_t rows, uint64_t *state)
{
    const size_t element = ek_fmt_info(f->job->fmt)->bits / 8;
    for (size_t left = rows * f->job->k, n; left; left -= n, out += n * element) {
        const size_t from = splitmix64(state) % (TABLE / 2);
        n                 = left < TABLE / 2 ? left : TABLE / 2;
        memcpy(out, (const unsigned char *)f->model + from * element, n * element);
    }
}

static void fill_range(void *task, size_t begin, size_t end)
{
    const struct fill *f = task;
    for (size_t p = begin; p < end; p++) {
        uint64_t       state = f->seed + (f->first_panel + p) * UINT64_C(0xD1342543DE82EF95);
        unsigned char *out   = f->out + p * f->panel_bytes;
        const size_t   row   = (f->first_panel + p) * EK_PANEL_ROWS;
        const size_t   rows  = f->job->n - row < EK_PANEL_ROWS ? f->job->n - row : EK_PANEL_ROWS;
        if (ek_fmt_info(f->job->fmt)->layout == EK_LAYOUT_PANEL16)
            fill_packed(f, out, &state);
        else
            fill_floats(f, out, rows, &state);
    }
}

/* A row of a neuron with the scales of such weights, and none where it is padding. */
static ek_status make_row(const struct job *neurons, uint64_t seed, void **model)
{
    const size_t d = neurons->k;
    float       *x = malloc(d * sizeof *x);
    size_t       one;
    ek_status    bad = ek_neurons_bytes(neurons->fmt, 1, d, 1, &one, NULL);
    *model           = bad ? NULL : aligned_alloc(64, one);
    if (!bad && (!x || !*model)) bad = EK_E_NOMEM;
    for (size_t c = 0; c < d && !bad; c++) x[c] = next_weight(&seed);
    if (!bad) bad = ek_neurons_quantize(neurons->fmt, x, d, 1, 1, d, 1, 0, *model, one);
    free(x);
    return bad;
}

/* Neurons are filled as the matrix of the same bytes: a row is a panel where it is packed. */
static ek_status as_matrix(const struct job *neurons, struct job *j)
{
    const size_t width = ek_neuron_width(neurons->fmt, neurons->k);
    *j                 = *neurons;
    j->n               = neurons->n * CONTAINER_NEURON_ROWS;
    if (ek_fmt_info(neurons->fmt)->layout != EK_LAYOUT_PANEL16)
        return width == neurons->k ? EK_OK : EK_E_UNSUPPORTED;
    j->n *= EK_PANEL_ROWS, j->k = width / EK_PANEL_ROWS;
    return EK_OK;
}

/* The template panel of a packed format, or the table of floats. */
static ek_status make_model(const struct job *j, uint64_t seed, void **model)
{
    const int    packed = ek_fmt_info(j->fmt)->layout == EK_LAYOUT_PANEL16;
    const size_t n = packed ? EK_PANEL_ROWS : 1, k = packed ? j->k : TABLE;
    float       *x = malloc(n * k * sizeof *x);
    size_t       bytes;
    ek_status    bad = ek_weights_bytes(j->fmt, n, k, &bytes, NULL);
    *model           = bad ? NULL : aligned_alloc(64, (bytes + 63) / 64 * 64);
    for (size_t i = 0; x && i < n * k; i++) x[i] = next_weight(&seed);
    bad = x && *model ? ek_weights_quantize(j->fmt, x, n, k, *model, bytes) : EK_E_NOMEM;
    free(x);
    return bad;
}

struct synth {
    struct container             *out;
    const struct convert_options *o;
    uint64_t                      seed, done, total;
    struct error                 *e;
};

static ek_status put(struct synth *s, size_t i, const void *data, size_t bytes)
{
    const ek_status bad = container_put(s->out, i, data, bytes, s->e);
    s->done += bytes;
    if (s->o->progress) s->o->progress(s->o->progress_self, "synth", s->done, s->total);
    return bad;
}

static ek_status put_vector(struct synth *s, const struct job *j, size_t i, size_t bytes)
{
    uint64_t  state = s->seed + i;
    float    *x     = malloc(j->k * sizeof *x);
    void     *out   = malloc(bytes);
    ek_status bad   = x && out ? EK_OK : EK_E_NOMEM;
    for (size_t c = 0; c < j->k && !bad; c++) x[c] = j->role == PART_NORM ? 1 : next_weight(&state);
    if (!bad) bad = ek_weights_quantize(j->fmt, x, 1, j->k, out, bytes);
    bad = bad ? fail(s->e, bad, "%s: %s", j->name, ek_status_text(bad)) : put(s, i, out, bytes);
    free(x);
    free(out);
    return bad;
}

static ek_status put_matrix(struct synth *s, const struct job *job, size_t i, size_t all)
{
    enum { CHUNK = 16 << 20 };
    const int   neurons = job->role == PART_NEURONS;
    const int   packed  = ek_fmt_info(job->fmt)->layout == EK_LAYOUT_PANEL16;
    struct job  as = *job, *j = &as;
    struct fill f     = {.job = j, .seed = s->seed ^ (i + 1) * UINT64_C(0x2545F4914F6CDD1D)};
    void       *model = NULL;
    ek_status   bad   = neurons ? as_matrix(job, j) : EK_OK;
    if (!bad)
        bad = neurons && packed ? make_row(job, f.seed, &model) : make_model(j, f.seed, &model);
    if (!bad) bad = ek_weights_bytes(j->fmt, EK_PANEL_ROWS, j->k, &f.panel_bytes, NULL);
    const size_t panels = (j->n + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS;
    const size_t step   = f.panel_bytes && f.panel_bytes < CHUNK ? CHUNK / f.panel_bytes : 1;
    f.model             = model;
    f.out               = bad ? NULL : aligned_alloc(64, (step * f.panel_bytes + 63) / 64 * 64);
    if (!bad && !f.out) bad = EK_E_NOMEM;
    if (bad) bad = fail(s->e, bad, "%s: %s", j->name, ek_status_text(bad));
    for (; f.first_panel < panels && !bad; f.first_panel += step) {
        const size_t n = panels - f.first_panel < step ? panels - f.first_panel : step;
        ek_parallel(s->o->pool, n, 1, fill_range, &f);
        const size_t left = all - f.first_panel * f.panel_bytes; /* the last rows of a float one */
        bad               = put(s, i, f.out, n * f.panel_bytes < left ? n * f.panel_bytes : left);
    }
    free(f.out);
    free(model);
    return bad;
}

static ek_status put_tokenizer(struct container *out, const char *path, struct error *e)
{
    struct tokenizer *t;
    ek_status         bad = tokenizer_open(&t, path, e);
    if (bad) return bad;
    bad = written_tokenizer(out, t, e);
    tokenizer_close(t);
    return bad;
}

ek_status synth_write(const struct config *c, uint64_t seed, const char *dst,
                      const struct convert_options *o, struct error *e)
{
    struct job_list p;
    struct synth    s   = {.o = o, .seed = seed, .e = e};
    ek_status       bad = jobs_plan(&p, c, NULL, o, e);
    if (bad) return bad;
    struct container_tensor *tensors = written_tensors(&p, &s.total);
    if (!tensors) bad = fail(e, EK_E_NOMEM, "%s: out of memory", dst);
    if (!bad) bad = container_begin(&s.out, dst, o->force, tensors, p.count, e);
    if (!bad) bad = written_config(s.out, &p.config, e);
    if (!bad && o->tokenizer) bad = put_tokenizer(s.out, o->tokenizer, e);
    for (size_t i = 0; i < p.count && !bad; i++) {
        const struct job *j = written_job(&p, &tensors[i]);
        bad = j->role == PART_NORM || j->role == PART_BIAS ? put_vector(&s, j, i, tensors[i].bytes)
                                                           : put_matrix(&s, j, i, tensors[i].bytes);
    }
    if (!bad) bad = container_end(s.out, e);
    container_close(s.out);
    free(tensors);
    jobs_free(&p);
    return bad;
}
