/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/scalar/math.h - activations, for the reference. */
#ifndef EK_SCALAR_MATH_H
#define EK_SCALAR_MATH_H
#include "kernels/contract.h"

#include <math.h>

static inline double scalar_activation(enum ek_act_kind kind, double x)
{
    switch (kind) {
    case EK_ACT_RELU: return x < 0 ? 0 : x;
    case EK_ACT_SILU: return x / (1 + exp(-x));
    case EK_ACT_GELU_TANH:
        return x / (1 + exp(-2 * 0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case EK_ACT_GELU_ERF: return 0.5 * x * erfc(-x * 0.70710678118654752440);
    case EK_ACT_SIGMOID: return 1 / (1 + exp(-x));
    case EK_ACT_TANH: return tanh(x);
    case EK_ACT_EXP: return exp(x);
    case EK_ACT_KINDS: break;
    }
    return (double)NAN;
}
#endif
