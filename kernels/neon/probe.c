/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/probe.c - pure reads and register-only FMA. */
#include "kernels/neon/simd.h"

#define READ(variant) EK_KERNEL_SYM(read, f32, neon, variant)
#define PEAK()        EK_KERNEL_SYM(peak, f32, neon, )
#include "kernels/template/probe.h"
