/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/gemm_i8_dotprod.c - packed GEMM, 8-bit activations, sdot: 16 rows x 6 tokens, 24
 * sums in registers. */
#include "kernels/neon/dot_sdot.h"

#define FN(fmt)    EK_KERNEL_SYM(gemm_i8, fmt, neon, _dotprod)
#define SET_PANELS 1
#include "kernels/template/gemm_i8.h"
