/* SPDX-License-Identifier: Apache-2.0 */
/* ops/head.c - the largest logits without the logits: blocks of rows, each one's best, merged. */
#include "ek/head.h"

#include "kernels/half.h"
#include "ops/product.h"
#include "ops/run.h"
#include "ops/screen.h"
#include "ops/work.h"

#include <stdint.h>
#include <string.h>

enum { BLOCK = EK_HEAD_BLOCK, ROWS_GRAIN = 64, LOOK = 16 };

/* The best of a block, or of all: a sorted list of at most top. */
struct best {
    uint32_t *id;
    float    *value;
    size_t    have;
};

/* Where everything lies in the working memory; offsets in bytes. */
struct plan {
    size_t blocks, top;
    size_t exact, exact_bytes, screened, screened_bytes; /* of the products */
    size_t upper;                                        /* [n] f32         */
    size_t id, value, have, count;                       /* per block       */
    size_t best_id, best_value;                          /* [top]           */
    size_t total;
};

struct call {
    const struct plan         *p;
    const struct ek_kernels   *t;
    const struct ek_head_call *c;
    struct ek_product          exact, screened;
    struct ek_limits           limits;
    float                      least; /* logits below it are not among the top */
    unsigned char             *work;
};

static void *at(const struct call *c, size_t offset)
{
    return c->work + offset;
}

/* ---- order ---- */

/* Larger first, the lower id among equals, NaN after everything. */
static int before(float a, uint32_t a_id, float b, uint32_t b_id)
{
    if (a > b || a < b) return a > b;
    const int a_nan = a != a, b_nan = b != b;
    return a_nan != b_nan ? b_nan : a_id < b_id;
}

/* Puts an entry in its place; 0 when it comes after all of a full list. */
static int offer(struct best *b, size_t top, uint32_t id, float value)
{
    if (b->have == top && !before(value, id, b->value[top - 1], b->id[top - 1])) return 0;
    size_t i = b->have < top ? b->have++ : top - 1;
    for (; i && before(value, id, b->value[i - 1], b->id[i - 1]); i--)
        b->value[i] = b->value[i - 1], b->id[i] = b->id[i - 1];
    b->value[i] = value, b->id[i] = id;
    return 1;
}

static struct best best_of_block(const struct call *c, size_t block)
{
    const struct plan *p = c->p;
    return (struct best){.id    = (uint32_t *)at(c, p->id) + block * p->top,
                         .value = (float *)at(c, p->value) + block * p->top};
}

/* The best rows of y [rows], which are rows first.. of the head: by kernel, or one by one where
 * there is a NaN, which topk does not take. */
static void select_block(const struct call *c, size_t block, const float *y, size_t rows)
{
    const size_t first = block * BLOCK, top = ek_min(c->p->top, rows);
    struct best  b   = best_of_block(c, block);
    int          nan = 0;
    for (size_t i = 0; i < rows; i++) nan |= y[i] != y[i];
    if (nan) {
        for (size_t i = 0; i < rows; i++) (void)offer(&b, top, (uint32_t)(first + i), y[i]);
    } else if (top == 1) {
        const struct ek_argmax_args a = {.x = y, .index = b.id, .value = b.value, .cols = rows};
        c->t->argmax[EK_FMT_f32]->fn.argmax(&a, 0, 1);
        b.id[0] += (uint32_t)first;
    } else {
        const struct ek_topk_args a = {
            .x = y, .index = b.id, .value = b.value, .cols = rows, .k = top};
        c->t->topk[EK_FMT_f32]->fn.topk(&a, 0, 1);
        for (size_t i = 0; i < top; i++) b.id[i] += (uint32_t)first;
    }
    ((uint32_t *)at(c, c->p->have))[block] = (uint32_t)top;
}

/* Joins the blocks' lists. The order is total, so nothing depends on theirs. */
static struct best merge(const struct call *c)
{
    struct best     all  = {.id = at(c, c->p->best_id), .value = at(c, c->p->best_value)};
    const uint32_t *have = at(c, c->p->have);
    for (size_t i = 0; i < c->p->blocks; i++) {
        const struct best b = best_of_block(c, i);
        for (size_t j = 0; j < have[i]; j++)
            if (!offer(&all, c->p->top, b.id[j], b.value[j])) break;
    }
    return all;
}

