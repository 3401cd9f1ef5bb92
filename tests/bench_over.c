/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench_over.c - ek bench must refuse a row whose bytes are counted double: linked so that
 * drivers see twice the traffic there is, a run has to end with rows above their roof. */
#include "microbench/bench.h"
#include "tests/drivers/linear.h"
#include "tools/topology.h"

#include <stdio.h>

double __real_linear_bytes(enum ek_fmt fmt, const struct ek_shape *s);
double __wrap_linear_bytes(enum ek_fmt fmt, const struct ek_shape *s);
double __wrap_linear_bytes(enum ek_fmt fmt, const struct ek_shape *s)
{
    return 2 * __real_linear_bytes(fmt, s);
}

int main(void)
{
    const struct bench_options o = {.filter       = "^gemv/q8g32/i8/.*n:4096/k:4096/m:1/t:1/cold",
                                    .preset       = "core",
                                    .threads      = {1},
                                    .thread_count = 1,
                                    .min_time     = 0.03,
                                    .repetitions  = 5,
                                    .memory       = (size_t)256 << 20};
    struct topology            t;
    struct bench_report        r;
    if (topology_read(&t, "", NULL) || bench_run(&o, &t, &r)) return 2;
    printf("%zu rows above their roof\n", r.over);
    const int missed = !r.over;
    bench_drop(&r);
    return missed;
}
