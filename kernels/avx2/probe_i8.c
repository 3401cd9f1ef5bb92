/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/probe_i8.c - register-only dot products of bytes, without VNNI. */
#include "kernels/avx2/dot_maddubs.h"

#define PEAK_I8() EK_KERNEL_SYM(peak_i8, f32, avx2, )
#include "kernels/template/probe_i8.h"
