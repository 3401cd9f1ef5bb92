/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/sparse_i8_i8mm.c - lists of packed neurons, 8-bit activations, I8MM. */
#include "kernels/neon/decode.h"
#include "kernels/neon/dot_usdot.h"

#define FN(fmt) EK_KERNEL_SYM(sparse_mlp_i8, fmt, neon, _i8mm)
#include "kernels/template/sparse_i8.h"
