/* SPDX-License-Identifier: Apache-2.0 */
/* ops/dispatch.c - the registry as data, and the choice among its rows. */
#include "kernels/contract.h"

#include <stdlib.h>

static const struct ek_kernel registry[] = {
#define EK_KERNEL(o, f, i, v, p, n)                                                                \
    {.name    = "ek_" #o "_" #f "_" #i #v,                                                         \
     .isa     = #i,                                                                                \
     .variant = &#v[sizeof #v > 1],                                                                \
     .op      = EK_OP_##o,                                                                         \
     .fmt     = EK_FMT_##f,                                                                        \
     .prio    = (p),                                                                               \
     .needs   = (n),                                                                               \
     .tile    = (n)&EK_CPU_amx ? EK_TILE_AMX : EK_TILE,                                            \
     .fn.o    = EK_KERNEL_SYM(o, f, i, v)},
#include "kernels/kernels.def"
#undef EK_KERNEL
};
enum { KERNELS = sizeof registry / sizeof *registry };

static const struct ek_op_info op_info[EK_OP_COUNT] = {
#define EK_OP(op, text, act) {#op, text, act},
#include "ek/ops.def"
#undef EK_OP
};

size_t ek_kernel_count(void)
{
    return KERNELS;
}

const struct ek_kernel *ek_kernel_at(size_t i)
{
    return i < KERNELS ? &registry[i] : NULL;
}

const struct ek_op_info *ek_op_info(enum ek_op op)
{
    return (unsigned)op < EK_OP_COUNT ? &op_info[op] : NULL;
}

/* The table's member for an op, as an array over formats. */
static const struct ek_kernel **slots(struct ek_kernels *t, enum ek_op op)
{
    switch (op) {
#define EK_OP(op, text, act)                                                                       \
    case EK_OP_##op:                                                                               \
        return t->op;
#include "ek/ops.def"
#undef EK_OP
    case EK_OP_COUNT: break;
    }
    return NULL;
}

ek_status ek_kernels_select(uint64_t cpu, struct ek_kernels *t)
{
    if (!t) return EK_E_ARG;
    *t = (struct ek_kernels){
        .struct_size = sizeof *t, .cpu = cpu, .streams = (cpu & EK_CPU_onestream) != 0};
    for (size_t i = 0; i < KERNELS; i++) {
        const struct ek_kernel  *k = &registry[i];
        const struct ek_kernel **s = &slots(t, k->op)[k->fmt];
        if ((k->needs & cpu) == k->needs && (!*s || (*s)->prio < k->prio)) *s = k;
    }
    return EK_OK;
}

ek_status ek_kernels_default(struct ek_kernels *t)
{
    uint64_t        cpu;
    const ek_status s = ek_cpu_restrict(ek_cpu_detect(), getenv("EK_ISA"), &cpu);
    return s ? s : ek_kernels_select(cpu, t);
}
