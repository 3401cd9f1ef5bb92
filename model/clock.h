/* SPDX-License-Identifier: Apache-2.0 */
/* model/clock.h - seconds since some moment, never backwards. */
#ifndef EK_CLOCK_H
#define EK_CLOCK_H
#include <time.h>

static inline double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
#endif
