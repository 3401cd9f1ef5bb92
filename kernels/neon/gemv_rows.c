/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/gemv_rows.c - GEMV over row-major f32, f16, bf16. */
#include "kernels/neon/simd.h"

#define FN(fmt)        EK_KERNEL_SYM(gemv, fmt, neon, )
#define ROWS_OF(m)     ((m) == 4 ? 2 : 4)
#define AHEAD(streams) 6144
#include "kernels/template/gemv_rows.h"
