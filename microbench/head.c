/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/head.c - the composites head_full, head_sliced and head_certified: the most likely of v
 * tokens. */
#include "microbench/composite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { DIM_D, DIM_V, DIM_PERCENT, LINE = 64, HUGE = 2 << 20 };

static const char *const dims[]        = {"d", "v", NULL};
static const char *const dims_sliced[] = {"d", "v", "percent", NULL};

/* A head with a screen, in memory that rows of several thread counts share. */
struct pair {
    size_t                refs;
    float                *x;
    void                 *w;
    unsigned char        *copies; /* of the screen's matrix */
    size_t                count, stride;
    struct ek_head_screen screen;
    void                 *mem;
};

struct head {
    const struct ek_kernels *t;
    const ek_pool           *pool;
    const struct arena      *arena;
    int                      cold;
    struct ek_head           h;
    struct ek_head_screen    screen;
    struct ek_head_call      c;
    struct ek_head_counts    did; /* by the last call */
    size_t                   stride, offset;
    float                   *x;
    uint32_t                *ids;
    struct pair             *pair; /* certified */
    void                    *work;
    size_t                   work_bytes;
    uint32_t                 id;
    float                    value;
};

static void *memory(size_t bytes)
{
    void *p = aligned_alloc(HUGE, (bytes + HUGE - 1) / HUGE * HUGE);
    if (p) (void)madvise(p, (bytes + HUGE - 1) / HUGE * HUGE, MADV_HUGEPAGE);
    return p;
}

static void set_stream(struct head *s, unsigned char *at)
{
    if (s->pair)
        s->screen.q.data = at;
    else
        s->h.w.data = at;
}

static void call_head(void *self)
{
    struct head   *s     = self;
    const size_t   bytes = s->pair ? s->pair->count * s->pair->stride : s->arena->bytes;
    unsigned char *from  = s->pair ? s->pair->copies : s->arena->data;
    if (s->cold && (s->offset += s->stride) + s->stride > bytes) s->offset = 0;
    set_stream(s, from + s->offset);
    s->did = (struct ek_head_counts){0};
    if (ek_head(s->t, s->pool, &s->c, &s->did, s->work, s->work_bytes)) s->did.bytes = 0;
}

/* The same token and logit as all logits by ek_linear, then ek_argmax. */
static int check_head(void *self)
{
    struct head *s = self;
    const size_t n = s->h.w.n;
    size_t       bytes;
    uint32_t     row;
    float        value, *y = malloc(n * sizeof *y);
    void        *work = NULL;
    call_head(s);
    int ok = y && s->did.bytes && !s->did.fallbacks &&
             !ek_linear_work_bytes(&s->h.w, 1, NULL, NULL, &bytes) &&
             (work = aligned_alloc(LINE, (bytes / LINE + 1) * LINE)) &&
             !ek_linear(s->t, s->pool, &s->h.w, s->x, s->h.w.k, 1, y, n, NULL, work, bytes) &&
             !ek_argmax(s->t, NULL, y, &row, &value, 1, n);
    ok = ok && s->id == (s->ids ? s->ids[row] : row) && s->value == value;
    free(y), free(work);
    return ok;
}

static double bytes_head(const void *self)
{
    const struct head *s = self;
    return (double)s->did.bytes + 4.0 * (double)s->h.w.k;
}

static void drop_pair(struct pair *p)
{
    if (!p || --p->refs) return;
    free(p->x), free(p->w), free(p->mem), free(p->copies);
    free(p);
}

static void drop_head(void *self)
{
    struct head *s = self;
    if (s->pair)
        drop_pair(s->pair);
    else
        free(s->x);
    free(s->ids), free(s->work), free(s);
}

/* What all three have; the head's matrix and state are there. */
static void *finish(struct head *s, const struct composite_setup *setup, enum ek_head_mode mode)
{
    s->t = setup->t, s->pool = setup->pool, s->arena = setup->arena, s->cold = setup->cold;
    s->h.struct_size = sizeof s->h, s->h.ids = s->ids;
    s->c = (struct ek_head_call){sizeof s->c, &s->h, mode, s->x, 1, &s->id, &s->value, NULL};
    if (!ek_head_work_bytes(&s->c, s->pool, &s->work_bytes)) s->work = memory(s->work_bytes);
    if (s->work && s->x) return s;
    fputs("ek bench: a head cannot be made\n", stderr);
    drop_head(s);
    return NULL;
}

