/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/gemv_packed.c - packed GEMV, float activations. */
#include "kernels/avx2/decode.h"

#define FN(fmt)        EK_KERNEL_SYM(gemv, fmt, avx2, )
#define PANELS_OF(m)   ((m) <= 2 ? 2 : 1)
#define AHEAD(streams) ((streams) == 1 ? 8192 : 2048)
#include "kernels/template/gemv_packed.h"
