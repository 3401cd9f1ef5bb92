/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/sparse.c - the composites mlp_dense, predictor, wcache_update and wcache_gather: what
 * lists of neurons are held against, and how the lists come about. */
#include "microbench/composite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 64 };

static size_t lines(size_t bytes)
{
    return (bytes + LINE - 1) / LINE * LINE;
}
static void *memory(size_t bytes)
{
    return aligned_alloc(LINE, lines(bytes));
}

/* ---- products of matrices in the arena: mlp_dense, predictor ---- */

enum { MATRICES = 3 };

/* Up to three matrices that lie one behind the other and are used together. */
struct layer {
    struct composite_setup s;
    struct ek_weights      w[MATRICES];
    size_t                 at[MATRICES], count, stride, offset;
    float                 *x, *hidden, *y;
    struct ek_predictor    predictor; /* of w[0], w[1] */
    uint64_t              *mask;
    void                  *work;
    size_t                 work_bytes, bytes;
    int                    failed;
};

static void next_layer(struct layer *l)
{
    if (l->s.cold && (l->offset += l->stride) + l->stride > l->s.arena->bytes) l->offset = 0;
    for (size_t i = 0; i < l->count; i++) l->w[i].data = l->s.arena->data + l->offset + l->at[i];
}

static void drop_layer(void *self)
{
    struct layer *l = self;
    free(l->x), free(l->hidden), free(l->y), free(l->mask), free(l->work), free(l);
}

static int add_matrix(struct layer *l, size_t n, size_t k)
{
    size_t                   bytes, work;
    const struct ek_weights *w = &l->w[l->count];
    l->w[l->count] =
        (struct ek_weights){l->s.fmt, ek_fmt_info(l->s.fmt)->layout, n, k, l->s.arena->data};
    if (ek_weights_bytes(l->s.fmt, n, k, &bytes, NULL) ||
        ek_linear_work_bytes(w, 1, l->s.pool, NULL, &work))
        return -1;
    l->at[l->count++] = l->stride;
    l->stride += lines(bytes), l->bytes += bytes;
    l->work_bytes = work > l->work_bytes ? work : l->work_bytes;
    return l->stride > l->s.arena->bytes ? -1 : 0;
}

static struct layer *new_layer(const struct composite_setup *s, size_t d)
{
    struct layer *l    = ek_test_alloc(1, sizeof *l);
    uint64_t      seed = 3;
    l->s               = *s;
    l->x               = ek_test_alloc(d, sizeof *l->x);
    for (size_t i = 0; i < d; i++) l->x[i] = ek_randf(&seed);
    return l;
}

static void *made(struct layer *l, int bad)
{
    if (!bad && (l->work = memory(l->work_bytes))) return l;
    fputs("ek bench: matrices that do not fit --memory\n", stderr);
    drop_layer(l);
    return NULL;
}

static double bytes_layer(const void *self)
{
    const struct layer *l = self;
    return (double)l->bytes + 4.0 * (double)l->w[0].k;
}

static int linear(struct layer *l, size_t i, const float *x, float *y)
{
    const struct ek_weights *w = &l->w[i];
    return ek_linear(l->s.t, l->s.pool, w, x, w->k, 1, y, w->n, NULL, l->work, l->work_bytes) != 0;
}

/* ---- mlp_dense ---- */

enum { MLP_D, MLP_I };
static const char *const dims_mlp[] = {"d", "i", NULL};

static void *make_mlp(const struct composite_setup *s)
{
    const size_t  d = s->shape->d[MLP_D], n = s->shape->d[MLP_I];
    struct layer *l = new_layer(s, d);
    l->hidden       = ek_test_alloc(2 * n, sizeof *l->hidden);
    l->y            = ek_test_alloc(d, sizeof *l->y);
    int bad         = add_matrix(l, n, d);
    bad             = bad || add_matrix(l, n, d);
    return made(l, bad || add_matrix(l, d, n));
}
static void call_mlp(void *self)
{
    struct layer *l = self;
    const size_t  n = l->w[0].n;
    next_layer(l);
    l->failed |= linear(l, 0, l->x, l->hidden) || linear(l, 1, l->x, l->hidden + n) ||
                 ek_act(l->s.t, l->s.pool, EK_ACT_SILU, l->hidden, l->hidden + n, l->hidden, n) ||
                 linear(l, 2, l->hidden, l->y);
}
/* The down product of what is hidden, serially; ek_linear itself is checked elsewhere. */
static int check_mlp(void *self)
{
    struct layer *l = self;
    float        *y = ek_test_alloc(l->w[2].n, sizeof *y);
    call_mlp(l);
    const ek_pool *pool = l->s.pool;
    l->s.pool           = NULL;
    const int same      = !l->failed && !linear(l, 2, l->hidden, y) &&
                     !memcmp(y, l->y, l->w[2].n * sizeof *y) && isfinite(y[0]) && y[0] != 0.0f;
    l->s.pool = pool;
    free(y);
    return same;
}
const struct composite composite_mlp_dense = {.name  = "mlp_dense",
                                              .dims  = dims_mlp,
                                              .make  = make_mlp,
                                              .call  = call_mlp,
                                              .check = check_mlp,
                                              .bytes = bytes_layer,
                                              .drop  = drop_layer};

