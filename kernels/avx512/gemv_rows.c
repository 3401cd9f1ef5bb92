/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/gemv_rows.c - GEMV over row-major f32, f16, bf16. bf16 is shifted to f32 and
 * multiplied by FMA: vdpbf16ps runs at a quarter of that rate here and rounds x to 8 bits. */
#include "kernels/avx512/simd.h"

#define FN(fmt)        EK_KERNEL_SYM(gemv, fmt, avx512, )
#define ROWS_OF(m)     ((m) == 4 ? 2 : 4)
#define AHEAD(streams) ((streams) == 1 ? 6144 : 2048)
#include "kernels/template/gemv_rows.h"
