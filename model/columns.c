/* SPDX-License-Identifier: Apache-2.0 */
/* model/columns.c - products that skip small inputs: the weights of a projection column by column. */
#include "model/neurons.h"
#include "model/plan.h"

#include <math.h>

/* ---- loading ---- */

/* Rows of all parts of a projection. */
static ek_status read_parts(const void *self, size_t row0, size_t row1, float *out)
{
    const struct projection *p  = self;
    size_t                   at = 0;
    ek_status                s  = EK_OK;
    for (size_t i = 0; i < p->parts && !s; at += p->part[i++].n) {
        const size_t end   = at + p->part[i].n;
        const size_t first = row0 > at ? row0 : at, last = row1 < end ? row1 : end;
        if (first < last)
            s = ek_weights_dequantize(&p->part[i], first - at, last - at,
                                      out + (first - row0) * p->k);
    }
    return s;
}

ek_status columns_load(struct loader *l, struct projection *p, float threshold, struct error *e)
{
    const struct rows_reader rows = {read_parts, p, 0};
    struct ek_neurons        w    = {neuron_format(p->part[0].fmt), p->k, p->n, 1, NULL};
    size_t                   bytes;
    ek_status                s    = ek_neurons_bytes(w.fmt, w.n, w.d, w.rows, &bytes, NULL);
    void                    *data = s ? NULL : load_memory(l, bytes);
    if (!s && !data) s = EK_E_NOMEM;
    if (!s) s = neurons_pack(&w, data, NULL, &rows, loader_pool(l));
    if (s) return fail(e, s, "columns: %s", ek_status_text(s));
    w.data     = data;
    p->columns = w, p->threshold = threshold;
    return EK_OK;
}

/* ---- running ---- */

/* The list [k], its inputs [m][k], then what ek_sparse_gemv asks for. */
static size_t own_bytes(const struct projection *p, size_t m)
{
    return whole_lines(p->k * sizeof(uint32_t)) + whole_lines(m * p->k * sizeof(float));
}

ek_status columns_work_bytes(const struct projection *p, size_t m, size_t *bytes)
{
    *bytes = 0;
    if (!p->columns.data || m > EK_GEMV_MAX_M) return EK_OK;
    const ek_status s = ek_sparse_work_bytes(&p->columns, p->k, m, NULL, bytes);
    *bytes += own_bytes(p, m);
    return s;
}

/* Inputs that reach the threshold for one token at least, and all tokens' inputs there. */
static size_t take_inputs(const struct projection *w, const float *x, size_t ldx, size_t m,
                          uint32_t *list, float *taken)
{
    size_t count = 0;
    for (size_t i = 0; i < w->k; i++) {
        int any = 0;
        for (size_t t = 0; t < m; t++) any |= fabsf(x[t * ldx + i]) >= w->threshold;
        list[count] = (uint32_t)i;
        count += (size_t)any;
    }
    for (size_t t = 0; t < m; t++)
        for (size_t i = 0; i < count; i++) taken[t * count + i] = x[t * ldx + list[i]];
    return count;
}

void count_taken(struct session *s, const struct ek_neurons *w, size_t count)
{
    size_t bytes, one = 0;
    (void)ek_neurons_bytes(w->fmt, w->n, w->d, w->rows, &bytes, &one);
    s->neurons += w->n * one, s->neurons_taken += count * one;
}

ek_status columns_run(const struct pass *p, const struct projection *w, const float *x, size_t ldx,
                      float *y, size_t ldy)
{
    struct session *s      = p->s;
    const size_t    before = own_bytes(w, p->m);
    uint32_t       *list   = s->work;
    float          *taken  = (float *)(void *)((char *)s->work + whole_lines(w->k * sizeof *list));
    const size_t    count  = take_inputs(w, x, ldx, p->m, list, taken);
    count_taken(s, &w->columns, count);
    return ek_sparse_gemv(&s->model->kernels, s->o.pool, &w->columns, list, count, taken, count,
                          p->m, y, ldy, (char *)s->work + before, s->linear_bytes - before);
}
