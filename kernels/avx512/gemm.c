/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/gemm.c - GEMM with float activations: 32 rows x 12 tokens in 24 registers. */
#include "kernels/avx512/decode.h"

#define FN(fmt)      EK_KERNEL_SYM(gemm, fmt, avx512, )
#define SET_PANELS   2
#define PAIRED_TILES 1
#include "kernels/template/gemm_f32.h"
