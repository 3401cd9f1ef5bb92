/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/gqa_decode.c - attention of one token over a cache of floats. */
#include "kernels/neon/simd.h"

#define FN(op, fmt)   EK_KERNEL_SYM(op, fmt, neon, )
#define KEY_PANELS    1
#define VALUE_VECTORS 4
#include "kernels/template/gqa_decode.h"
