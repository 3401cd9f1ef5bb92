/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/gemv_i8_dotprod.c - packed GEMV, 8-bit activations, sdot. */
#include "kernels/neon/dot_sdot.h"

#define FN(fmt)        EK_KERNEL_SYM(gemv_i8, fmt, neon, _dotprod)
#define PANELS_OF(m)   ((m) <= 2 ? 2 : 1)
#define AHEAD(streams) 8192
#include "kernels/template/gemv_i8.h"
