/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/gemm_i8.c - packed GEMM, 8-bit activations, without VNNI: 16 rows x 6 tokens, twelve
 * integer sums in registers. */
#include "kernels/avx2/dot_maddubs.h"

#define FN(fmt)    EK_KERNEL_SYM(gemm_i8, fmt, avx2, )
#define SET_PANELS 1
#include "kernels/template/gemm_i8.h"
