/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/gemv_i8.c - packed GEMV, 8-bit activations, any Armv8. */
#include "kernels/neon/dot_widen.h"

#define FN(fmt)        EK_KERNEL_SYM(gemv_i8, fmt, neon, )
#define PANELS_OF(m)   ((m) <= 2 ? 2 : 1)
#define AHEAD(streams) 8192
#include "kernels/template/gemv_i8.h"
