/* SPDX-License-Identifier: Apache-2.0 */
/* model/tier.c - weight caches side by side in one mapping, behind them the area for what does not
 * fit: all are slots of one array of neurons, so that a kernel sees no difference. */
#include "model/tier.h"

#include "ek/wcache.h"
#include "model/clock.h"
#include "model/file.h"
#include "model/row_reader.h"
#include "model/source.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct layer {
    size_t            layer;
    uint64_t          begin; /* of neuron 0 in the file */
    struct ek_wcache *cache;
    void             *memory; /* the cache's, but for its slots */
    uint32_t         *used;   /* [n] the turn of each neuron's last use */
    uint32_t          turn;
};

struct tier {
    struct row_reader *reader;
    struct layer      *layers;
    size_t             count, n, one, capacity; /* neurons of a layer, bytes of one, in a cache */
    unsigned char     *slots; /* [count][capacity], then [n] for what goes beyond: of one bytes */
    size_t             slot_bytes;
    uint64_t          *wanted, *kept; /* [words] masks of the call under way  */
    uint32_t          *inside;        /* [n] neurons of the list in the cache */
    struct row_read   *reads;         /* [n] */
    struct tier_counts counts;
    uint64_t           asked, missed;
    struct error       error;
};

static int has(const uint64_t *mask, size_t i)
{
    return (int)(mask[i / 64] >> i % 64 & 1);
}
static void put(uint64_t *mask, size_t i)
{
    mask[i / 64] |= UINT64_C(1) << i % 64;
}

/* ---- opening ---- */

/* The cache is told where its rows come from only after it has given them slots. */
static ek_status read_later(void *self, uint32_t neuron, void *dst)
{
    (void)self, (void)neuron, (void)dst;
    return EK_OK;
}

static struct ek_wcache_config cache_config(const struct tier *t, void *slots)
{
    return (struct ek_wcache_config){.struct_size = sizeof(struct ek_wcache_config),
                                     .neurons     = t->n,
                                     .capacity    = t->capacity,
                                     .row_bytes   = t->one,
                                     .read        = read_later,
                                     .slots       = slots};
}

static size_t index_bytes(const struct tier *t)
{
    static _Alignas(64) char      elsewhere[64]; /* only that there is a place counts */
    const struct ek_wcache_config c     = cache_config(t, elsewhere);
    size_t                        bytes = 0;
    (void)ek_wcache_bytes(&c, &bytes);
    return bytes + t->n * sizeof(uint32_t);
}

/* All layers alike, and a capacity for each within the budget. */
static ek_status plan(struct tier *t, const struct tier_options *o, struct error *e)
{
    const struct tensor *first = o->layers[0].neurons;
    size_t               bytes;
    for (size_t i = 1; i < o->count; i++) {
        const struct tensor *w = o->layers[i].neurons;
        if (strcmp(w->file, first->file) != 0 || w->fmt != first->fmt || w->n != first->n ||
            w->k != first->k)
            return fail(e, EK_E_ARG,
                        "%s: tensors %s and %s are of different formats or files: no weight cache",
                        o->path, first->name, w->name);
    }
    t->n = first->n, t->count = o->count, t->capacity = 1;
    if (ek_neurons_bytes(first->fmt, t->n, first->k, 2, &bytes, &t->one)) return EK_E_ARG;
    const uint64_t share = o->budget / t->count;
    size_t         fixed = index_bytes(t);
    if (share < fixed + t->one)
        return fail(
            e, EK_E_ARG,
            "%s: a weight cache of %llu MiB holds no neuron for each layer; %llu is the least",
            o->path, (unsigned long long)(o->budget >> 20),
            (unsigned long long)(((fixed + t->one) * t->count >> 20) + 1));
    t->capacity = (size_t)((share - fixed) / (t->one + 3 * sizeof(uint32_t))); /* lists of slots */
    if (t->capacity > t->n) t->capacity = t->n;
    if (!t->capacity) t->capacity = 1;
    t->counts.capacity = t->capacity;
    return EK_OK;
}

static ek_status open_layer(struct tier *t, size_t i, const struct tier_layer *from)
{
    struct layer                 *l = &t->layers[i];
    const struct ek_wcache_config c = cache_config(t, t->slots + i * t->capacity * t->one);
    size_t                        bytes;
    *l          = (struct layer){.layer = from->layer, .begin = from->neurons->begin};
    ek_status s = ek_wcache_bytes(&c, &bytes);
    if (s) return s;
    l->memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    l->used   = calloc(t->n, sizeof *l->used);
    return l->memory && l->used ? ek_wcache_init(&c, l->memory, bytes, &l->cache) : EK_E_NOMEM;
}

