/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/probe_i8_i8mm.c - register-only dot products of bytes, I8MM. */
#include "kernels/neon/dot_usdot.h"

#define PEAK_I8() EK_KERNEL_SYM(peak_i8, f32, neon, _i8mm)
#include "kernels/template/probe_i8.h"
