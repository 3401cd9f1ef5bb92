/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/decode.h - codes to floats, by shifts. */
#ifndef EK_NEON_DECODE_H
#define EK_NEON_DECODE_H
#include "kernels/neon/simd.h"
#include "kernels/template/decode.h"
#endif
