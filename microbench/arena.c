/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/arena.c - mmap, huge pages, filling. */
#include "microbench/arena.h"

#include <stdint.h>
#include <sys/mman.h>

int arena_reserve(struct arena *a, size_t bytes)
{
    enum { HUGE = 2 << 20 };
    a->bytes = (bytes + HUGE - 1) / HUGE * HUGE;
    void *m =
        mmap(NULL, a->bytes + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) return -1;
    const uintptr_t skip = (uintptr_t)m % HUGE ? HUGE - (uintptr_t)m % HUGE : 0;
    a->data              = (unsigned char *)m + skip;
    if (skip) munmap(m, skip);
    munmap(a->data + a->bytes, HUGE - skip);
    a->huge = madvise(a->data, a->bytes, MADV_HUGEPAGE) == 0;
    return 0;
}

int arena_make(struct arena *a, size_t bytes)
{
    if (arena_reserve(a, bytes)) return -1;

    /* Every 16-bit word is 0x3400 | random low bits: as f16 in [0.25, 0.5), as bf16 and f32 about
     * 1e-7, never zero, negative (scales of caches are not), denormal, infinite or NaN; as codes
     * and 6-bit scales anything goes. */
    uint64_t *w = (uint64_t *)(void *)a->data, x = 88172645463325252u;
    for (size_t i = 0; i < a->bytes / sizeof *w; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17; /* xorshift64 */
        w[i] = (x & UINT64_C(0x03FF03FF03FF03FF)) | UINT64_C(0x3400340034003400);
    }
    return 0;
}

void arena_drop(struct arena *a)
{
    munmap(a->data, a->bytes);
}
