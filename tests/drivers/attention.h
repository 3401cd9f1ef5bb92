/* SPDX-License-Identifier: Apache-2.0 */
/* tests/drivers/attention.h - what the attention drivers share: a filled cache, masks, exact
 * attention over what the cache holds with the error that f32 may make. */
#ifndef EK_DRIVER_ATTENTION_H
#define EK_DRIVER_ATTENTION_H
#include "tests/driver.h"

enum { DIM_H, DIM_KV, DIM_D, DIM_LEN, DIM_M };
extern const char *const attention_dims[];

/* A cache of the case's shape and what a query may see of it. */
struct scene {
    struct ek_gqa_cache cache;
    struct ek_gqa_mask  mask;
    size_t              group, dp;
    int32_t             last;  /* the position after which nothing is stored */
    float              *k, *v; /* [slots][heads][dim] as stored; NULL when timing */
};
/* Kinds of masks: which positions lie where, what is empty, window, sinks. Timing: all in order. */
struct scene scene_make(struct ek_case *c);
void         scene_drop(struct scene *s);
int          scene_sees(const struct scene *s, size_t slot, int32_t pos);

/* One query head at `pos` over slots [begin, end): y[d] = sum of weights times values, relative to
 * the largest score, with bounds of the error of y, of the sum and of the largest score. */
struct exact {
    double max, sum, max_tol, sum_tol;
    size_t seen;
};
struct exact exact_attention(const struct scene *s, const struct ek_case *c, size_t kv_head,
                             const double *q, int32_t pos, float scale, size_t begin, size_t end,
                             double *y, double *tol);

size_t attention_stream(enum ek_fmt fmt, const struct ek_shape *s);
#endif
