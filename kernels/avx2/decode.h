/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/decode.h - codes to floats, by shifts. */
#ifndef EK_AVX2_DECODE_H
#define EK_AVX2_DECODE_H
#include "kernels/avx2/simd.h"
#include "kernels/template/decode.h"
#endif
