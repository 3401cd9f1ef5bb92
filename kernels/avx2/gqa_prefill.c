/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/gqa_prefill.c - attention of many tokens over a cache of any format. */
#include "kernels/avx2/decode.h"

#define FN(fmt) EK_KERNEL_SYM(gqa_prefill, fmt, avx2, )
#define ROWS    6
#define COLUMNS 1
#include "kernels/template/gqa_prefill.h"
