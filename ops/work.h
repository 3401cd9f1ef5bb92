/* SPDX-License-Identifier: Apache-2.0 */
/* ops/work.h - laying out a caller's working memory. */
#ifndef EK_WORK_H
#define EK_WORK_H
#include <stddef.h>

/* Bytes between what two tasks write: one core's prefetcher runs past its own into lines that the
 * other core writes. */
enum { EK_TASK_GAP = 4096 };

static inline size_t ek_min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Reserves count elements on a line of their own and returns where; sets *over instead of wrapping. */
static inline size_t ek_reserve(size_t *total, size_t count, size_t size, int *over)
{
    size_t at, bytes;
    if (__builtin_add_overflow(*total, 63, &at)) *over = 1;
    at = at / 64 * 64;
    if (__builtin_mul_overflow(count, size, &bytes) || __builtin_add_overflow(at, bytes, total))
        *over = 1;
    return at;
}
#endif
