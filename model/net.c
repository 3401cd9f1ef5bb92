/* SPDX-License-Identifier: Apache-2.0 */
/* model/net.c - forward, backward, AdamW. Every number is made by one task in an order of its own,
 * so that threads change no bit; products are ek_linear's, on transposed copies where need be. */
#include "model/net.h"

#include "model/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct layer {
    size_t n, k;
    float *w, *b;   /* [n][k], [n] or NULL            */
    float *gw, *gb; /* their gradients                */
    float *z;       /* [batch][n] before the activation */
    float *x;       /* [batch][k] inputs              */
};

struct net {
    struct net_options o;
    struct layer       layer[NET_LAYERS_MAX];
    size_t             count, steps;
    float             *values, *gradient, *mean, *square; /* [count] */
    float             *answers;                           /* [batch][outputs] */
    float             *dz, *dx;                           /* [batch][widest]  */
    float             *turned, *turned_dz;                /* transposed copies */
    double            *row_loss;                          /* [batch] */
    void              *work;
    size_t             work_bytes;
};

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

static struct ek_weights rows_of(const float *data, size_t n, size_t k)
{
    return (struct ek_weights){
        .fmt = EK_FMT_f32, .layout = ek_fmt_info(EK_FMT_f32)->layout, .n = n, .k = k, .data = data};
}

static ek_status grow_work(struct net *n, size_t rows, size_t cols, size_t m)
{
    static const float      none = 0;
    const struct ek_weights w    = rows_of(&none, rows, cols);
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
    n->row_loss = calloc(batch, sizeof *n->row_loss);
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

static void over(const struct net *n, size_t items, size_t grain, ek_task_fn *fn, void *task)
{
    if (n->o.pool)
        n->o.pool->run(n->o.pool->self, items, grain, fn, task);
    else
        fn(task, 0, items);
}

/* y [m][w.n] = x [m][w.k] W^T */
static ek_status multiply(const struct net *n, struct ek_weights w, const float *x, size_t m,
                          float *y)
{
    return ek_linear(n->o.kernels, n->o.pool, &w, x, w.k, m, y, w.n, NULL, n->work, n->work_bytes);
}

struct turn {
    const float *from;
    float       *to;
    size_t       rows, cols;
};

/* Items: columns of from. Blocks, so that both sides stay in cache. */
static void turn_columns(void *task, size_t begin, size_t end)
{
    enum { BLOCK = 16 };
    const struct turn *t = task;
    for (size_t r0 = 0; r0 < t->rows; r0 += BLOCK) {
        const size_t r1 = r0 + BLOCK < t->rows ? r0 + BLOCK : t->rows;
        for (size_t c = begin; c < end; c++)
            for (size_t r = r0; r < r1; r++) t->to[c * t->rows + r] = t->from[r * t->cols + c];
    }
}
static void turn(const struct net *n, const float *from, size_t rows, size_t cols, float *to)
{
    struct turn t = {from, to, rows, cols};
    over(n, cols, 16, turn_columns, &t);
}

/* ---- forward ---- */

struct rows {
    struct net         *n;
    const struct layer *l;
    const float        *in;
    float              *out;
    size_t              m;
};

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
        s                  = multiply(n, rows_of(l->w, l->n, l->k), l->x, m, l->z);
        if (!s && l->b) over(n, m, 8, add_bias, &task);
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
    over(n, m, 8, lose_rows, &task);
    for (size_t i = 0; i < m; i++) sum += n->row_loss[i];
    return sum;
}

/* ---- backward ---- */

/* The gradient at the logits, whose sigmoids lie in out. */
static void blame_rows(void *task, size_t begin, size_t end)
{
    const struct rows *r     = task;
    const size_t       width = r->l->n;
    const float        share = 1 / (float)r->m;
    for (size_t i = begin * width; i < end * width; i++) {
        const float yes = r->n->answers[i];
        r->out[i] = share * (yes > 0.5F ? r->n->o.positive : r->n->o.negative) * (r->out[i] - yes);
    }
}