/* Untouched slots take no memory. */
static ek_status open_memory(struct tier *t)
{
    const size_t words = ek_mask_words(t->n);
    t->slot_bytes      = (t->count * t->capacity + t->n) * t->one;
    void *p            = mmap(NULL, t->slot_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    t->slots           = p == MAP_FAILED ? NULL : p;
    if (t->slots) want_huge_pages(t->slots, t->count * t->capacity * t->one);
    t->layers = calloc(t->count, sizeof *t->layers);
    t->wanted = calloc(words, sizeof *t->wanted);
    t->kept   = calloc(words, sizeof *t->kept);
    t->inside = calloc(t->n, sizeof *t->inside);
    t->reads  = calloc(t->n, sizeof *t->reads);
    return t->slots && t->layers && t->wanted && t->kept && t->inside && t->reads ? EK_OK
                                                                                  : EK_E_NOMEM;
}

ek_status tier_open(struct tier **out, const struct tier_options *o, struct error *e)
{
    const struct row_reader_options how = {.source = o->source};
    struct tier                    *t   = calloc(1, sizeof *t);
    if (!t) return fail(e, EK_E_NOMEM, "%s: out of memory", o->path);
    ek_status s = plan(t, o, e);
    if (!s && (s = open_memory(t))) fail(e, s, "%s: weight cache: out of memory", o->path);
    for (size_t i = 0; i < t->count && !s; i++)
        if ((s = open_layer(t, i, &o->layers[i])))
            fail(e, s, "%s: weight cache: %s", o->path, ek_status_text(s));
    if (!s) s = row_reader_open(&t->reader, o->path, &how, e);
    if (s)
        tier_close(t);
    else
        *out = t;
    return s;
}

void tier_close(struct tier *t)
{
    if (!t) return;
    row_reader_close(t->reader);
    for (size_t i = 0; t->layers && i < t->count; i++) {
        free(t->layers[i].memory);
        free(t->layers[i].used);
    }
    if (t->slots) munmap(t->slots, t->slot_bytes);
    free(t->layers);
    free(t->wanted), free(t->kept);
    free(t->inside), free(t->reads);
    free(t);
}

/* ---- what is kept ---- */

enum { AGES = 64 }; /* older is as old */

static size_t age_of(const struct layer *l, size_t neuron)
{
    const uint32_t age = l->turn - l->used[neuron];
    return age < AGES ? age : AGES - 1;
}

/* Adds to kept the neurons of the cache that were used last, `room` of them at most: whole turns,
 * the youngest first, and of the last turn that does not fit the higher ones. */
static void keep_recent(const struct tier *t, const struct layer *l, size_t room)
{
    const uint32_t *active     = ek_wcache_active(l->cache);
    const size_t    count      = ek_wcache_count(l->cache);
    size_t          ages[AGES] = {0}, limit = 0, skip = 0;
    for (size_t i = 0; i < count; i++)
        if (!has(t->wanted, active[i])) ages[age_of(l, active[i])]++;
    while (limit < AGES && ages[limit] <= room) room -= ages[limit++];
    if (limit < AGES) skip = ages[limit] - room;
    const uint64_t *mask = ek_wcache_mask(l->cache);
    for (size_t i = 0; i < t->n; i++) {
        if (!has(mask, i) || has(t->wanted, i)) continue;
        const size_t age = age_of(l, i);
        if (age > limit || (age == limit && skip && skip--)) continue;
        put(t->kept, i);
    }
}

/* kept = what the cache is to hold: the list, as far as it goes, then what was used last. */
static void choose(const struct tier *t, const struct layer *l, const uint32_t *list, size_t count,
                   size_t hits)
{
    const uint64_t *mask = ek_wcache_mask(l->cache);
    const size_t    all  = ek_mask_words(t->n) * sizeof *t->kept;
    size_t          room = t->capacity - hits; /* for those that are not there yet */
    memset(t->kept, 0, all);
    for (size_t i = 0; i < count; i++) {
        const int there = has(mask, list[i]);
        if (!there && !room) continue;
        put(t->kept, list[i]);
        room -= !there;
    }
    if (room) keep_recent(t, l, room);
}

/* ---- reading ---- */

static struct layer *find(struct tier *t, size_t layer)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->layers[i].layer == layer) return &t->layers[i];
    return NULL;
}

