/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/sparse_i8.c - lists of packed neurons, 8-bit activations, any Armv8. */
#include "kernels/neon/decode.h"
#include "kernels/neon/dot_widen.h"

#define FN(fmt) EK_KERNEL_SYM(sparse_mlp_i8, fmt, neon, )
#include "kernels/template/sparse_i8.h"
