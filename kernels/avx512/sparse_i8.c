/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/sparse_i8.c - lists of packed neurons, 8-bit activations, plain AVX-512. */
#include "kernels/avx512/decode.h"
#include "kernels/avx512/dot_maddubs.h"

#define FN(fmt) EK_KERNEL_SYM(sparse_mlp_i8, fmt, avx512, )
#include "kernels/template/sparse_i8.h"
