/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/gqa_decode.c - attention of one token over a cache of floats. */
#include "kernels/avx512/simd.h"

#define FN(op, fmt)   EK_KERNEL_SYM(op, fmt, avx512, )
#define KEY_PANELS    2
#define VALUE_VECTORS 4
#include "kernels/template/gqa_decode.h"
