/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/copy_rows.c - the kernel of kernels/template/copy_rows.h. */
#include "kernels/neon/simd.h"

#define FN(op) EK_KERNEL_SYM(op, f32, neon, )
#include "kernels/template/copy_rows.h"
