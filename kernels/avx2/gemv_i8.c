/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/gemv_i8.c - packed GEMV, 8-bit activations, without VNNI. */
#include "kernels/avx2/dot_maddubs.h"

#define FN(fmt)        EK_KERNEL_SYM(gemv_i8, fmt, avx2, )
#define PANELS_OF(m)   ((m) <= 2 ? 2 : 1)
#define AHEAD(streams) ((streams) == 1 ? 8192 : 2048)
#include "kernels/template/gemv_i8.h"
