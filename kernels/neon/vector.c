/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/vector.c - the vector kernels of kernels/template/vector.h. */
#include "kernels/neon/simd.h"

#define FN(op) EK_KERNEL_SYM(op, f32, neon, )
#include "kernels/template/vector.h"
