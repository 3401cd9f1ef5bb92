/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/gemv_packed.c - packed GEMV, float activations. */
#include "kernels/neon/decode.h"

#define FN(fmt)        EK_KERNEL_SYM(gemv, fmt, neon, )
#define PANELS_OF(m)   ((m) <= 2 ? 2 : 1)
#define AHEAD(streams) 8192
#include "kernels/template/gemv_packed.h"
