/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/sparse_f32.c - lists of neurons and of columns, float activations. */
#include "kernels/avx2/decode.h"

#define FN(op, fmt) EK_KERNEL_SYM(op, fmt, avx2, )
#include "kernels/template/sparse_f32.h"
