/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/gemm.c - GEMM with float activations: 16 rows x 6 tokens in 12 registers. */
#include "kernels/avx2/decode.h"

#define FN(fmt)      EK_KERNEL_SYM(gemm, fmt, avx2, )
#define SET_PANELS   1
#define PAIRED_TILES 0
#include "kernels/template/gemm_f32.h"
