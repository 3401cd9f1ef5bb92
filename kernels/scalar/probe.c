/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/scalar/probe.c - reference for the two roofs: reading and multiply-adding. */
#include "kernels/contract.h"

void EK_KERNEL_SYM(read, f32, scalar, )(const struct ek_read_args *a, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        const uint32_t *p   = (const uint32_t *)a->p + i * (EK_READ_BLOCK / sizeof *p);
        uint32_t        sum = 0;
        for (size_t j = 0; j < EK_READ_BLOCK / sizeof *p; j++) sum += p[j];
        a->sum[i] = sum;
    }
}

#define PEAK(op)                                                                                   \
    void EK_KERNEL_SYM(op, f32, scalar, )(const struct ek_##op##_args *a, size_t begin,            \
                                          size_t end)                                              \
    {                                                                                              \
        for (size_t i = begin; i < end; i++) a->out[i] = (float)(a->iters * (1 + i % 7));          \
    }
PEAK(peak)
PEAK(peak_i8)
