/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/gqa_prefill.c - attention of many tokens over a cache of any format. */
#include "kernels/avx512/decode.h"

#define FN(fmt) EK_KERNEL_SYM(gqa_prefill, fmt, avx512, )
#define ROWS    12
#define COLUMNS 2
#include "kernels/template/gqa_prefill.h"
