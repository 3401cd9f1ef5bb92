/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/gqa_decode.c - attention of one token over a cache of floats. */
#include "kernels/avx2/simd.h"

#define FN(op, fmt)   EK_KERNEL_SYM(op, fmt, avx2, )
#define KEY_PANELS    1
#define VALUE_VECTORS 2
#include "kernels/template/gqa_decode.h"
