/* SPDX-License-Identifier: Apache-2.0 */
/* ops/wcache.c - rows of active neurons: paired replacement, appending, swap-remove. */
#include "ek/wcache.h"

#include "ops/run.h"
#include "ops/work.h"

#include <stdatomic.h>
#include <string.h>

enum {
    NOWHERE    = -1,      /* as a uint32_t: the slot of a neuron that is not active          */
    TASK_BYTES = 1 << 16, /* rows of one task: enough to make up for handing it to a thread */
};

/* The beginning of the caller's memory; everything else follows at the plan's offsets. */
struct ek_wcache {
    struct ek_wcache_config config;
    struct ek_wcache_stats  stats;
    size_t                  stride, count;
    uint32_t               *active;          /* [capacity] slot -> neuron                  */
    uint32_t               *pos;             /* [neurons] neuron -> slot, or NOWHERE       */
    uint64_t               *mask;            /* [words] of the last update                 */
    uint32_t               *added, *removed; /* [capacity] of the update under way */
    uint32_t               *to;              /* [capacity] slots of those added    */
    unsigned char          *rows;            /* [capacity][stride]                 */
};

struct plan {
    size_t head, active, pos, mask, added, removed, to, rows, stride, total;
};

static int config_sound(const struct ek_wcache_config *c)
{
    return c && c->struct_size >= sizeof *c && c->neurons && c->neurons < UINT32_MAX &&
           c->capacity && c->capacity <= c->neurons && c->row_bytes &&
           (uintptr_t)c->slots % 64 == 0 &&
           (c->rows ? !c->read && c->stride >= c->row_bytes && ek_table_sound(c->kernels, NULL) &&
                          c->kernels->copy_rows[EK_FMT_f32]
                    : c->read != NULL);
}

static ek_status make_plan(const struct ek_wcache_config *c, struct plan *p)
{
    int over = 0;
    if (!config_sound(c)) return EK_E_ARG;
    if (c->row_bytes > SIZE_MAX - 63) return EK_E_OVERFLOW;
    *p         = (struct plan){.stride = (c->row_bytes + 63) / 64 * 64};
    p->head    = ek_reserve(&p->total, 1, sizeof(struct ek_wcache), &over);
    p->active  = ek_reserve(&p->total, c->capacity, sizeof(uint32_t), &over);
    p->pos     = ek_reserve(&p->total, c->neurons, sizeof(uint32_t), &over);
    p->mask    = ek_reserve(&p->total, ek_mask_words(c->neurons), sizeof(uint64_t), &over);
    p->added   = ek_reserve(&p->total, c->capacity, sizeof(uint32_t), &over);
    p->removed = ek_reserve(&p->total, c->capacity, sizeof(uint32_t), &over);
    p->to      = ek_reserve(&p->total, c->capacity, sizeof(uint32_t), &over);
    p->rows    = c->slots ? 0 : ek_reserve(&p->total, c->capacity, p->stride, &over);
    return over ? EK_E_OVERFLOW : EK_OK;
}

ek_status ek_wcache_bytes(const struct ek_wcache_config *config, size_t *bytes)
{
    struct plan     p;
    const ek_status s = bytes ? make_plan(config, &p) : EK_E_ARG;
    if (!s) *bytes = p.total;
    return s;
}

ek_status ek_wcache_init(const struct ek_wcache_config *config, void *memory, size_t bytes,
                         struct ek_wcache **cache)
{
    struct plan     p;
    const ek_status s = make_plan(config, &p);
    if (s) return s;
    if (!memory || (uintptr_t)memory % 64 || !cache) return EK_E_ARG;
    if (bytes < p.total) return EK_E_NOMEM;
    unsigned char    *m = memory;
    struct ek_wcache *c = (struct ek_wcache *)(void *)(m + p.head);
    *c                  = (struct ek_wcache){.config  = *config,
                                             .stride  = p.stride,
                                             .active  = (uint32_t *)(void *)(m + p.active),
                                             .pos     = (uint32_t *)(void *)(m + p.pos),
                                             .mask    = (uint64_t *)(void *)(m + p.mask),
                                             .added   = (uint32_t *)(void *)(m + p.added),
                                             .removed = (uint32_t *)(void *)(m + p.removed),
                                             .to      = (uint32_t *)(void *)(m + p.to),
                                             .rows    = config->slots ? config->slots : m + p.rows};
    ek_wcache_clear(c);
    *cache = c;
    return EK_OK;
}

void ek_wcache_clear(struct ek_wcache *c)
{
    memset(c->pos, 0xFF, c->config.neurons * sizeof *c->pos); /* NOWHERE */
    memset(c->mask, 0, ek_mask_words(c->config.neurons) * sizeof *c->mask);
    c->count = 0;
}

static void *slot_at(const struct ek_wcache *c, size_t slot)
{
    return c->rows + slot * c->stride;
}

static void put(struct ek_wcache *c, uint32_t neuron, size_t slot)
{
    c->active[slot] = neuron, c->pos[neuron] = (uint32_t)slot;
}

/* ---- reading rows ---- */

struct reading {
    const struct ek_wcache *c;
    atomic_int              status; /* of a read that failed */
};

/* Rows [begin, end) of those added, each to the slot that is its own already. */
static void read_rows(void *task, size_t begin, size_t end)
{
    struct reading                *r = task;
    const struct ek_wcache        *c = r->c;
    const struct ek_wcache_config *f = &c->config;
    for (size_t i = begin; i < end; i++) {
        const ek_status s = f->read(f->self, c->added[i], slot_at(c, c->to[i]));
        if (s) atomic_store(&r->status, (int)s);
    }
}