/* A head that lies in the arena, `rows` of it. */
static struct head *arena_head(const struct composite_setup *setup, size_t rows)
{
    struct head *s    = ek_test_alloc(1, sizeof *s);
    const size_t d    = setup->shape->d[DIM_D];
    uint64_t     seed = 3;
    s->h.w            = (struct ek_weights){setup->fmt, ek_fmt_info(setup->fmt)->layout, rows, d,
                                            setup->arena->data};
    s->x              = ek_test_alloc(d, sizeof *s->x);
    for (size_t i = 0; i < d; i++) s->x[i] = ek_randf(&seed);
    if (!ek_weights_bytes(setup->fmt, rows, d, &s->stride, NULL) &&
        (s->stride = (s->stride + LINE - 1) / LINE * LINE) <= setup->arena->bytes)
        return s;
    fprintf(stderr, "ek bench: a head needs --memory of %zu MiB at least\n", (s->stride >> 20) + 1);
    drop_head(s);
    return NULL;
}

static void *make_full(const struct composite_setup *setup)
{
    struct head *s = arena_head(setup, setup->shape->d[DIM_V]);
    return s ? finish(s, setup, EK_HEAD_FULL) : NULL;
}

static void *make_sliced(const struct composite_setup *setup)
{
    const size_t rows = setup->shape->d[DIM_V] * setup->shape->d[DIM_PERCENT] / 100;
    struct head *s    = arena_head(setup, rows);
    if (!s) return NULL;
    s->ids = ek_test_alloc(rows, sizeof *s->ids);
    for (size_t i = 0; i < rows; i++) s->ids[i] = (uint32_t)(i * setup->shape->d[DIM_V] / rows);
    return finish(s, setup, EK_HEAD_FULL);
}

/* ---- certified: made so that screening leaves more rows than trained heads do ---- */

enum { DISTINCT = 4096, NEAR = 100, WINNER = 1107 };

/* A row of length 1, at this cosine with x. */
static void fill_row(float *w, const float *x, size_t d, double cosine, uint64_t *seed)
{
    double norm = 0;
    for (size_t i = 0; i < d; i++) {
        w[i] = ek_randf(seed);
        norm += (double)w[i] * (double)w[i];
    }
    const float along = (float)cosine, across = (float)sqrt((1 - cosine * cosine) / norm);
    for (size_t i = 0; i < d; i++) w[i] = along * x[i] + across * w[i];
}

/* 4096 rows: one that wins, one in a hundred so near that the bound does not rule it out. Trained
 * heads of 512 and 2,048 tokens leave 0.3 to 1.6 % (docs/numerics.md). */
static int fill_distinct(struct pair *p, enum ek_fmt fmt, size_t d, size_t rows, void *w)
{
    float   *dense = malloc(rows * d * sizeof *dense);
    uint64_t seed  = 7;
    size_t   bytes;
    double   norm = 0;
    if (!dense) return -1;
    for (size_t i = 0; i < d; i++) {
        p->x[i] = ek_randf(&seed);
        norm += (double)p->x[i] * (double)p->x[i];
    }
    for (size_t i = 0; i < d; i++) p->x[i] /= (float)sqrt(norm);
    for (size_t r = 0; r < rows; r++) {
        const size_t step = r / NEAR;
        const double near = 0.34 + 0.0002 * (double)step;
        fill_row(dense + r * d, p->x, d, r == WINNER ? 0.38 : r % NEAR == 7 ? near : 0, &seed);
    }
    const int bad = ek_weights_bytes(fmt, rows, d, &bytes, NULL) ||
                    ek_weights_quantize(fmt, dense, rows, d, w, bytes);
    free(dense);
    return bad ? -1 : 0;
}

/* Whole copies of the first `bytes`, and a last part. */
static void repeat(void *data, size_t bytes, size_t total)
{
    char *p = data;
    for (size_t at = bytes; at < total; at += bytes)
        memcpy(p + at, p, total - at < bytes ? total - at : bytes);
}

