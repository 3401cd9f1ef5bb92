/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx512/kv_store.c - storing keys and values, every format of caches. */
#include "kernels/avx512/simd.h"

#define FN(fmt) EK_KERNEL_SYM(kv_store, fmt, avx512, )
#include "kernels/template/kv_store.h"
