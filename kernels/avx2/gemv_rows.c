/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/gemv_rows.c - GEMV over row-major f32, f16, bf16. */
#include "kernels/avx2/simd.h"

#define FN(fmt)        EK_KERNEL_SYM(gemv, fmt, avx2, )
#define ROWS_OF(m)     ((m) == 4 ? 1 : (m) == 2 ? 2 : 4)
#define AHEAD(streams) ((streams) == 1 ? 6144 : 2048)
#include "kernels/template/gemv_rows.h"
