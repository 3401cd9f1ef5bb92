/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/gqa_prefill.c - attention of many tokens over a cache of any format. */
#include "kernels/neon/decode.h"

#define FN(fmt) EK_KERNEL_SYM(gqa_prefill, fmt, neon, )
#define ROWS    6
#define COLUMNS 1
#include "kernels/template/gqa_prefill.h"