/* ---- rows of a list ---- */

struct list {
    const struct ek_product *g;
    const uint32_t          *rows;
    float                   *y;
};

/* The first bytes of a row that comes next: a kernel fetches ahead within what it was given. */
static void fetch_row(const struct ek_product *g, size_t row)
{
    enum { LINE = 64, FETCH = 2048 };
    const char *p = (const char *)(g->fn_i8 ? g->i8.w : g->a.w) + row / g->step * g->step_bytes;
    for (size_t i = 0; i < FETCH && i < g->step_bytes; i += LINE) __builtin_prefetch(p + i);
}

static void compute_list(void *task, size_t begin, size_t end)
{
    const struct list       *l                = task;
    const struct ek_product *g                = l->g;
    size_t                   have             = SIZE_MAX; /* the panel in y */
    float                    y[EK_PANEL_ROWS] = {0};
    for (size_t i = begin; i < end; i++) {
        const size_t row = l->rows[i], first = row / g->step * g->step;
        if (i + 1 < end) fetch_row(g, l->rows[i + 1]);
        if (first != have) ek_product_rows(g, first, ek_min(g->step, g->n - first), y);
        have    = first;
        l->y[i] = y[row - first];
    }
}

/* ---- full ---- */

static void run_full(void *task, size_t begin, size_t end)
{
    const struct call *c      = task;
    float             *logits = c->c->logits;
    for (size_t i = begin; i < end; i++) {
        const size_t first = i * BLOCK, rows = ek_min(BLOCK, c->exact.n - first);
        float        block[BLOCK];
        float       *y = logits ? logits + first : block;
        ek_product_rows(&c->exact, first, rows, y);
        select_block(c, i, y, rows);
    }
}

static void count_full(const struct call *c, struct ek_head_counts *counts)
{
    uint64_t bytes;
    if (!ek_head_bytes(c->c->head, EK_HEAD_FULL, 0, &bytes)) counts->bytes += bytes;
}

/* ---- certified ---- */

/* Bounds of every row of a block: the upper ones are kept, the best lower ones chosen. */
static void run_screen(void *task, size_t begin, size_t end)
{
    const struct call           *c = task;
    const struct ek_head_screen *s = c->c->head->screen;
    const struct ek_limits       l = c->limits;
    for (size_t i = begin; i < end; i++) {
        const size_t    first = i * BLOCK, rows = ek_min(BLOCK, c->exact.n - first);
        const uint16_t *error = s->error + first, *norm = s->norm + first;
        float          *upper = (float *)at(c, c->p->upper) + first;
        float           y[BLOCK]; /* then the lower bounds */
        ek_product_rows(&c->screened, first, rows, y);
        for (size_t r = 0; r < rows; r++) {
            const float off =
                ek_bfloat_load(error[r]) * l.e + ek_bfloat_load(norm[r]) * l.n + l.rest;
            upper[r] = y[r] + off;
            y[r]     = y[r] - off;
        }
        select_block(c, i, y, rows);
    }
}

/* Rows [0, rows) whose upper bound reaches least; how many. */
static size_t survivors(const float *upper, size_t rows, float least, size_t first, uint32_t *out)
{
    size_t count = 0;
    for (size_t r = 0; r < rows; r += LOOK) {
        const size_t stop = ek_min(r + LOOK, rows);
        int          any  = 0;
        for (size_t j = r; j < stop; j++) any |= upper[j] >= least;
        for (size_t j = r; any && j < stop; j++)
            if (upper[j] >= least) out[count++] = (uint32_t)(first + j);
    }
    return count;
}

/* Exact logits of a block's survivors, and the best of them. */
static void run_exact(void *task, size_t begin, size_t end)
{
    const struct call *c    = task;
    uint32_t          *have = at(c, c->p->have), *seen = at(c, c->p->count);
    for (size_t i = begin; i < end; i++) {
        const size_t first = i * BLOCK, rows = ek_min(BLOCK, c->exact.n - first);
        float       *upper = (float *)at(c, c->p->upper) + first; /* then exact logits */
        uint32_t     row[BLOCK];
        const size_t count = survivors(upper, rows, c->least, first, row);
        struct list  l     = {&c->exact, row, upper};
        struct best  b     = best_of_block(c, i);
        if (count == rows)
            ek_product_rows(&c->exact, first, rows, upper);
        else
            compute_list(&l, 0, count);
        for (size_t j = 0; j < count; j++) (void)offer(&b, c->p->top, row[j], upper[j]);
        have[i]     = (uint32_t)b.have;
        seen[2 * i] = (uint32_t)count, seen[2 * i + 1] = 0;
        for (size_t j = 0; j < count; j++) /* panels, or rows */
            seen[2 * i + 1] += !j || row[j] / c->exact.step != row[j - 1] / c->exact.step;
    }
}

