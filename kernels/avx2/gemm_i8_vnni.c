/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/gemm_i8_vnni.c - packed GEMM, 8-bit activations, AVX-VNNI: 16 rows x 6 tokens,
 * twelve integer sums in registers. */
#include "kernels/avx2/dot_vnni.h"

#define FN(fmt)    EK_KERNEL_SYM(gemm_i8, fmt, avx2, _vnni)
#define SET_PANELS 1
#include "kernels/template/gemm_i8.h"
