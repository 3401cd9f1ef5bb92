/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/copy_rows.c - the kernel of kernels/template/copy_rows.h. */
#include "kernels/avx512/simd.h"

#define FN(op) EK_KERNEL_SYM(op, f32, avx512, )
#include "kernels/template/copy_rows.h"
