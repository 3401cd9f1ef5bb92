/* SPDX-License-Identifier: Apache-2.0 */
/* ek/attention.h - a key/value cache of any precision and attention over it.
 *
 * A cache has slots. Which position of the text a slot holds stands in an array beside it, so that
 * a ring buffer, sinks and a truncated text need nothing of their own: a query at position p sees
 * the slots with 0 <= pos <= p that are inside the window or are sinks. */
#ifndef EK_ATTENTION_H
#define EK_ATTENTION_H
#include "ek/kernels.h"
#include "ek/pool.h"
#include "ek/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Keys and values of one layer. Layouts: docs/formats.md. */
struct ek_kv {
    size_t      struct_size; /* bytes; sizeof(struct ek_kv)                          */
    enum ek_fmt fmt;         /* EK_FMT_f32, f16, bf16, or i8: a scale per token and head */
    size_t      heads, dim;  /* of keys and values, both >= 1                        */
    size_t      slots;       /* >= 1                                                 */
    void       *data;        /* ek_kv_bytes, 64-byte aligned, zero before first use  */
};

/** Size of a cache. EK_OK; EK_E_ARG (formats that caches do not have; zero); EK_E_OVERFLOW. */
EK_API ek_status ek_kv_bytes(enum ek_fmt fmt, size_t heads, size_t dim, size_t slots,
                             size_t *bytes);

/**
 * Stores keys and values of m tokens, rounded to the cache's format.
 *
 * Shapes   k, v: [m][ld] f32, heads * dim used    slot: [m], each < kv->slots, distinct
 * Accuracy f16, bf16: to nearest even; i8: d = max|x| / 127 rounded up to an f16, |error| <= d / 2.
 *          A value that is not finite or does not fit f16 makes outputs NaN or infinite, no more.
 * Returns  EK_OK; EK_E_ARG; EK_E_UNSUPPORTED when t has no kernel. */
EK_API ek_status ek_kv_store(const struct ek_kernels *t, const ek_pool *pool,
                             const struct ek_kv *kv, const float *k, const float *v, size_t ld,
                             size_t m, const int32_t *slot);

/** Inverse of ek_kv_store for one slot, k and v [heads][dim]: for tests and tools. */
EK_API ek_status ek_kv_load(const struct ek_kv *kv, size_t slot, float *k, float *v);

struct ek_attention {
    size_t              struct_size; /* bytes; sizeof(struct ek_attention)                */
    const struct ek_kv *kv;
    const int32_t      *kv_pos;             /* [used] position of each slot; < 0: empty          */
    size_t              used;               /* slots [0, used) may hold something; <= kv->slots  */
    const float        *q;                  /* [m][ldq] f32, heads * dim used                    */
    const int32_t      *q_pos;              /* [m] positions, ascending                          */
    float              *y;                  /* [m][ldy] f32, heads * dim written                 */
    size_t              m, heads, ldq, ldy; /* heads: a multiple of kv->heads        */
    size_t              window;             /* tokens that a query sees, itself included; 0: all */
    size_t              sinks;              /* positions < sinks are seen despite the window     */
    float               scale;              /* of q . k, > 0; normally dim^-1/2                  */
};

/** Working memory of ek_attention with this pool, for any m and used up to these. */
EK_API ek_status ek_attention_work_bytes(const struct ek_kernels *t, const struct ek_attention *a,
                                         const ek_pool *pool, size_t *bytes);

/**
 * y = softmax(scale q K^T) V over the slots each query sees. A query that sees none gives 0.
 *
 * Heads    query head h reads kv head h / (heads / kv->heads).
 * Memory   work: 64-byte aligned, one per call in flight. No n^2 buffer; nothing is allocated.
 * Threads  one token splits the slots in fixed stretches merged in a fixed order, more tokens split
 *          by heads and tiles of queries: the same bits for any pool.
 * Accuracy against exact arithmetic on the stored keys and values: docs/numerics.md.
 * Returns  EK_OK; EK_E_ARG; EK_E_NOMEM; EK_E_UNSUPPORTED; EK_E_OVERFLOW. y untouched on error.
 * Source   Milakov and Gimelshein, Online normalizer calculation for softmax, 2018; Dao et al.,
 *          FlashAttention, 2022. */
EK_API ek_status ek_attention(const struct ek_kernels *t, const ek_pool *pool,
                              const struct ek_attention *a, void *work, size_t work_bytes);

#ifdef __cplusplus
}
#endif
#endif
