/* SPDX-License-Identifier: Apache-2.0 */
/* model/router.c - runs a router; reads and writes its directory. */
#include "model/router.h"

#include "model/config.h"
#include "model/file.h"
#include "model/matrices.h"
#include "model/npy.h"
#include "model/router_inner.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { PATH_LIMIT = 4096, META_LIMIT = 1 << 16 };

/* ---- the directory ---- */

static ek_status read_mapped(struct router *r, const char *dir, const char *name, size_t size,
                             ek_status (*parse)(struct router *, const void *, size_t, size_t,
                                                const char *, struct error *),
                             struct error *e)
{
    char        path[PATH_LIMIT];
    struct file f;
    ek_status   s = path_join(path, sizeof path, dir, name, e);
    if (!s) s = file_map(&f, path, e);
    if (s) return s;
    s = parse(r, f.data ? (const void *)f.data : "", f.bytes, size, path, e);
    file_unmap(&f);
    return s;
}

static ek_status read_meta(struct router *r, const char *dir, size_t vocab, size_t hidden,
                           struct error *e)
{
    char      path[PATH_LIMIT], *text;
    size_t    bytes;
    ek_status s = path_join(path, sizeof path, dir, ROUTER_META, e);
    if (!s) s = file_read(path, META_LIMIT, &text, &bytes, e);
    if (s) return s;
    s = router_parse_meta(r, text, vocab, hidden, path, e);
    free(text);
    return s;
}

ek_status router_read(struct router *r, const char *dir, size_t vocab, size_t hidden,
                      struct error *e)
{
    *r          = (struct router){.act = EK_ACT_RELU};
    ek_status s = read_meta(r, dir, vocab, hidden, e);
    if (!s) s = read_mapped(r, dir, ROUTER_IDS, vocab, router_parse_ids, e);
    if (!s) s = read_mapped(r, dir, ROUTER_WEIGHTS, hidden, router_parse_weights, e);
    if (s) router_drop(r);
    return s;
}

void router_drop(struct router *r)
{
    for (size_t i = 0; i < ROUTER_LAYERS_MAX; i++) {
        free_const(r->layers[i].data);
        free_const(r->bias[i]);
    }
    free(r->common);
    *r = (struct router){.act = EK_ACT_RELU};
}

static ek_status write_meta(const struct router *r, const char *dir, size_t vocab,
                            const char *labels, struct error *e)
{
    char      path[PATH_LIMIT], text[1024];
    ek_status s = path_join(path, sizeof path, dir, ROUTER_META, e);
    const int n =
        snprintf(text, sizeof text,
                 "format: edgekern router\nversion: 1\ntap: %s\nhidden_size: %zu\nvocab_size: %zu\n"
                 "common_ids: %zu\nactivation: %s\nlabels: %s\nmodel_checksum: %016llx\n",
                 ROUTER_TAP, r->layers[0].k, vocab, r->common_count, config_act_name(r->act),
                 labels, (unsigned long long)r->checksum);
    return s ? s : file_write(path, text, (size_t)n, e);
}

ek_status router_write(const struct router *r, const char *dir, size_t vocab, const char *labels,
                       struct error *e)
{
    struct matrix list[2 * ROUTER_LAYERS_MAX];
    char          path[PATH_LIMIT];
    size_t        count = 0;
    if (mkdir(dir, 0755) && errno != EEXIST)
        return fail(e, EK_E_IO, "%s: %s", dir, strerror(errno));
    for (size_t i = 0; i < r->layer_count; i++) {
        const struct ek_weights *w = &r->layers[i];
        struct matrix           *m = &list[count++];
        *m = (struct matrix){.fmt = w->fmt, .dims = 2, .n = w->n, .k = w->k, .data = w->data};
        snprintf(m->name, sizeof m->name, "layers.%zu.weight", i);
        if (!r->bias[i]) continue;
        m  = &list[count++];
        *m = (struct matrix){.fmt = EK_FMT_f32, .dims = 1, .n = 1, .k = w->n, .data = r->bias[i]};
        snprintf(m->name, sizeof m->name, "layers.%zu.bias", i);
    }
    ek_status s = path_join(path, sizeof path, dir, ROUTER_WEIGHTS, e);
    if (!s) s = matrices_write(path, list, count, NULL, e);
    if (!s) s = path_join(path, sizeof path, dir, ROUTER_IDS, e);
    if (!s) s = npy_write_ids(path, r->common, r->common_count, e);
    return s ? s : write_meta(r, dir, vocab, labels, e);
}

/* ---- running ---- */

uint64_t router_bytes(const struct router *r)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < r->layer_count; i++) {
        const struct ek_weights *w     = &r->layers[i];
        size_t                   bytes = 0;
        (void)ek_weights_bytes(w->fmt, w->n, w->k, &bytes, NULL);
        sum += bytes + (r->bias[i] ? w->n * sizeof(float) : 0);
    }
    return sum;
}

static size_t whole_lines(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Outputs of one layer; two layers' take turns. */
static size_t outputs_bytes(const struct router *r, size_t m)
{
    size_t widest = 0;
    for (size_t i = 0; i < r->layer_count; i++)
        widest = r->layers[i].n > widest ? r->layers[i].n : widest;
    return whole_lines(m * widest * sizeof(float));
}

ek_status router_work_bytes(const struct router *r, size_t m, const ek_pool *pool, size_t *bytes)
{
    size_t most = 0;
    for (size_t i = 0; i < r->layer_count; i++) {
        size_t          linear;
        const ek_status s = ek_linear_work_bytes(&r->layers[i], m, pool, NULL, &linear);
        if (s) return s;
        most = linear > most ? linear : most;
    }
    *bytes = 2 * outputs_bytes(r, m) + whole_lines(most);
    return EK_OK;
}

static void finish(float *y, const float *bias, size_t m, size_t n)
{
    for (size_t i = 0; i < m && bias; i++)
        for (size_t c = 0; c < n; c++) y[i * n + c] += bias[c];
}

ek_status router_run(const struct ek_kernels *t, const ek_pool *pool, const struct router *r,
                     const float *x, size_t m, float *p_rare, void *work, size_t work_bytes)
{
    const size_t    outputs = outputs_bytes(r, m);
    size_t          need;
    const ek_status bad = router_work_bytes(r, m, pool, &need);
    if (bad || work_bytes < need) return bad ? bad : EK_E_NOMEM;
    for (size_t i = 0; i < r->layer_count; i++) {
        const struct ek_weights *w = &r->layers[i];
        float                   *y = (float *)(void *)((char *)work + (i % 2) * outputs);
        ek_status s = ek_linear(t, pool, w, x, w->k, m, y, w->n, NULL, (char *)work + 2 * outputs,
                                work_bytes - 2 * outputs);
        if (s) return s;
        finish(y, r->bias[i], m, w->n);
        if (i + 1 < r->layer_count) s = ek_act(t, NULL, r->act, y, NULL, y, m * w->n);
        if (s) return s;
        x = y;
    }
    for (size_t i = 0; i < m; i++) p_rare[i] = isnan(x[i]) ? 1 : 1 / (1 + expf(-x[i]));
    return EK_OK;
}
