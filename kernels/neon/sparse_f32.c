/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/sparse_f32.c - lists of neurons and of columns, float activations. */
#include "kernels/neon/decode.h"

#define FN(op, fmt) EK_KERNEL_SYM(op, fmt, neon, )
#include "kernels/template/sparse_f32.h"
