/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/gemv_packed.c - packed GEMV, float activations. */
#include "kernels/avx512/decode.h"

#define FN(fmt)        EK_KERNEL_SYM(gemv, fmt, avx512, )
#define PANELS_OF(m)   ((m) >= 4 ? 1 : 2)
#define AHEAD(streams) ((streams) == 1 ? 8192 : 2048)
#include "kernels/template/gemv_packed.h"
