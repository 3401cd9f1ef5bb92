/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/mask.c - the kernels of kernels/template/mask.h. */
#include "kernels/avx512/simd.h"

#define FN(op) EK_KERNEL_SYM(op, f32, avx512, )
#include "kernels/template/mask.h"
