/* SPDX-License-Identifier: Apache-2.0 */
/* tests/broken.h - kernels broken on purpose, each in one way that real kernels break. A new one: a
 * function and a row of the table in the file of its family. */
#ifndef EK_TESTS_BROKEN_H
#define EK_TESTS_BROKEN_H
#include "ek/ek.h"

/* The best kernels of this machine, which the broken ones call. */
extern struct ek_kernels sound;

#define BROKEN(op_, fmt_, fn_)                                                                     \
    {                                                                                              \
        .name = #fn_, .isa = "broken", .variant = "", .op = EK_OP_##op_, .fmt = EK_FMT_##fmt_,     \
        .fn.op_ = fn_                                                                              \
    }

struct broken_kernels {
    const struct ek_kernel *kernels;
    size_t                  count;
};
extern const struct broken_kernels broken_linear, broken_vector, broken_attention, broken_lists;
#endif
