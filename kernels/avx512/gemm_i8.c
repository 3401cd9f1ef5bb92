/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/gemm_i8.c - packed GEMM, 8-bit activations, without VNNI: 32 rows x 6 tokens,
 * twelve integer and twelve float sums in registers. */
#include "kernels/avx512/dot_maddubs.h"

#define FN(fmt)    EK_KERNEL_SYM(gemm_i8, fmt, avx512, )
#define SET_PANELS 2
#include "kernels/template/gemm_i8.h"
