/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/gqa_decode_i8_i8mm.c - attention of one token over a cache of 8-bit numbers. */
#include "kernels/neon/dot_usdot.h"

#define FN(fmt)     EK_KERNEL_SYM(gqa_decode, fmt, neon, _i8mm)
#define KEY_PANELS  1
#define VALUE_UNITS 1
#include "kernels/template/gqa_decode_i8.h"