/* ---- predictor ---- */

enum { PREDICTOR_D, PREDICTOR_R, PREDICTOR_I, PREDICTOR_ACTIVE };
static const char *const dims_predictor[] = {"d", "r", "i", "active", NULL};

static void *make_predictor(const struct composite_setup *s)
{
    const size_t *dim = s->shape->d, n = dim[PREDICTOR_I];
    struct layer *l = new_layer(s, dim[PREDICTOR_D]);
    int           bad =
        add_matrix(l, dim[PREDICTOR_R], dim[PREDICTOR_D]) || add_matrix(l, n, dim[PREDICTOR_R]);
    l->predictor = (struct ek_predictor){
        .struct_size = sizeof l->predictor,
        .down        = &l->w[0],
        .up          = &l->w[1],
        .rule = {sizeof l->predictor.rule, EK_RULE_TOPK, 0, n * dim[PREDICTOR_ACTIVE] / 100}};
    l->mask = ek_test_alloc(ek_mask_words(n), sizeof *l->mask);
    bad     = bad || ek_predict_work_bytes(&l->predictor, 1, s->pool, &l->work_bytes);
    return made(l, bad);
}
static void call_predictor(void *self)
{
    struct layer *l = self;
    next_layer(l);
    l->failed |= ek_predict(l->s.t, l->s.pool, &l->predictor, l->x, l->w[0].k, 1, l->mask, l->work,
                            l->work_bytes) != 0;
}
/* As many neurons as were asked for, the same with and without threads. */
static int check_predictor(void *self)
{
    struct layer *l     = self;
    const size_t  words = ek_mask_words(l->w[1].n);
    uint64_t     *mask  = ek_test_alloc(words, sizeof *mask);
    call_predictor(l);
    memcpy(mask, l->mask, words * sizeof *mask);
    const ek_pool *pool = l->s.pool;
    l->s.pool           = NULL;
    l->failed |= ek_predict(l->s.t, NULL, &l->predictor, l->x, l->w[0].k, 1, l->mask, l->work,
                            l->work_bytes) != 0;
    l->s.pool      = pool;
    const int same = !l->failed && !memcmp(mask, l->mask, words * sizeof *mask) &&
                     ek_mask_count(mask, l->w[1].n) == l->predictor.rule.k;
    free(mask);
    return same;
}
const struct composite composite_predictor = {.name  = "predictor",
                                              .dims  = dims_predictor,
                                              .make  = make_predictor,
                                              .call  = call_predictor,
                                              .check = check_predictor,
                                              .bytes = bytes_layer,
                                              .drop  = drop_layer};

/* ---- wcache_update, wcache_gather ---- */

enum { CACHE_D, CACHE_I, CACHE_ACTIVE, CACHE_CHURN, TURNS = 20 };
static const char *const dims_cache[] = {"d", "i", "active", "churn", NULL};

/* As many layers as the arena holds, each with a cache and with masks of twenty tokens to come: what
 * an update reads was last touched twenty rounds ago. */
struct caches {
    struct composite_setup s;
    size_t                 layers, layer, turn, words, n, active, row, stride;
    struct ek_wcache     **cache;
    struct arena           memory; /* of all layers' caches, or copies */
    uint64_t              *masks;  /* [layers][TURNS][words] */
    unsigned char         *packed; /* wcache_gather: [active][row] */
    uint32_t              *list;
    int                    failed;
};

static size_t rows_added(const struct caches *c)
{
    return c->active * c->s.shape->d[CACHE_CHURN] / 100;
}
static uint64_t *mask_of(const struct caches *c, size_t layer, size_t turn)
{
    return c->masks + (layer * TURNS + turn) * c->words;
}
static int bit(const uint64_t *mask, size_t i)
{
    return (int)(mask[i / 64] >> (i % 64) & 1);
}
static void flip(uint64_t *mask, size_t i)
{
    mask[i / 64] ^= UINT64_C(1) << (i % 64);
}

