/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/sparse_i8.c - lists of packed neurons, 8-bit activations, plain AVX2. */
#include "kernels/avx2/decode.h"
#include "kernels/avx2/dot_maddubs.h"

#define FN(fmt) EK_KERNEL_SYM(sparse_mlp_i8, fmt, avx2, )
#include "kernels/template/sparse_i8.h"
