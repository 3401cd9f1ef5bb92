/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/sparse_i8_vnni.c - lists of packed neurons, 8-bit activations, AVX-VNNI. */
#include "kernels/avx2/decode.h"
#include "kernels/avx2/dot_vnni.h"

#define FN(fmt) EK_KERNEL_SYM(sparse_mlp_i8, fmt, avx2, _vnni)
#include "kernels/template/sparse_i8.h"
