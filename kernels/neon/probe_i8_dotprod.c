/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/probe_i8_dotprod.c - register-only dot products of bytes, sdot. */
#include "kernels/neon/dot_sdot.h"

#define PEAK_I8() EK_KERNEL_SYM(peak_i8, f32, neon, _dotprod)
#include "kernels/template/probe_i8.h"