static void add_read(struct tier *t, const struct layer *l, size_t *reads, uint32_t neuron,
                     size_t slot)
{
    t->reads[(*reads)++] = (struct row_read){.at    = l->begin + (uint64_t)neuron * t->one,
                                             .bytes = t->one,
                                             .to    = t->slots + slot * t->one};
}

static ek_status read_all(struct tier *t, size_t reads)
{
    const ek_status s = row_reader_read(t->reader, t->reads, reads, &t->error);
    t->counts.rows_read += reads, t->counts.bytes_moved += (uint64_t)reads * t->one;
    return s;
}

/* Gives each neuron of the list its slot, and notes which are to be read; there: what the cache had
 * before. Slots of the cache were asked for together, in `inside`. */
static size_t place(struct tier *t, const struct layer *l, const uint64_t *there,
                    const uint32_t *list, size_t count, uint32_t *slots)
{
    const size_t base  = (size_t)(l - t->layers) * t->capacity;
    size_t       reads = 0, next = 0, beyond = t->count * t->capacity;
    for (size_t i = 0; i < count; i++) {
        const uint32_t neuron = list[i];
        const size_t   slot   = has(t->kept, neuron) ? base + t->inside[next++] : beyond++;
        if (!has(there, neuron)) add_read(t, l, &reads, neuron, slot);
        slots[i] = (uint32_t)slot;
    }
    return reads;
}

static ek_status fetch(struct tier *t, struct layer *l, const uint32_t *list, size_t count,
                       uint32_t *slots)
{
    const size_t words = ek_mask_words(t->n) * sizeof *t->wanted;
    size_t       hits = 0, inside = 0;
    l->turn++;
    memset(t->wanted, 0, words);
    for (size_t i = 0; i < count; i++) {
        put(t->wanted, list[i]);
        hits += (size_t)has(ek_wcache_mask(l->cache), list[i]);
        l->used[list[i]] = l->turn;
    }
    choose(t, l, list, count, hits);
    memcpy(t->wanted, ek_wcache_mask(l->cache), words); /* what was there before */
    ek_status s = ek_wcache_update(l->cache, NULL, t->kept);
    for (size_t i = 0; i < count; i++)
        if (has(t->kept, list[i])) t->inside[inside++] = list[i];
    if (!s) s = ek_wcache_slots(l->cache, t->inside, inside, t->inside);
    if (!s) s = read_all(t, place(t, l, t->wanted, list, count, slots));
    if (s) ek_wcache_clear(l->cache);
    t->asked += count, t->missed += count - hits, t->counts.hits += hits;
    return s;
}

ek_status tier_fetch(struct tier *t, size_t layer, const uint32_t *list, size_t count,
                     uint32_t *slots, struct ek_neurons *w)
{
    const double  start = seconds_now();
    struct layer *l     = find(t, layer);
    if (!l || count > t->n)
        return fail(&t->error, EK_E_ARG, "layer %zu has no stored neurons", layer);
    const ek_status s = fetch(t, l, list, count, slots);
    if (!s) w->data = t->slots, w->n = t->count * t->capacity + t->n;
    t->counts.stall_s += seconds_now() - start;
    return s;
}

ek_status tier_stream(struct tier *t, size_t layer, size_t first, size_t count,
                      struct ek_neurons *w)
{
    const double        start  = seconds_now();
    const struct layer *l      = find(t, layer);
    const size_t        beyond = t->count * t->capacity;
    size_t              reads  = 0;
    if (!l || count > t->n || first > t->n - count)
        return fail(&t->error, EK_E_ARG, "layer %zu has no stored neurons %zu to %zu", layer, first,
                    first + count);
    for (size_t i = 0; i < count; i++) add_read(t, l, &reads, (uint32_t)(first + i), beyond + i);
    const ek_status s = read_all(t, reads);
    if (!s) w->data = t->slots + beyond * t->one, w->n = count;
    t->counts.stall_s += seconds_now() - start;
    return s;
}

/* ---- looking ---- */

void tier_count(const struct tier *t, struct tier_counts *c)
{
    *c        = t->counts;
    c->churn  = t->asked ? (double)t->missed / (double)t->asked : 0;
    c->direct = row_reader_direct(t->reader);
    row_reader_counts(t->reader, &c->bytes_read, &c->requests);
}

const struct error *tier_error(const struct tier *t)
{
    return &t->error;
}