/* Turn after turn churn per cent of the active neurons give way to others; after the last turn the
 * first one comes again. */
static void fill_masks(struct caches *c, size_t churn)
{
    uint64_t seed = 5;
    for (size_t l = 0; l < c->layers; l++)
        for (size_t t = 0; t < TURNS; t++) {
            uint64_t *mask = mask_of(c, l, t);
            size_t    set  = 0;
            if (t) memcpy(mask, mask_of(c, l, t - 1), c->words * sizeof *mask);
            for (; !t && set < c->active; set++) {
                size_t i;
                do i = ek_rand(&seed) % c->n;
                while (bit(mask, i));
                flip(mask, i);
            }
            for (size_t k = 0; t && k < c->active * churn / 100; k++) {
                size_t off, on;
                do off = ek_rand(&seed) % c->n;
                while (!bit(mask, off) || !bit(mask_of(c, l, t - 1), off));
                do on = ek_rand(&seed) % c->n;
                while (bit(mask, on) || bit(mask_of(c, l, t - 1), on));
                flip(mask, off), flip(mask, on);
            }
        }
}

static void drop_caches(void *self)
{
    struct caches *c = self;
    if (c->memory.data) arena_drop(&c->memory);
    free(c->cache), free(c->masks), free(c->packed), free(c->list), free(c);
}

static const unsigned char *source_of(const struct caches *c, size_t layer)
{
    return c->s.arena->data + layer * c->stride;
}

static struct caches *new_caches(const struct composite_setup *s)
{
    const size_t  *dim = s->shape->d;
    struct caches *c   = ek_test_alloc(1, sizeof *c);
    c->s = *s, c->n = dim[CACHE_I], c->active = c->n * dim[CACHE_ACTIVE] / 100;
    c->words = ek_mask_words(c->n);
    if (ek_neurons_bytes(s->fmt, c->n, dim[CACHE_D], 3, &c->stride, &c->row)) return c;
    c->layers = s->arena->bytes / c->stride;
    c->masks  = ek_test_alloc(c->layers * TURNS * c->words, sizeof *c->masks);
    fill_masks(c, dim[CACHE_CHURN]);
    return c;
}

static struct ek_wcache_config cache_config(const struct caches *c, size_t layer)
{
    return (struct ek_wcache_config){.struct_size = sizeof(struct ek_wcache_config),
                                     .neurons     = c->n,
                                     .capacity    = c->active,
                                     .row_bytes   = c->row,
                                     .rows        = source_of(c, layer),
                                     .stride      = c->row,
                                     .kernels     = c->s.t};
}

static void *make_update(const struct composite_setup *s)
{
    struct caches                *c      = new_caches(s);
    const struct ek_wcache_config config = cache_config(c, 0);
    size_t                        each   = 0;
    c->cache                             = ek_test_alloc(c->layers, sizeof *c->cache);
    int bad                              = !c->layers || ek_wcache_bytes(&config, &each) ||
              arena_reserve(&c->memory, c->layers * lines(each));
    for (size_t i = 0; i < c->layers && !bad; i++) {
        const struct ek_wcache_config of = cache_config(c, i);
        bad = ek_wcache_init(&of, c->memory.data + i * lines(each), each, &c->cache[i]) ||
              ek_wcache_update(c->cache[i], s->pool, mask_of(c, i, 0));
    }
    if (!bad) return c;
    fputs("ek bench: weight caches that do not fit --memory\n", stderr);
    drop_caches(c);
    return NULL;
}

static size_t next_turn(struct caches *c)
{
    if (++c->layer >= c->layers) c->layer = 0, c->turn = (c->turn + 1) % TURNS;
    return c->turn;
}

/* One round in twenty goes from the last turn to the first and moves more: medians do not see it. */
static void call_update(void *self)
{
    struct caches *c    = self;
    const size_t   turn = next_turn(c);
    c->failed |= ek_wcache_update(c->cache[c->layer], c->s.pool, mask_of(c, c->layer, turn)) != 0;
}
static int check_update(void *self)
{
    struct caches *c = self;
    size_t         stride;
    call_update(c);
    const unsigned char *rows   = ek_wcache_rows(c->cache[c->layer], &stride);
    const uint32_t      *active = ek_wcache_active(c->cache[c->layer]);
    int                  same   = !c->failed && ek_wcache_count(c->cache[c->layer]) == c->active;
    for (size_t i = 0; i < c->active && same; i++)
        same = !memcmp(rows + i * stride, source_of(c, c->layer) + active[i] * c->row, c->row);
    return same;
}
/* What is read; as much is written at the same time, so that the roof of reading alone is not one
 * of copying: that is wcache_copy's time. */