static void count_certified(const struct call *c, struct ek_head_counts *counts)
{
    const uint32_t *seen = at(c, c->p->count);
    uint64_t        bytes;
    counts->screened += c->exact.n;
    if (!ek_head_bytes(c->c->head, EK_HEAD_CERTIFIED, 0, &bytes)) counts->bytes += bytes;
    for (size_t i = 0; i < c->p->blocks; i++) {
        counts->recomputed += seen[2 * i];
        counts->bytes += seen[2 * i + 1] * (uint64_t)c->exact.step_bytes;
    }
}

/* The rows of the best lower bounds, computed exactly, give the least that the top can be. Few rows
 * reach that; were the bound itself taken, five times as many would. */
static struct best certify(struct call *c, const ek_pool *pool)
{
    const size_t blocks = c->p->blocks;
    ek_parallel(pool, blocks, 1, run_screen, c);
    const struct best likely = merge(c);
    struct list       l      = {&c->exact, likely.id, likely.value};
    c->least                 = likely.value[c->p->top - 1];
    compute_list(&l, 0, c->p->top);
    float exact = likely.value[0];
    for (size_t i = 1; i < c->p->top; i++) exact = l.y[i] < exact ? l.y[i] : exact;
    c->least = exact > c->least ? exact : c->least;
    ek_parallel(pool, blocks, 1, run_exact, c);
    return merge(c);
}

/* ---- the call ---- */

static ek_status head_sound(const struct ek_head *h)
{
    if (!h || h->struct_size < sizeof *h) return EK_E_ARG;
    return h->w.n > UINT32_MAX ? EK_E_OVERFLOW : EK_OK;
}

static ek_status make_plan(const struct ek_head_call *c, const ek_pool *pool, struct plan *p)
{
    if (!c || c->struct_size < sizeof *c || !ek_pool_sound(pool)) return EK_E_ARG;
    const struct ek_head *h = c->head;
    ek_status             s = head_sound(h);
    *p                      = (struct plan){.top = c->top};
    if (!s) s = ek_linear_work_bytes(&h->w, 1, NULL, h->opt, &p->exact_bytes);
    if (s) return s;
    const int certified = c->mode == EK_HEAD_CERTIFIED;
    if (!c->top || c->top > EK_HEAD_TOP_MAX || c->top > h->w.n ||
        (!certified && c->mode != EK_HEAD_FULL) || (certified && c->logits))
        return EK_E_ARG;
    if (certified) s = ek_screen_sound(h->screen, &h->w);
    if (certified && !s) s = ek_linear_work_bytes(&h->screen->q, 1, NULL, NULL, &p->screened_bytes);
    if (s) return s;

    int          over = 0;
    const size_t n    = h->w.n;
    p->blocks         = (n + BLOCK - 1) / BLOCK;
    p->exact          = ek_reserve(&p->total, p->exact_bytes, 1, &over);
    p->screened       = ek_reserve(&p->total, p->screened_bytes, 1, &over);
    p->upper          = ek_reserve(&p->total, certified ? n : 0, sizeof(float), &over);
    p->id             = ek_reserve(&p->total, p->blocks * c->top, sizeof(uint32_t), &over);
    p->value          = ek_reserve(&p->total, p->blocks * c->top, sizeof(float), &over);
    p->have           = ek_reserve(&p->total, p->blocks, sizeof(uint32_t), &over);
    p->count          = ek_reserve(&p->total, p->blocks, 2 * sizeof(uint32_t), &over);
    p->best_id        = ek_reserve(&p->total, c->top, sizeof(uint32_t), &over);
    p->best_value     = ek_reserve(&p->total, c->top, sizeof(float), &over);
    return over ? EK_E_OVERFLOW : EK_OK;
}