static float slope(enum ek_act_kind act, float z)
{
    const float s = 1 / (1 + expf(-z));
    switch (act) {
    case EK_ACT_RELU: return z > 0 ? 1 : 0;
    case EK_ACT_SILU: return s * (1 + z * (1 - s));
    case EK_ACT_GELU_TANH: {
        const float t = tanhf(0.7978845608F * (z + 0.044715F * z * z * z));
        return 0.5F * (1 + t) +
               0.5F * z * (1 - t * t) * 0.7978845608F * (1 + 3 * 0.044715F * z * z);
    }
    default: return 0.5F * (1 + erff(z * 0.7071067812F)) + z * 0.3989422804F * expf(-0.5F * z * z);
    }
}

/* dz of the layer below: what came back through its activation. */
static void bend_rows(void *task, size_t begin, size_t end)
{
    const struct rows *r = task;
    for (size_t i = begin * r->l->n; i < end * r->l->n; i++)
        r->out[i] = r->in[i] * (r->n->o.act == EK_ACT_KINDS ? 1 : slope(r->n->o.act, r->l->z[i]));
}

static void sum_bias(void *task, size_t begin, size_t end)
{
    const struct rows *r = task;
    for (size_t c = begin; c < end; c++) {
        float sum = 0;
        for (size_t i = 0; i < r->m; i++) sum += r->in[i * r->l->n + c];
        r->l->gb[c] = sum;
    }
}

static ek_status weigh(struct net *n, struct layer *l, size_t m)
{
    struct rows task = {.n = n, .l = l, .in = n->dz, .m = m};
    turn(n, n->dz, m, l->n, n->turned_dz);
    turn(n, l->x, m, l->k, n->turned);
    if (l->gb) over(n, l->n, 64, sum_bias, &task);
    return multiply(n, rows_of(n->turned, l->k, m), n->turned_dz, l->n, l->gw);
}

ek_status net_backward(struct net *n, size_t m)
{
    struct layer *last = &n->layer[n->o.layers - 1];
    struct rows   task = {.n = n, .l = last, .out = n->dz, .m = m};
    ek_status     s =
        ek_act(n->o.kernels, n->o.pool, EK_ACT_SIGMOID, last->z, NULL, n->dz, m * last->n);
    if (!s) over(n, m, 8, blame_rows, &task);
    for (size_t i = n->o.layers; i-- > 0 && !s;) {
        struct layer *l = &n->layer[i];
        s               = weigh(n, l, m);
        if (s || !i) continue;
        turn(n, l->w, l->n, l->k, n->turned);
        s                 = multiply(n, rows_of(n->turned, l->k, l->n), n->dz, m, n->dx);
        struct rows below = {.n = n, .l = &n->layer[i - 1], .in = n->dx, .out = n->dz, .m = m};
        if (!s) over(n, m, 8, bend_rows, &below);
    }
    return s;
}

/* ---- AdamW (Loshchilov and Hutter, 2019) ---- */

struct step {
    struct net *n;
    size_t      first; /* value of item 0 */
    float       rate, decay, mean_scale, square_scale;
};

static void step_values(void *task, size_t begin, size_t end)
{
    const struct step *s  = task;
    struct net        *n  = s->n;
    const float        b1 = 0.9F, b2 = 0.999F, eps = 1e-8F;
    for (size_t i = s->first + begin; i < s->first + end; i++) {
        const float g = n->gradient[i];
        n->mean[i]    = b1 * n->mean[i] + (1 - b1) * g;
        n->square[i]  = b2 * n->square[i] + (1 - b2) * g * g;
        const float move =
            n->mean[i] * s->mean_scale / (sqrtf(n->square[i] * s->square_scale) + eps);
        n->values[i] -= s->rate * (move + s->decay * n->values[i]);
    }
}

void net_step(struct net *n, double rate)
{
    const double t = (double)++n->steps;
    for (size_t i = 0; i < n->o.layers; i++) {
        const struct layer *l    = &n->layer[i];
        struct step         task = {.n            = n,
                                    .first        = (size_t)(l->w - n->values),
                                    .rate         = (float)rate,
                                    .decay        = (float)n->o.decay,
                                    .mean_scale   = (float)(1 / (1 - pow(0.9, t))),
                                    .square_scale = (float)(1 / (1 - pow(0.999, t)))};
        over(n, l->n * l->k, 4096, step_values, &task);
        task.first += l->n * l->k, task.decay = 0;
        if (l->b) over(n, l->n, 4096, step_values, &task);
    }
}
