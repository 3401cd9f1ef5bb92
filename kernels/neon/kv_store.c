/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/neon/kv_store.c - storing keys and values, every format of caches. */
#include "kernels/neon/simd.h"

#define FN(fmt) EK_KERNEL_SYM(kv_store, fmt, neon, )
#include "kernels/template/kv_store.h"
