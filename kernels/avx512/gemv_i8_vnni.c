/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/gemv_i8_vnni.c - packed GEMV, 8-bit activations, AVX512-VNNI. */
#include "kernels/avx512/dot_vnni.h"

#define FN(fmt)        EK_KERNEL_SYM(gemv_i8, fmt, avx512, _vnni)
#define PANELS_OF(m)   ((m) == 8 ? 1 : 2)
#define AHEAD(streams) ((streams) == 1 ? 8192 : 2048)
#include "kernels/template/gemv_i8.h"
