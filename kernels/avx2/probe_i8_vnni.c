/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/probe_i8_vnni.c - register-only dot products of bytes, AVX-VNNI. */
#include "kernels/avx2/dot_vnni.h"

#define PEAK_I8() EK_KERNEL_SYM(peak_i8, f32, avx2, _vnni)
#include "kernels/template/probe_i8.h"
