/* SPDX-License-Identifier: Apache-2.0 */
/* model/net_inner.h - what forward and backward share. Every number is made by one task in an order
 * of its own, so that threads change no bit. */
#ifndef EK_MODEL_NET_INNER_H
#define EK_MODEL_NET_INNER_H
#include "model/net.h"

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

/* A task over rows of a batch. */
struct rows {
    struct net         *n;
    const struct layer *l;
    const float        *in;
    float              *out;
    size_t              m;
};

/* A matrix as ek_linear takes it. */
static inline struct ek_weights net_rows(const float *data, size_t n, size_t k)
{
    return (struct ek_weights){
        .fmt = EK_FMT_f32, .layout = ek_fmt_info(EK_FMT_f32)->layout, .n = n, .k = k, .data = data};
}

/* y [m][w.n] = x [m][w.k] W^T */
ek_status net_multiply(const struct net *n, struct ek_weights w, const float *x, size_t m,
                       float *y);
#endif
