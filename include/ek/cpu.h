/* SPDX-License-Identifier: Apache-2.0 */
/* ek/cpu.h - what the processor and its operating system offer, as bits. */
#ifndef EK_CPU_H
#define EK_CPU_H
#include "ek/status.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ek_cpu_index {
#define EK_CPU(name, level, text) EK_CPU_INDEX_##name,
#include "ek/cpu.def"
#undef EK_CPU
    EK_CPU_COUNT
};

/** Feature bits: EK_CPU_avx2, EK_CPU_avxvnni, ... Zero means baseline: scalar kernels only. */
enum ek_cpu_bit {
#define EK_CPU(name, level, text) EK_CPU_##name = 1 << EK_CPU_INDEX_##name,
#include "ek/cpu.def"
#undef EK_CPU
    EK_CPU_NONE = 0
};

/**
 * Reads the feature bits of this machine.
 *
 * On Linux, tile registers (amx) have to be asked for: where the processor has them, this call asks
 * for this process and all threads it makes from then on, which makes signal frames larger. The bit
 * is missing when the answer is no: an old kernel, a sandbox, an alternate signal stack that is too
 * small for them.
 *
 * Threads  safe to call concurrently; the same answer every time.
 * Returns  an or of enum ek_cpu_bit; only bits whose registers the operating system saves.
 * Source   cpuinfo; CPUID, XGETBV and getauxval for what it does not know. */
EK_API uint64_t ek_cpu_detect(void);

/**
 * Takes feature bits away, as the environment variable EK_ISA does.
 *
 * isa is a comma-separated list. A level (scalar, avx2, avx512, neon) keeps the bits of that level
 * and of those below it; -name takes one bit away (see ek/cpu.def). "avx2,-avxvnni" is plain AVX2.
 * NULL and "" keep everything.
 *
 * Returns  EK_OK and *out, a subset of cpu; EK_E_ARG for an unknown name (*out untouched). */
EK_API ek_status ek_cpu_restrict(uint64_t cpu, const char *isa, uint64_t *out);

/** Name of bit i in [0, EK_CPU_COUNT) as EK_ISA spells it; NULL outside. */
EK_API const char *ek_cpu_name(size_t i);

#ifdef __cplusplus
}
#endif
#endif
