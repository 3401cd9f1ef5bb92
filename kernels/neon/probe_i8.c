/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/probe_i8.c - register-only dot products of bytes, any Armv8. */
#include "kernels/neon/dot_widen.h"

#define PEAK_I8() EK_KERNEL_SYM(peak_i8, f32, neon, )
#include "kernels/template/probe_i8.h"
