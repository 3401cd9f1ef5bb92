/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/probe_i8_vnni.c - register-only dot products of bytes, AVX512-VNNI. */
#include "kernels/avx512/dot_vnni.h"

#define PEAK_I8() EK_KERNEL_SYM(peak_i8, f32, avx512, _vnni)
#include "kernels/template/probe_i8.h"
