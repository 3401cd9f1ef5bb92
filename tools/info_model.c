/* SPDX-License-Identifier: Apache-2.0 */
/* tools/info_model.c - ek info -m: config and tensors of a model, their formats and checksums. */
#include "tools/info_model.h"

#include "model/model.h"
#include "model/source.h"
#include "tools/ek.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const kinds[] = {"Hugging Face directory", "edgekern directory", "GGUF file",
                                    "llama2.c file"};

/* One tensor as it is stored and as it is used. */
struct row {
    const struct tensor *t;
    const char          *stored, *used; /* "Q6_K", "q8g32" */
    int                  exact;
    uint64_t             params;
    double               bits;     /* per weight, as stored */
    uint64_t             checksum; /* 0: not known */
    int                  broken;   /* --verify found another checksum */
};

/* --ctx: what a session takes. */
struct memory {
    size_t      context;
    enum ek_fmt kv;
    uint64_t    cache, work;
};

static struct row row_of(const struct tensor *t, int verify)
{
    struct row        r   = {.t = t, .checksum = t->checksum};
    const enum ek_fmt fmt = tensor_format(t, &r.exact);
    r.used                = ek_fmt_info(fmt)->name;
    r.stored = t->type == TENSOR_PACKED ? ek_fmt_info(t->fmt)->name : tensor_type_name(t->type);
    r.params = (t->type == TENSOR_NEURONS ? 2 : 1) * (uint64_t)t->n * t->k;
    r.bits   = 8 * (double)t->bytes / (double)r.params;
    if (!verify) return r;
    r.checksum = checksum64(CHECKSUM_START, t->data, t->bytes);
    r.broken   = t->checksum && r.checksum != t->checksum;
    return r;
}

struct totals {
    uint64_t params, bytes;
    size_t   rounded, broken;
};

static void add(struct totals *sum, const struct row *r)
{
    sum->params += r->params;
    sum->bytes += r->t->bytes;
    sum->rounded += !r->exact;
    sum->broken += (size_t)r->broken;
}

/* ---- text ---- */

static void print_rope(const struct config *c)
{
    static const char *const names[] = {"plain", "linear", "llama3", "yarn"};
    printf("rope       theta %g, %s", c->rope.theta, names[c->rope.scaling]);
    if (c->rope.scaling != EK_ROPE_PLAIN) printf(" by %g", c->rope.factor);
    if (c->rope.original_context > 0) printf(" from %g tokens", c->rope.original_context);
    puts(c->rope_interleaved ? ", pairs side by side" : "");
}

static void print_config(const struct source *s)
{
    const struct config *c = &s->config;
    printf("model      %s: %s, %.1f MiB\n", s->path, kinds[s->kind], (double)s->bytes / (1 << 20));
    printf(
        "config     %s: %zu layers, hidden %zu, MLP %zu, heads %zu/%zu x %zu, vocabulary %zu%s\n",
        c->arch, c->layers, c->hidden, c->ffn, c->heads, c->kv_heads, c->head_dim, c->vocab,
        c->tied ? ", tied" : "");
    printf("context    %zu tokens", c->context);
    if (c->window)
        printf(", layers %zu to %zu see %zu", c->window_from, c->window_to - 1, c->window);
    putchar('\n');
    print_rope(c);
}

static void print_row(const struct row *r)
{
    char        format[48], shape[48], sum[24] = "-";
    const int   packed  = r->t->type == TENSOR_PACKED || r->t->type < TENSOR_Q8_0;
    const char *becomes = r->t->type == TENSOR_NEURONS ? ", " : " -> ";
    snprintf(format, sizeof format, "%s%s%s%s", r->stored, packed ? "" : becomes,
             packed ? "" : r->used, r->exact ? "" : " (rounded)");
    snprintf(shape, sizeof shape, "%zu x %zu", r->t->n, r->t->k);
    if (r->checksum) snprintf(sum, sizeof sum, "%016" PRIx64, r->checksum);
    printf("  %-46s %-24s %15s %7.3f %12zu  %s%s\n", r->t->name, format, shape, r->bits,
           r->t->bytes, sum, r->broken ? "  DIFFERS" : "");
}

