/* SPDX-License-Identifier: Apache-2.0 */
/* tests/check_main.c - walks the registry: check [TEXT] runs the kernels whose name holds TEXT.
 * EK_ISA restricts; EK_CHECK_ISA, spelt like it, is what this CPU must have: a row of that which is
 * skipped is a failure; EK_CHECK_KINDS: the first so many kinds of data only. */
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    const char       *only     = argc > 1 ? argv[1] : "";
    const char       *expected = getenv("EK_CHECK_ISA"), *kinds = getenv("EK_CHECK_KINDS");
    struct ek_kernels here;
    uint64_t          must = 0;
    if (ek_kernels_default(&here)) {
        fprintf(stderr, "check: EK_ISA=%s is not understood\n", getenv("EK_ISA"));
        return 2;
    }
    if (expected && ek_cpu_restrict(UINT64_MAX, expected, &must)) {
        fprintf(stderr, "check: EK_CHECK_ISA=%s is not understood\n", expected);
        return 2;
    }
    check_init();
    long passed = 0, failed = 0, skipped = 0;
    for (size_t i = 0; i < ek_kernel_count(); i++) {
        const struct ek_kernel *k   = ek_kernel_at(i);
        const struct ek_kernel *ref = NULL;
        for (size_t j = 0; j < ek_kernel_count() && !ref; j++)
            if (ek_kernel_at(j)->op == k->op && ek_kernel_at(j)->fmt == k->fmt &&
                !ek_kernel_at(j)->needs)
                ref = ek_kernel_at(j);
        if (!strstr(k->name, only)) continue;
        if ((k->needs & here.cpu) != k->needs) {
            const int missed = expected && (k->needs & must) == k->needs;
            printf("%s %s\n", missed ? "FAIL skipped" : "skip", k->name);
            skipped += !missed, failed += missed;
            continue;
        }
        const int bad = !ref || check_kernel(ref, k, kinds ? strtol(kinds, NULL, 10) : 0, stderr);
        if (!ref) fprintf(stderr, "  %s has no scalar row\n", k->name);
        printf("%s %s\n", bad ? "FAIL" : "ok  ", k->name);
        passed += !bad, failed += bad;
    }
    printf("%ld kernels passed, %ld failed, %ld skipped\n", passed, failed, skipped);
    return failed || !passed;
}
