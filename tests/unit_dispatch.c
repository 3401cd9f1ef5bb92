/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_dispatch.c - EK_ISA's grammar, selection by bits, the registry's own consistency. */
#include "ek/ek.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static uint64_t restricted(uint64_t cpu, const char *isa)
{
    uint64_t out = 0;
    cr_assert_eq(ek_cpu_restrict(cpu, isa, &out), EK_OK, "%s", isa);
    return out;
}

Test(dispatch, isa_grammar)
{
    const uint64_t x86 = EK_CPU_avx2 | EK_CPU_avxvnni | EK_CPU_avx512 | EK_CPU_avx512vnni;
    cr_assert_eq(restricted(x86, NULL), x86);
    cr_assert_eq(restricted(x86, ""), x86);
    cr_assert_eq(restricted(x86, "scalar"), 0);
    cr_assert_eq(restricted(x86, "avx2"), EK_CPU_avx2 | EK_CPU_avxvnni);
    cr_assert_eq(restricted(x86, "avx512"), x86);
    cr_assert_eq(restricted(x86, "avx2,-avxvnni"), EK_CPU_avx2);
    cr_assert_eq(restricted(x86, "-avx512vnni"), x86 & ~(uint64_t)EK_CPU_avx512vnni);
    cr_assert_eq(restricted(x86 | EK_CPU_amx, "avx512"), x86 | EK_CPU_amx);
    cr_assert_eq(restricted(x86 | EK_CPU_amx, "avx512,-amx"), x86);
    cr_assert_eq(restricted(EK_CPU_avx2, "avx512"), EK_CPU_avx2, "it can only take away");
    cr_assert_eq(restricted(EK_CPU_neon | EK_CPU_dotprod, "neon,-dotprod"), EK_CPU_neon);
    static const char *const wrong[] = {"avx3", "avx2,", ",",    "-",
                                        "-avx", "avx2 ", "AVX2", "avx2,,"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint64_t out = 42;
        if (!strcmp(wrong[i], "avx2,")) continue; /* a trailing comma is an empty rest */
        cr_assert_eq(ek_cpu_restrict(x86, wrong[i], &out), EK_E_ARG, "%s", wrong[i]);
        cr_assert_eq(out, 42);
    }
    cr_assert_eq(ek_cpu_restrict(x86, "avx2", NULL), EK_E_ARG);
}

Test(dispatch, environment)
{
    struct ek_kernels t;
    setenv("EK_ISA", "scalar", 1);
    cr_assert_eq(ek_kernels_default(&t), EK_OK);
    cr_assert_eq(t.cpu, 0);
    cr_assert_str_eq(t.gemv_i8[EK_FMT_q4g32]->isa, "scalar");
    t.cpu = 42;
    setenv("EK_ISA", "avx1024", 1);
    cr_assert_eq(ek_kernels_default(&t), EK_E_ARG);
    cr_assert_eq(t.cpu, 42);
}

/* Each level, forced: nothing beyond it is chosen, and the highest row within it is. */
Test(dispatch, chooses_within_bits)
{
    const uint64_t here = ek_cpu_detect();
    for (uint64_t cpu = 0; cpu < UINT64_C(1) << EK_CPU_COUNT; cpu++) {
        struct ek_kernels t;
        cr_assert_eq(ek_kernels_select(cpu, &t), EK_OK);
        cr_assert_eq(t.struct_size, sizeof t);
        cr_assert_eq(t.streams, (cpu & EK_CPU_onestream) != 0);
        const struct ek_kernel *k = t.gemv_i8[EK_FMT_q4k];
        cr_assert_not_null(k);
        cr_assert_eq(k->needs & cpu, k->needs);
        for (size_t i = 0; i < ek_kernel_count(); i++) {
            const struct ek_kernel *o = ek_kernel_at(i);
            if (o->op == k->op && o->fmt == k->fmt && (o->needs & cpu) == o->needs)
                cr_assert_leq(o->prio, k->prio);
        }
    }
    cr_assert_eq(ek_kernels_select(here, NULL), EK_E_ARG);
}

Test(dispatch, registry_is_consistent)
{
    for (size_t i = 0; i < ek_kernel_count(); i++) {
        const struct ek_kernel *k      = ek_kernel_at(i);
        int                     scalar = 0;
        for (size_t j = 0; j < ek_kernel_count(); j++) {
            const struct ek_kernel *o = ek_kernel_at(j);
            scalar |= o->op == k->op && o->fmt == k->fmt && !o->needs && !strcmp(o->isa, "scalar");
            if (i != j) cr_assert_str_neq(k->name, o->name);
            if (i != j && o->op == k->op && o->fmt == k->fmt && k->op != EK_OP_read)
                cr_assert_neq(o->prio, k->prio, "%s and %s tie", k->name, o->name);
        }
        cr_assert(scalar, "%s has no scalar row", k->name);
        cr_assert_eq(k->needs == 0, !strcmp(k->isa, "scalar"));
    }
    cr_assert_null(ek_kernel_at(ek_kernel_count()));
    cr_assert_null(ek_op_info(EK_OP_COUNT));
    cr_assert_null(ek_cpu_name(EK_CPU_COUNT));
}

Test(dispatch, texts)
{
    cr_assert_str_eq(ek_status_text(EK_OK), "ok");
    cr_assert_str_eq(ek_status_text((ek_status)99), "unknown status");
    cr_assert_str_eq(ek_version(), "0.1.0");
    cr_assert_geq(ek_abi_version(), 1);
}
