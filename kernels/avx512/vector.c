/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/vector.c - the vector kernels of kernels/template/vector.h. */
#include "kernels/avx512/simd.h"

#define FN(op) EK_KERNEL_SYM(op, f32, avx512, )
#include "kernels/template/vector.h"
