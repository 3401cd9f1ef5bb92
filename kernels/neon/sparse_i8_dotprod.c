/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/sparse_i8_dotprod.c - lists of packed neurons, 8-bit activations, dot products. */
#include "kernels/neon/decode.h"
#include "kernels/neon/dot_sdot.h"

#define FN(fmt) EK_KERNEL_SYM(sparse_mlp_i8, fmt, neon, _dotprod)
#include "kernels/template/sparse_i8.h"
