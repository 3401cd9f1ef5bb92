/* SPDX-License-Identifier: Apache-2.0 */
/* model/net.c - a network's memory, its outputs and their loss. */
#include "model/net_inner.h"

#include "model/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening ---- */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Normal by Box and Muller. */
static float normal(uint64_t *state, double deviation)
{
    const double u = ((double)(splitmix64(state) >> 11) + 0.5) * 0x1p-53;
    const double v = ((double)(splitmix64(state) >> 11) + 0.5) * 0x1p-53;
    return (float)(deviation * sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v));
}

static ek_status grow_work(struct net *n, size_t rows, size_t cols, size_t m)
{
    static const float      none = 0;
    const struct ek_weights w    = net_rows(&none, rows, cols);
    size_t                  bytes;
    for (size_t i = 1; i <= m; i = i < EK_GEMV_MAX_M ? i + 1 : i < m ? m : m + 1) {
        const ek_status s = ek_linear_work_bytes(&w, i, n->o.pool, NULL, &bytes);
        if (s) return s;
        n->work_bytes = larger(n->work_bytes, bytes);
    }
    return EK_OK;
}

/* The three products of a layer, of batches of any length. */
static ek_status plan_layer(struct net *n, const struct layer *l)
{
    ek_status s = grow_work(n, l->n, l->k, n->o.batch);
    if (!s) s = grow_work(n, l->k, l->n, n->o.batch);
    if (!s) s = grow_work(n, l->k, n->o.batch, l->n);
    return s;
}

static float *floats(size_t n)
{
    return calloc(n, sizeof(float));
}

static void place_layers(struct net *n)
{
    uint64_t state = n->o.seed;
    size_t   at    = 0;
    for (size_t i = 0; i < n->o.layers; i++) {
        struct layer *l  = &n->layer[i];
        const double  sd = sqrt(2 / (double)(l->n + l->k));
        l->w = n->values + at, l->gw = n->gradient + at;
        at += l->n * l->k;
        for (size_t j = 0; j < l->n * l->k; j++) l->w[j] = normal(&state, sd);
        if (!n->o.bias) continue;
        l->b = n->values + at, l->gb = n->gradient + at;
        at += l->n;
    }
}

static ek_status open_net(struct net *n)
{
    const size_t batch = n->o.batch, bias = n->o.bias != 0;
    size_t       widest = n->o.width[0], turned = 0;
    ek_status    s = EK_OK;
    for (size_t i = 0; i < n->o.layers && !s; i++) {
        struct layer *l = &n->layer[i];
        l->k = n->o.width[i], l->n = n->o.width[i + 1];
        l->x = floats(batch * l->k), l->z = floats(batch * l->n);
        n->count += l->n * (l->k + bias);
        widest = larger(widest, l->n), turned = larger(turned, l->n * l->k);
        s = l->x && l->z ? plan_layer(n, l) : EK_E_NOMEM;
    }
    if (s) return s;
    n->values = floats(n->count), n->gradient = floats(n->count);
    n->mean = floats(n->count), n->square = floats(n->count);
    n->dz = floats(batch * widest), n->dx = floats(batch * widest);
    n->turned = floats(larger(turned, batch * widest)), n->turned_dz = floats(batch * widest);
    n->answers  = floats(batch * n->layer[n->o.layers - 1].n);
    n->row_loss = calloc(batch ? batch : 1, sizeof *n->row_loss);
    n->work     = aligned_alloc(64, (n->work_bytes + 64) / 64 * 64);
    if (!n->values || !n->gradient || !n->mean || !n->square || !n->dz || !n->dx || !n->turned ||
        !n->turned_dz || !n->answers || !n->row_loss || !n->work)
        return EK_E_NOMEM;
    place_layers(n);
    return EK_OK;
}