ek_status ek_head_work_bytes(const struct ek_head_call *c, const ek_pool *pool, size_t *bytes)
{
    struct plan     p;
    const ek_status s = bytes ? make_plan(c, pool, &p) : EK_E_ARG;
    if (!s) *bytes = p.total;
    return s;
}

ek_status ek_head(const struct ek_kernels *t, const ek_pool *pool, const struct ek_head_call *c,
                  struct ek_head_counts *counts, void *work, size_t work_bytes)
{
    struct plan p;
    ek_status   s = make_plan(c, pool, &p);
    if (s) return s;
    if (!ek_table_sound(t, pool) || !c->x || !c->id || !c->value || !work || (uintptr_t)work % 64)
        return EK_E_ARG;
    if (work_bytes < p.total) return EK_E_NOMEM;
    if (!t->argmax[EK_FMT_f32] || !t->topk[EK_FMT_f32]) return EK_E_UNSUPPORTED;
    const struct ek_head *h    = c->head;
    struct call           call = {.p = &p, .t = t, .c = c, .work = work};

    s = ek_product_make(t, &h->w, c->x, h->opt, at(&call, p.exact), p.exact_bytes, &call.exact);
    int certified = c->mode == EK_HEAD_CERTIFIED;
    if (!s && certified)
        s = ek_product_make(t, &h->screen->q, c->x, NULL, at(&call, p.screened), p.screened_bytes,
                            &call.screened);
    if (s) return s;
    struct ek_head_counts did = {0};
    if (certified && !ek_screen_limits(h->screen, &call.exact, &call.screened, &call.limits))
        certified = 0, did.fallbacks = 1;
    struct best all = {.have = 0};
    if (certified) {
        all = certify(&call, pool);
        count_certified(&call, &did);
        did.fallbacks = all.have < p.top; /* these rows are among the survivors of sound bounds */
    }
    if (all.have < p.top) {
        ek_parallel(pool, p.blocks, 1, run_full, &call);
        all = merge(&call);
        count_full(&call, &did);
    }
    for (size_t i = 0; i < all.have; i++)
        c->id[i] = h->ids ? h->ids[all.id[i]] : all.id[i], c->value[i] = all.value[i];
    if (counts) {
        counts->screened += did.screened, counts->recomputed += did.recomputed;
        counts->bytes += did.bytes, counts->fallbacks += did.fallbacks;
    }
    return EK_OK;
}

/* NOLINTNEXTLINE(readability-function-size): sizes and strides one by one, as in BLAS */
ek_status ek_head_rows(const struct ek_kernels *t, const ek_pool *pool, const struct ek_head *head,
                       const float *x, const uint32_t *rows, size_t count, float *y, void *work,
                       size_t work_bytes)
{
    struct ek_product g;
    ek_status         s = head_sound(head);
    if (s) return s;
    if (!rows || !count || !y || !ek_pool_sound(pool)) return EK_E_ARG;
    for (size_t i = 0; i < count; i++)
        if (rows[i] >= head->w.n) return EK_E_ARG;
    s = ek_product_make(t, &head->w, x, head->opt, work, work_bytes, &g);
    if (s) return s;
    struct list l = {&g, rows, y};
    ek_parallel(pool, count, ROWS_GRAIN, compute_list, &l);
    return EK_OK;
}

ek_status ek_head_bytes(const struct ek_head *head, enum ek_head_mode mode, size_t rows,
                        uint64_t *bytes)
{
    size_t    all, step, copy;
    ek_status s = bytes ? head_sound(head) : EK_E_ARG;
    if (!s) s = ek_weights_bytes(head->w.fmt, head->w.n, head->w.k, &all, &step);
    if (s) return s;
    if (mode == EK_HEAD_FULL) {
        *bytes = all;
        return EK_OK;
    }
    if (mode != EK_HEAD_CERTIFIED || rows > head->w.n) return EK_E_ARG;
    s = ek_screen_sound(head->screen, &head->w);
    if (!s) s = ek_weights_bytes(head->screen->q.fmt, head->w.n, head->w.k, &copy, NULL);
    if (s) return s;
    const uint64_t exact = (uint64_t)rows * step, bounds = 2 * sizeof(uint16_t) * head->w.n;
    *bytes = copy + bounds + (exact < all ? exact : all);
    return EK_OK;
}
