/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/gqa_decode_i8_vnni.c - attention of one token over a cache of 8-bit numbers. */
#include "kernels/avx2/dot_vnni.h"

#define FN(fmt)     EK_KERNEL_SYM(gqa_decode, fmt, avx2, _vnni)
#define KEY_PANELS  1
#define VALUE_UNITS 1
#include "kernels/template/gqa_decode_i8.h"
