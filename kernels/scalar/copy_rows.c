/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/scalar/copy_rows.c - reference for rows of bytes. */
#include "kernels/contract.h"

#include <string.h>

void EK_KERNEL_SYM(copy_rows, f32, scalar, )(const struct ek_copy_rows_args *a, size_t begin,
                                             size_t end)
{
    for (size_t i = begin; i < end; i++)
        memcpy((char *)a->dst + a->to[i] * a->to_stride,
               (const char *)a->src + a->from[i] * a->from_stride, a->bytes);
}
