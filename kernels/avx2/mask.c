/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/mask.c - the kernels of kernels/template/mask.h. */
#include "kernels/avx2/simd.h"

#define FN(op) EK_KERNEL_SYM(op, f32, avx2, )
#include "kernels/template/mask.h"