static void copy_rows(void *task, size_t begin, size_t end)
{
    const struct ek_wcache        *c = task;
    const struct ek_wcache_config *f = &c->config;
    const struct ek_copy_rows_args a = {.src         = f->rows,
                                        .dst         = c->rows,
                                        .from        = c->added,
                                        .to          = c->to,
                                        .from_stride = f->stride,
                                        .to_stride   = c->stride,
                                        .bytes       = f->row_bytes};
    f->kernels->copy_rows[EK_FMT_f32]->fn.copy_rows(&a, begin, end);
}

/* Rows in memory are copied in one task a thread, so that a thread fetches ahead over all of its own;
 * rows behind a function in small ones, as some come later than others. */
static ek_status read_added(struct ek_wcache *c, const ek_pool *pool, size_t added)
{
    const size_t threads = pool ? pool->threads : 1, share = (added + threads - 1) / threads;
    if (!added) return EK_OK;
    if (c->config.rows) {
        ek_parallel(pool, added, (share + EK_SPARSE_SIDE - 1) / EK_SPARSE_SIDE * EK_SPARSE_SIDE,
                    copy_rows, c);
        return EK_OK;
    }
    struct reading r     = {.c = c};
    const size_t   grain = TASK_BYTES / c->stride;
    atomic_init(&r.status, EK_OK);
    ek_parallel(pool, added, grain ? grain : 1, read_rows, &r);
    return (ek_status)atomic_load(&r.status);
}

/* ---- updates ---- */

/* Gives every added neuron its slot: that of the removed one it is paired with, or a new one. */
static void place_added(struct ek_wcache *c, size_t added, size_t removed)
{
    for (size_t i = 0; i < added; i++) {
        const size_t slot = i < removed ? c->pos[c->removed[i]] : c->count++;
        if (i < removed) c->pos[c->removed[i]] = (uint32_t)NOWHERE;
        put(c, c->added[i], slot);
        c->to[i] = (uint32_t)slot;
    }
}

/* Fills the slots of removed neurons [from, removed) with the last one. Returns rows moved. */
static size_t close_holes(struct ek_wcache *c, size_t from, size_t removed)
{
    size_t moved = 0;
    for (size_t i = from; i < removed; i++) {
        const size_t hole = c->pos[c->removed[i]], last = --c->count;
        c->pos[c->removed[i]] = (uint32_t)NOWHERE;
        if (hole == last) continue;
        memcpy(slot_at(c, hole), slot_at(c, last), c->config.row_bytes);
        put(c, c->active[last], hole);
        moved++;
    }
    return moved;
}

static void count_update(struct ek_wcache *c, size_t added, size_t removed, size_t moved)
{
    struct ek_wcache_stats *s = &c->stats;
    s->updates++;
    s->hits += c->count - added;
    s->added += added, s->removed += removed;
    s->rows_read += added, s->rows_moved += moved;
    s->bytes_moved += (uint64_t)(added + moved) * c->config.row_bytes;
}

ek_status ek_wcache_update(struct ek_wcache *c, const ek_pool *pool, const uint64_t *mask)
{
    if (!c || !mask || !ek_pool_sound(pool)) return EK_E_ARG;
    const size_t n = c->config.neurons;
    if (ek_mask_count(mask, n) > c->config.capacity) return EK_E_NOMEM;
    struct ek_mask_diff d = {.added = c->added, .removed = c->removed, .room = c->config.capacity};
    const ek_status     differ = ek_mask_diff(c->mask, mask, n, &d); /* no bits past n */
    if (differ) return differ;

    place_added(c, d.added_count, d.removed_count);
    const ek_status s = read_added(c, pool, d.added_count);
    if (s) {
        ek_wcache_clear(c);
        return s;
    }
    const size_t moved = close_holes(c, d.added_count, d.removed_count);
    memcpy(c->mask, mask, ek_mask_words(n) * sizeof *mask);
    count_update(c, d.added_count, d.removed_count, moved);
    return EK_OK;
}

/* ---- looking ---- */

size_t ek_wcache_count(const struct ek_wcache *c)
{
    return c->count;
}

const void *ek_wcache_rows(const struct ek_wcache *c, size_t *stride)
{
    if (stride) *stride = c->stride;
    return c->rows;
}

const uint32_t *ek_wcache_active(const struct ek_wcache *c)
{
    return c->active;
}

const uint64_t *ek_wcache_mask(const struct ek_wcache *c)
{
    return c->mask;
}

ek_status ek_wcache_slots(const struct ek_wcache *c, const uint32_t *neurons, size_t count,
                          uint32_t *slots)
{
    if (!c || (count && (!neurons || !slots))) return EK_E_ARG;
    for (size_t i = 0; i < count; i++)
        if (neurons[i] >= c->config.neurons || c->pos[neurons[i]] == (uint32_t)NOWHERE)
            return EK_E_ARG;
    for (size_t i = 0; i < count; i++) slots[i] = c->pos[neurons[i]];
    return EK_OK;
}

void ek_wcache_stats(const struct ek_wcache *c, struct ek_wcache_stats *stats)
{
    const uint64_t active = c->stats.added + c->stats.hits;
    *stats                = c->stats;
    stats->churn          = active ? (double)c->stats.added / (double)active : 0;
}
