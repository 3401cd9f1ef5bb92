/* SPDX-License-Identifier: Apache-2.0 */
/* model/net.h - a small network that learns yes or no: linears with an activation between them,
 * weighted cross entropy of sigmoids, AdamW. What routers and predictors are trained with. */
#ifndef EK_MODEL_NET_H
#define EK_MODEL_NET_H
#include "ek/ek.h"
#include "model/error.h"

#include <stddef.h>
#include <stdint.h>

enum { NET_LAYERS_MAX = 8 };

struct net_options {
    const struct ek_kernels *kernels;
    const ek_pool           *pool;                      /* NULL: serial. Changes no bit         */
    size_t                   width[NET_LAYERS_MAX + 1]; /* inputs, outputs of each layer        */
    size_t                   layers;                    /* 1..NET_LAYERS_MAX                    */
    int                      bias;                      /* each layer has one                   */
    enum ek_act_kind         act;      /* ReLU, SiLU, GELU; EK_ACT_KINDS: none       */
    size_t                   batch;    /* most rows at a time                        */
    uint64_t                 seed;     /* of the first weights: normal, Glorot's deviation       */
    double                   decay;    /* AdamW's; biases have none                  */
    float                    positive; /* weight of an answer that is yes            */
    float                    negative; /* ... and of one that is no                  */
};

/** Weights, gradients and one batch. One thread at a time. */
struct net;

ek_status net_open(struct net **out, const struct net_options *o, struct error *e);
void      net_close(struct net *n);

/** To be filled before each batch: inputs [batch][width[0]]; answers, 0 or 1, [batch][outputs]. */
float *net_inputs(struct net *n);
float *net_answers(struct net *n);

/** Logits [m][outputs] of the inputs; they stay until the next call. */
ek_status net_forward(struct net *n, size_t m, const float **logits);
/** Behind net_forward: sum over the rows of their cross entropy, itself a sum over outputs. */
double net_loss(struct net *n, size_t m);
/** Behind net_forward: the gradient of net_loss / m. */
ek_status net_backward(struct net *n, size_t m);
/** Moves the weights along it. */
void net_step(struct net *n, double rate);

/** All weights, layer by layer, matrix [outputs][inputs] then bias; their gradients likewise. */
float       *net_values(struct net *n, size_t *count);
const float *net_gradient(const struct net *n);
/** Matrix and bias (or NULL) of a layer. */
const float *net_matrix(const struct net *n, size_t layer);
const float *net_bias(const struct net *n, size_t layer);
#endif
