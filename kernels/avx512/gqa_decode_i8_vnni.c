/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/gqa_decode_i8_vnni.c - attention of one token over a cache of 8-bit numbers. */
#include "kernels/avx512/dot_vnni.h"

#define FN(fmt)     EK_KERNEL_SYM(gqa_decode, fmt, avx512, _vnni)
#define KEY_PANELS  4
#define VALUE_UNITS 4
#include "kernels/template/gqa_decode_i8.h"
