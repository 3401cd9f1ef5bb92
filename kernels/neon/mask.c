/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/mask.c - the kernels of kernels/template/mask.h. */
#include "kernels/neon/simd.h"

#define FN(op) EK_KERNEL_SYM(op, f32, neon, )
#include "kernels/template/mask.h"
