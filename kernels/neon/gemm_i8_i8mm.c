/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/gemm_i8_i8mm.c - packed GEMM, 8-bit activations, I8MM: 16 rows x 6 tokens, 24 sums
 * in registers. */
#include "kernels/neon/dot_usdot.h"

#define FN(fmt)    EK_KERNEL_SYM(gemm_i8, fmt, neon, _i8mm)
#define SET_PANELS 1
#include "kernels/template/gemm_i8.h"