static int make_screen(struct pair *p, const struct composite_setup *s, const struct ek_weights *w,
                       size_t rows)
{
    struct ek_weights few = *w;
    size_t            bytes, all, work_bytes, part, total;
    few.n = rows;
    if (ek_head_screen_bytes(w, EK_FMT_q4g32, NULL, &all, &work_bytes) ||
        ek_head_screen_bytes(&few, EK_FMT_q4g32, s->pool, &bytes, &work_bytes))
        return -1;
    p->mem     = memory(bytes + 2 * sizeof(uint16_t) * w->n);
    void *work = memory(work_bytes);
    int   bad  = !p->mem || !work ||
              ek_head_screen_build(s->pool, &few, EK_FMT_q4g32, p->mem, bytes, work, work_bytes,
                                   &p->screen);
    free(work);
    if (bad || ek_weights_bytes(EK_FMT_q4g32, rows, w->k, &part, NULL) ||
        ek_weights_bytes(EK_FMT_q4g32, w->n, w->k, &total, NULL))
        return -1;
    p->stride = total; /* whole panels: a multiple of a line */
    p->count  = s->cold ? s->arena->bytes / 2 / total + 1 : 1;
    p->copies = memory(p->count * p->stride);
    if (!p->copies) return -1;
    memcpy(p->copies, p->screen.q.data, part);
    repeat(p->copies, part, total);
    repeat(p->copies, total, p->count * total);
    uint16_t *bounds = (uint16_t *)(void *)((char *)p->mem + bytes);
    memcpy(bounds, p->screen.error, rows * sizeof *bounds);
    memcpy(bounds + w->n, p->screen.norm, rows * sizeof *bounds);
    repeat(bounds, rows * sizeof *bounds, w->n * sizeof *bounds);
    repeat(bounds + w->n, rows * sizeof *bounds, w->n * sizeof *bounds);
    p->screen.error = bounds, p->screen.norm = bounds + w->n, p->screen.q.n = w->n;
    return 0;
}

static struct pair *make_pair(const struct composite_setup *s)
{
    const size_t d = s->shape->d[DIM_D], v = s->shape->d[DIM_V], rows = v < DISTINCT ? v : DISTINCT;
    struct pair *p = ek_test_alloc(1, sizeof *p);
    size_t       bytes, part;
    p->refs = 1;
    p->x    = ek_test_alloc(d, sizeof *p->x);
    int bad = ek_weights_bytes(s->fmt, v, d, &bytes, NULL) ||
              ek_weights_bytes(s->fmt, rows, d, &part, NULL) || !(p->w = memory(bytes)) ||
              fill_distinct(p, s->fmt, d, rows, p->w);
    if (!bad) {
        const struct ek_weights w = {s->fmt, ek_fmt_info(s->fmt)->layout, v, d, p->w};
        repeat(p->w, part, bytes);
        bad = make_screen(p, s, &w, rows);
    }
    if (!bad) return p;
    drop_pair(p);
    return NULL;
}

static void *make_certified(const struct composite_setup *setup)
{
    const struct head *other = setup->sibling;
    struct pair       *p     = other ? other->pair : make_pair(setup);
    if (!p) {
        fputs("ek bench: no memory for a screened head\n", stderr);
        return NULL;
    }
    p->refs += other != NULL;
    struct head *s = ek_test_alloc(1, sizeof *s);
    s->pair = p, s->x = p->x, s->screen = p->screen, s->stride = p->stride;
    s->h.w      = (struct ek_weights){setup->fmt, ek_fmt_info(setup->fmt)->layout,
                                      setup->shape->d[DIM_V], setup->shape->d[DIM_D], p->w};
    s->h.screen = &s->screen;
    return finish(s, setup, EK_HEAD_CERTIFIED);
}

#define COMPOSITE(op, dims_)                                                                       \
    const struct composite composite_head_##op = {.name  = "head_" #op,                            \
                                                  .dims  = dims_,                                  \
                                                  .make  = make_##op,                              \
                                                  .call  = call_head,                              \
                                                  .check = check_head,                             \
                                                  .bytes = bytes_head,                             \
                                                  .drop  = drop_head}
COMPOSITE(full, dims);
COMPOSITE(sliced, dims_sliced);
COMPOSITE(certified, dims);