static void print_text(const struct source *s, int verify, const struct memory *m,
                       struct totals *sum)
{
    print_config(s);
    printf("\n  %-46s %-24s %15s %7s %12s  %s\n", "tensor", "format", "rows x columns", "bits",
           "bytes", "checksum");
    for (size_t i = 0; i < s->count; i++) {
        const struct row r = row_of(&s->tensors[i], verify);
        add(sum, &r);
        print_row(&r);
    }
    printf("\ntotal      %zu tensors, %.1f M weights, %.1f MiB, %.3f bits per weight\n", s->count,
           (double)sum->params / 1e6, (double)sum->bytes / (1 << 20),
           8 * (double)sum->bytes / (double)sum->params);
    if (sum->rounded)
        printf("rounded    %zu tensors are of types without a format here: they are rounded to 8 "
               "bit\n",
               sum->rounded);
    if (m->context)
        printf("memory     %zu tokens in %s: cache %" PRIu64 " bytes, buffers %" PRIu64 " bytes\n",
               m->context, ek_fmt_info(m->kv)->name, m->cache, m->work);
    if (verify && s->kind == SOURCE_EK)
        printf("verify     %zu of %zu checksums agree\n", s->count - sum->broken, s->count);
}

/* ---- JSON ---- */

static json_t *row_json(const struct row *r)
{
    char sum[24];
    snprintf(sum, sizeof sum, "%016" PRIx64, r->checksum);
    return json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:f, s:I, s:o, s:b}", "name", r->t->name,
                     "stored", r->stored, "format", r->used, "exact", r->exact, "rows",
                     (json_int_t)r->t->n, "columns", (json_int_t)r->t->k, "bits_per_weight",
                     r->bits, "bytes", (json_int_t)r->t->bytes, "checksum",
                     r->checksum ? json_string(sum) : json_null(), "broken", r->broken);
}

static int print_json(const struct source *s, int verify, const struct memory *m,
                      struct totals *sum)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->count; i++) {
        const struct row r = row_of(&s->tensors[i], verify);
        add(sum, &r);
        json_array_append_new(list, row_json(&r));
    }
    char   *text   = config_write(&s->config);
    json_t *config = text ? json_loads(text, 0, NULL) : NULL;
    json_t *root =
        json_pack("{s:s, s:s, s:I, s:o, s:I, s:I, s:o}", "path", s->path, "kind", kinds[s->kind],
                  "file_bytes", (json_int_t)s->bytes, "config", config, "params",
                  (json_int_t)sum->params, "bytes", (json_int_t)sum->bytes, "tensors", list);
    if (root && m->context)
        json_object_set_new(root, "memory",
                            json_pack("{s:I, s:s, s:I, s:I}", "context", (json_int_t)m->context,
                                      "kv", ek_fmt_info(m->kv)->name, "kv_bytes",
                                      (json_int_t)m->cache, "work_bytes", (json_int_t)m->work));
    const int bad = !root || json_dumpf(root, stdout, JSON_INDENT(2));
    if (!bad) putchar('\n');
    json_decref(root);
    free(text);
    return bad;
}

/* What a session will allocate, as the session itself reckons it. */
static ek_status predict(const struct info_model_options *o, struct memory *m, struct error *e)
{
    struct model *model;
    ek_status     bad = model_open(&model, o->path, NULL, e);
    if (bad) return bad;
    const struct session_options so = {.kv = o->kv, .context = o->context};
    bad                             = session_bytes(model, &so, &m->cache, &m->work, e);
    model_close(model);
    return bad;
}

int info_model(const struct info_model_options *o)
{
    struct source *s;
    struct error   e;
    struct totals  sum    = {0};
    struct memory  memory = {o->context, o->kv, 0, 0};
    if (source_open(&s, o->path, &e)) {
        fprintf(stderr, "ek info: %s\n", e.text);
        return EXIT_RUN;
    }
    if (o->context && predict(o, &memory, &e)) {
        fprintf(stderr, "ek info: %s\n", e.text);
        source_close(s);
        return EXIT_RUN;
    }
    int bad = 0;
    if (o->json)
        bad = print_json(s, o->verify, &memory, &sum);
    else
        print_text(s, o->verify, &memory, &sum);
    for (size_t i = 0; i < s->count && sum.broken; i++) {
        const struct row r = row_of(&s->tensors[i], 1);
        if (!r.broken) continue;
        fprintf(stderr, "ek info: %s: tensor %s: its bytes do not have the checksum stored\n",
                r.t->file, r.t->name);
        break;
    }
    source_close(s);
    return bad || sum.broken ? EXIT_RUN : EXIT_OK;
}