ek_status net_open(struct net **out, const struct net_options *o, struct error *e)
{
    struct net *n = calloc(1, sizeof *n);
    if (!n) return fail(e, EK_E_NOMEM, "network: out of memory");
    n->o              = *o;
    const ek_status s = open_net(n);
    if (s) {
        net_close(n);
        return fail(e, s, "network: %s", ek_status_text(s));
    }
    *out = n;
    return EK_OK;
}

void net_close(struct net *n)
{
    if (!n) return;
    for (size_t i = 0; i < NET_LAYERS_MAX; i++) free(n->layer[i].x), free(n->layer[i].z);
    free(n->values), free(n->gradient), free(n->mean), free(n->square);
    free(n->dz), free(n->dx), free(n->turned), free(n->turned_dz);
    free(n->answers), free(n->row_loss), free(n->work);
    free(n);
}

/* ---- what is inside ---- */

float *net_inputs(struct net *n)
{
    return n->layer[0].x;
}
float *net_answers(struct net *n)
{
    return n->answers;
}
float *net_values(struct net *n, size_t *count)
{
    *count = n->count;
    return n->values;
}
const float *net_gradient(const struct net *n)
{
    return n->gradient;
}
const float *net_matrix(const struct net *n, size_t layer)
{
    return n->layer[layer].w;
}
const float *net_bias(const struct net *n, size_t layer)
{
    return n->layer[layer].b;
}

/* ---- products ---- */

/* y [m][w.n] = x [m][w.k] W^T */
ek_status net_multiply(const struct net *n, struct ek_weights w, const float *x, size_t m, float *y)
{
    return ek_linear(n->o.kernels, n->o.pool, &w, x, w.k, m, y, w.n, NULL, n->work, n->work_bytes);
}

/* ---- forward ---- */

static void add_bias(void *task, size_t begin, size_t end)
{
    const struct rows *r = task;
    for (size_t i = begin; i < end; i++)
        for (size_t c = 0; c < r->l->n; c++) r->out[i * r->l->n + c] += r->l->b[c];
}

ek_status net_forward(struct net *n, size_t m, const float **logits)
{
    ek_status s = EK_OK;
    for (size_t i = 0; i < n->o.layers && !s; i++) {
        struct layer *l    = &n->layer[i];
        struct rows   task = {.n = n, .l = l, .out = l->z};
        s                  = net_multiply(n, net_rows(l->w, l->n, l->k), l->x, m, l->z);
        if (!s && l->b) ek_parallel(n->o.pool, m, 8, add_bias, &task);
        *logits = l->z;
        if (s || i + 1 == n->o.layers) continue;
        float *next = n->layer[i + 1].x;
        if (n->o.act == EK_ACT_KINDS)
            memcpy(next, l->z, m * l->n * sizeof *next);
        else
            s = ek_act(n->o.kernels, n->o.pool, n->o.act, l->z, NULL, next, m * l->n);
    }
    return s;
}

/* log(1 + exp(-z)) for yes, log(1 + exp(z)) for no */
static void lose_rows(void *task, size_t begin, size_t end)
{
    const struct rows *r = task;
    for (size_t i = begin; i < end; i++) {
        double sum = 0;
        for (size_t c = 0; c < r->l->n; c++) {
            const int    yes = r->n->answers[i * r->l->n + c] > 0.5F;
            const double z   = (double)(yes ? -r->l->z[i * r->l->n + c] : r->l->z[i * r->l->n + c]);
            sum += (double)(yes ? r->n->o.positive : r->n->o.negative) *
                   ((z > 0 ? z : 0) + log1p(exp(-fabs(z))));
        }
        r->n->row_loss[i] = sum;
    }
}

double net_loss(struct net *n, size_t m)
{
    struct rows task = {.n = n, .l = &n->layer[n->o.layers - 1]};
    double      sum  = 0;
    ek_parallel(n->o.pool, m, 8, lose_rows, &task);
    for (size_t i = 0; i < m; i++) sum += n->row_loss[i];
    return sum;
}
