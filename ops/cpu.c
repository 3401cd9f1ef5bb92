/* SPDX-License-Identifier: Apache-2.0 */
/* ops/cpu.c - feature bits: cpuinfo, what it does not know, and the EK_ISA grammar. */
#include "ek/cpu.h"

#include "kernels/contract.h"

#include <cpuinfo.h>

#if EK_ARCH_X86
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

/* Registers that the operating system saves on a context switch, XCR0. */
static uint64_t saved_state(void)
{
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return 0;
    unsigned lo, hi;
    __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

/* CPUID leaf 7, subleaf 1, EAX bit 4; Debian 12's cpuinfo has no query for it. */
static int has_avxvnni(void)
{
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}

/* Tile registers: they are saved, and Linux lets this process use them. It asks for a request first,
 * so that a program which never uses them has small signal frames; one that it has granted before
 * it grants again. Older kernels do not know it, and then do not save the registers either. */
static int has_amx(uint64_t state)
{
    enum { TILE_STATE = 0x60000, TILE_BITS = 3 << 24 /* amx-tile, amx-int8 */ };
    unsigned a, b, c, d;
    if ((state & TILE_STATE) != TILE_STATE || !__get_cpuid_count(7, 0, &a, &b, &c, &d) ||
        (d & TILE_BITS) != TILE_BITS)
        return 0;
#if defined(__linux__)
    enum { REQUEST_STATE = 0x1023, TILE_DATA = 18 };
    return !syscall(SYS_arch_prctl, REQUEST_STATE, TILE_DATA);
#else
    return 0;
#endif
}

static uint64_t detect(void)
{
    enum { YMM = 0x06, ZMM = 0xE6 };
    const uint64_t state = saved_state();
    uint64_t       cpu   = 0;
    if ((state & YMM) != YMM || !cpuinfo_has_x86_avx2() || !cpuinfo_has_x86_fma3() ||
        !cpuinfo_has_x86_f16c())
        return 0;
    cpu |= EK_CPU_avx2;
    if (has_avxvnni()) cpu |= EK_CPU_avxvnni;
    if (cpuinfo_get_core(0)->vendor == cpuinfo_vendor_amd) cpu |= EK_CPU_onestream;
    if ((state & ZMM) != ZMM || !cpuinfo_has_x86_avx512f() || !cpuinfo_has_x86_avx512bw() ||
        !cpuinfo_has_x86_avx512vl() || !cpuinfo_has_x86_avx512dq())
        return cpu;
    cpu |= EK_CPU_avx512;
    if (cpuinfo_has_x86_avx512vnni()) cpu |= EK_CPU_avx512vnni;
    if (has_amx(state)) cpu |= EK_CPU_amx;
    return cpu;
}
#elif EK_ARCH_ARM64
#include <sys/auxv.h>

static uint64_t detect(void)
{
    enum { HWCAP2_I8MM_BIT = 13 };
    uint64_t cpu = EK_CPU_neon;
    if (cpuinfo_has_arm_neon_dot()) cpu |= EK_CPU_dotprod;
    if (getauxval(AT_HWCAP2) >> HWCAP2_I8MM_BIT & 1) cpu |= EK_CPU_i8mm;
    return cpu;
}
#else
static uint64_t detect(void)
{
    return 0;
}
#endif

uint64_t ek_cpu_detect(void)
{
    return cpuinfo_initialize() ? detect() : 0;
}

/* Levels in order: one keeps its own bits and those of the levels before it on its machine. */
enum level { LEVEL_scalar, LEVEL_avx2, LEVEL_avx512, LEVEL_neon };
static const char *const level_name[] = {"scalar", "avx2", "avx512", "neon"};

static const struct {
    const char *name;
    enum level  level;
} features[] = {
#define EK_CPU(name, level, text) {#name, LEVEL_##level},
#include "ek/cpu.def"
#undef EK_CPU
};

const char *ek_cpu_name(size_t i)
{
    return i < EK_CPU_COUNT ? features[i].name : NULL;
}

static uint64_t level_mask(enum level level)
{
    uint64_t mask = 0;
    for (size_t i = 0; i < EK_CPU_COUNT; i++)
        if (features[i].level <= level) mask |= UINT64_C(1) << i;
    return mask;
}

/* Applies one item of the list to *cpu; 0 when its name is unknown. */
static int apply(const char *item, size_t len, uint64_t *cpu)
{
    for (size_t i = 0; i < sizeof level_name / sizeof *level_name; i++)
        if (strlen(level_name[i]) == len && !memcmp(level_name[i], item, len)) {
            *cpu &= level_mask((enum level)i);
            return 1;
        }
    for (size_t i = 0; i < EK_CPU_COUNT; i++)
        if (*item == '-' && strlen(features[i].name) == len - 1 &&
            !memcmp(features[i].name, item + 1, len - 1)) {
            *cpu &= ~(UINT64_C(1) << i);
            return 1;
        }
    return 0;
}

ek_status ek_cpu_restrict(uint64_t cpu, const char *isa, uint64_t *out)
{
    if (!out) return EK_E_ARG;
    while (isa && *isa) {
        const size_t len = strcspn(isa, ",");
        if (!len || !apply(isa, len, &cpu)) return EK_E_ARG;
        isa += len + (isa[len] == ',');
    }
    *out = cpu;
    return EK_OK;
}
