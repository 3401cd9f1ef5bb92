/* SPDX-License-Identifier: Apache-2.0 */
/* ek/wcache.h - the weights of the active neurons, side by side, kept up to date from mask to mask.
 *
 * A row is whatever a neuron needs, in one piece: its row of gate, its row of up, its column of
 * down. All rows lie in a slower or larger tier, the source; the cache holds a copy of the active
 * ones. A new mask moves as few rows as its difference from the last one asks for:
 *
 *     the i-th neuron removed gives its slot to the i-th added; further added ones are appended;
 *     further removed ones are filled with the row of the last slot, and the cache shrinks.
 *
 * Slots are therefore in no order. A kernel that is to give the same bits with and without the
 * cache walks neurons in ascending order and asks ek_wcache_slots where they are. Reading rows in
 * place costs less than copying them, so a source in the same memory is better used without a
 * cache. */
#ifndef EK_WCACHE_H
#define EK_WCACHE_H
#include "ek/kernels.h"
#include "ek/mask.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Reads the row of a neuron to dst, row_bytes of it. With a pool it is called from several threads
 * at once, each time for another neuron.
 * Returns  EK_OK, or what ek_wcache_update is to return. */
typedef ek_status ek_wcache_read_fn(void *self, uint32_t neuron, void *dst);

struct ek_wcache_config {
    size_t      struct_size;          /* bytes; sizeof(struct ek_wcache_config)                   */
    size_t      neurons;              /* in the source; 1..2^32 - 1                               */
    size_t      capacity;             /* most neurons active at once; 1..neurons                  */
    size_t      row_bytes;            /* >= 1                                                     */
    const void *rows;                 /* source in memory: row i at rows + i * stride; or NULL    */
    size_t      stride;               /* bytes, >= row_bytes; of rows                             */
    const struct ek_kernels *kernels; /* what copies rows; needed with them, outlives the cache   */
    ek_wcache_read_fn       *read;    /* source behind a function, when rows is NULL              */
    void                    *self;    /* its first argument                                       */
    void                    *slots;   /* [capacity] slots elsewhere than in the cache's memory, e.g.
                                       of several caches side by side; 64-byte aligned; or NULL */
};

struct ek_wcache; /* in the caller's memory */

/** Counted since ek_wcache_init, refused updates not. */
struct ek_wcache_stats {
    uint64_t updates;
    uint64_t hits;           /* active neurons that were there already                          */
    uint64_t added, removed; /* neurons                                                         */
    uint64_t rows_read;      /* from the source: as many as were added                          */
    uint64_t rows_moved;     /* from the last slot into a hole                                  */
    uint64_t bytes_moved;    /* (rows_read + rows_moved) * row_bytes                            */
    double   churn;          /* added / (added + hits): share of active rows that was new; or 0 */
};

/** Memory of a cache. EK_OK; EK_E_ARG for a bad config; EK_E_OVERFLOW. */
EK_API ek_status ek_wcache_bytes(const struct ek_wcache_config *config, size_t *bytes);

/**
 * An empty cache: no neuron is active.
 *
 * Memory   memory: bytes >= ek_wcache_bytes, 64-byte aligned, the caller's; it holds everything.
 *          The source must outlive the cache. Pages of slots are touched when they are first used.
 * Returns  EK_OK; EK_E_ARG; EK_E_NOMEM for too little memory; EK_E_OVERFLOW. On error *cache is
 *          untouched. */
EK_API ek_status ek_wcache_init(const struct ek_wcache_config *config, void *memory, size_t bytes,
                                struct ek_wcache **cache);

/**
 * Makes the active neurons those of mask.
 *
 * Shapes   mask: [ek_mask_words(neurons)]
 * Cost     rows copied: added + max(0, removed - added), less the surplus removed neurons whose
 *          slot is the last when their turn comes
 * Threads  rows read are split over pool (NULL: serial), each slot written by one task; the same
 *          bytes and slots for any pool. One call at a time per cache, and no reader meanwhile.
 * Returns  EK_OK; EK_E_ARG for a null pointer, a bad pool, bits past neurons; EK_E_NOMEM when mask
 *          has more than capacity neurons: nothing changes. What read returned when it failed (of
 *          several, one): the cache is then empty, as after ek_wcache_clear.
 * Source   NimbleEdge's sparse_transformers, weight cache; deletion as in Alizadeh et al., LLM in a
 *          flash, 2023. */
EK_API ek_status ek_wcache_update(struct ek_wcache *cache, const ek_pool *pool,
                                  const uint64_t *mask);

/** Forgets all rows; counters stay. */
EK_API void ek_wcache_clear(struct ek_wcache *cache);

/** Active neurons: slots [0, count) are in use. */
EK_API size_t ek_wcache_count(const struct ek_wcache *cache);

/** Slot 0; slot s is at s * *stride bytes, 64-byte aligned. Stays where it is. */
EK_API const void *ek_wcache_rows(const struct ek_wcache *cache, size_t *stride);

/** The neuron of each slot: [count]. */
EK_API const uint32_t *ek_wcache_active(const struct ek_wcache *cache);

/** The mask of the last update. */
EK_API const uint64_t *ek_wcache_mask(const struct ek_wcache *cache);

/**
 * The slot of each neuron of a list, in its order.
 *
 * Shapes   neurons, slots: [count]; slots may be neurons
 * Returns  EK_OK; EK_E_ARG for a null pointer or a neuron that is not active: slots untouched. */
EK_API ek_status ek_wcache_slots(const struct ek_wcache *cache, const uint32_t *neurons,
                                 size_t count, uint32_t *slots);

/** What the cache has done so far. */
EK_API void ek_wcache_stats(const struct ek_wcache *cache, struct ek_wcache_stats *stats);

#ifdef __cplusplus
}
#endif
#endif
