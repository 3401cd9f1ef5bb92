/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/probe.c - pure reads and register-only FMA. */
#include "kernels/avx512/simd.h"

#define READ(variant) EK_KERNEL_SYM(read, f32, avx512, variant)
#define PEAK()        EK_KERNEL_SYM(peak, f32, avx512, )
#include "kernels/template/probe.h"