static double bytes_update(const void *self)
{
    const struct caches *c = self;
    return (double)rows_added(c) * (double)c->row;
}
const struct composite composite_wcache_update = {.name  = "wcache_update",
                                                  .dims  = dims_cache,
                                                  .make  = make_update,
                                                  .call  = call_update,
                                                  .check = check_update,
                                                  .bytes = bytes_update,
                                                  .drop  = drop_caches};

/* All active rows again: what an update is held against. */
static void *make_gather(const struct composite_setup *s)
{
    struct caches *c = new_caches(s);
    c->packed        = c->layers ? memory(c->active * c->row) : NULL;
    c->list          = ek_test_alloc(c->active, sizeof *c->list);
    if (c->packed) return c;
    fputs("ek bench: neurons that do not fit --memory\n", stderr);
    drop_caches(c);
    return NULL;
}
static void copy_rows(void *task, size_t begin, size_t end)
{
    struct caches *c = task;
    for (size_t i = begin; i < end; i++)
        memcpy(c->packed + i * c->row, source_of(c, c->layer) + c->list[i] * c->row, c->row);
}
static void call_gather(void *self)
{
    struct caches *c    = self;
    const size_t   turn = next_turn(c);
    size_t         count;
    c->failed |= ek_mask_list(mask_of(c, c->layer, turn), c->n, c->list, c->active, &count) != 0;
    ek_parallel(c->s.pool, c->active, 64, copy_rows, c);
}
static int check_gather(void *self)
{
    struct caches *c = self;
    call_gather(c);
    int same = !c->failed;
    for (size_t i = 0; i < c->active && same; i++)
        same =
            !memcmp(c->packed + i * c->row, source_of(c, c->layer) + c->list[i] * c->row, c->row);
    return same;
}
static double bytes_gather(const void *self)
{
    const struct caches *c = self;
    return (double)c->active * (double)c->row;
}
const struct composite composite_wcache_gather = {.name  = "wcache_gather",
                                                  .dims  = dims_cache,
                                                  .make  = make_gather,
                                                  .call  = call_gather,
                                                  .check = check_gather,
                                                  .bytes = bytes_gather,
                                                  .drop  = drop_caches};

/* As many rows as an update adds, in order to slots in order, of a buffer for each layer: the
 * bandwidth of copying, what an update can reach. */
static void *make_copy(const struct composite_setup *s)
{
    struct caches *c = new_caches(s);
    c->list          = ek_test_alloc(c->n, sizeof *c->list);
    for (size_t i = 0; i < c->n; i++) c->list[i] = (uint32_t)i;
    const int bad = !c->layers || arena_reserve(&c->memory, c->layers * c->active * c->row);
    if (!bad) memset(c->memory.data, 0, c->memory.bytes);
    if (!bad) return c;
    fputs("ek bench: rows that do not fit --memory\n", stderr);
    drop_caches(c);
    return NULL;
}
static unsigned char *copies_of(const struct caches *c)
{
    return c->memory.data + c->layer * c->active * c->row;
}
static void copy_in_order(void *task, size_t begin, size_t end)
{
    const struct caches           *c    = task;
    const size_t                   rows = rows_added(c);
    const struct ek_copy_rows_args a    = {.src  = source_of(c, c->layer),
                                           .dst  = copies_of(c),
                                           .from = c->list + c->turn % (c->n / rows) * rows,
                                           .to   = c->list + c->turn % (c->active / rows) * rows,
                                           .from_stride = c->row,
                                           .to_stride   = c->row,
                                           .bytes       = c->row};
    c->s.t->copy_rows[EK_FMT_f32]->fn.copy_rows(&a, begin, end);
}
static void call_copy(void *self)
{
    struct caches *c     = self;
    const size_t   parts = c->s.pool ? c->s.pool->threads : 1, rows = rows_added(c);
    next_turn(c);
    ek_parallel(c->s.pool, rows, (rows + parts - 1) / parts, copy_in_order, c);
}
static int check_copy(void *self)
{
    struct caches *c = self;
    call_copy(c);
    const size_t         bytes = rows_added(c) * c->row;
    const unsigned char *to    = copies_of(c);
    return !memcmp(to + c->turn % (c->active / rows_added(c)) * bytes,
                   source_of(c, c->layer) + c->turn % (c->n / rows_added(c)) * bytes, bytes);
}
const struct composite composite_wcache_copy = {.name  = "wcache_copy",
                                                .dims  = dims_cache,
                                                .make  = make_copy,
                                                .call  = call_copy,
                                                .check = check_copy,
                                                .bytes = bytes_update,
                                                .drop  = drop_caches};
