/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/gemm.c - GEMM with float activations: 16 rows x 6 tokens in 24 registers. */
#include "kernels/neon/decode.h"

#define FN(fmt)      EK_KERNEL_SYM(gemm, fmt, neon, )
#define SET_PANELS   1
#define PAIRED_TILES 0
#include "kernels/template/gemm_f32.h"
