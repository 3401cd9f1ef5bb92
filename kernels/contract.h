/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/contract.h - what a kernel file sees: the public argument structs, the prototypes that
 * the registry generates, and the names of symbols. Internal; not installed. */
#ifndef EK_CONTRACT_H
#define EK_CONTRACT_H
#include "ek/kernels.h"

#include <assert.h>
#include <string.h>

#if defined(__x86_64__)
#define EK_ARCH_X86 1
#else
#define EK_ARCH_X86 0
#endif
#if defined(__aarch64__)
#define EK_ARCH_ARM64 1
#else
#define EK_ARCH_ARM64 0
#endif

/* Helpers shared by kernel files are inlined into each: a copy compiled with one ISA's flags must
 * never be the one the linker keeps for another. */
#define EK_INLINE static inline __attribute__((always_inline))
/* Kept a function: with registers of its own. */
#define EK_APART __attribute__((noinline))
/* Under AddressSanitizer loops stay loops: unrolled, its checks take minutes to compile. */
#if defined(__SANITIZE_ADDRESS__)
#define EK_UNROLL
#define EK_NO_UNROLL
#elif defined(__clang__)
#define EK_UNROLL    _Pragma("unroll")
#define EK_NO_UNROLL _Pragma("nounroll")
#else
#define EK_UNROLL    _Pragma("GCC unroll 16")
#define EK_NO_UNROLL _Pragma("GCC unroll 1")
#endif

/* The one place where kernel symbols are made: ek_<op>_<fmt>_<isa><variant>, variant "" or "_x". */
#define EK_KERNEL_SYM(op, fmt, isa, variant) EK_SYM(ek_##op##_##fmt##_##isa##variant)

/* Prototypes of every kernel: one with the wrong arguments does not compile. */
#define EK_KERNEL(op, fmt, isa, variant, prio, needs)                                              \
    ek_##op##_fn EK_KERNEL_SYM(op, fmt, isa, variant);
#include "kernels/kernels.def"
#undef EK_KERNEL

#endif
