/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/avx2/kv_store.c - storing keys and values, every format of caches. */
#include "kernels/avx2/simd.h"

#define FN(fmt) EK_KERNEL_SYM(kv_store, fmt, avx2, )
#include "kernels/template/kv_store.h"
