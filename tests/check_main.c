/* SPDX-License-Identifier: Apache-2.0 */
/* tests/check_main.c - walks the registry: check [TEXT] runs the kernels whose name holds TEXT.
 * EK_ISA restricts; EK_MAX_SKIP makes more skipped rows than that a failure; EK_CHECK_KINDS: the
 * first so many kinds of data only. */
#include "tests/check.h"

#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    const char       *only = argc > 1 ? argv[1] : "";
    const char       *cap = getenv("EK_MAX_SKIP"), *kinds = getenv("EK_CHECK_KINDS");
    struct ek_kernels here, scalar;
    if (ek_kernels_default(&here) || ek_kernels_select(0, &scalar)) {
        fprintf(stderr, "check: EK_ISA=%s is not understood\n", getenv("EK_ISA"));
        return 2;
    }
    check_init();
    long run = 0, failed = 0, skipped = 0;
    for (size_t i = 0; i < ek_kernel_count(); i++) {
        const struct ek_kernel *k   = ek_kernel_at(i);
        const struct ek_kernel *ref = NULL;
        for (size_t j = 0; j < ek_kernel_count() && !ref; j++)
            if (ek_kernel_at(j)->op == k->op && ek_kernel_at(j)->fmt == k->fmt &&
                !ek_kernel_at(j)->needs)
                ref = ek_kernel_at(j);
        if (!strstr(k->name, only)) continue;
        if ((k->needs & here.cpu) != k->needs) {
            printf("skip %s\n", k->name);
            skipped++;
            continue;
        }
        const int bad = !ref || check_kernel(ref, k, kinds ? strtol(kinds, NULL, 10) : 0, stderr);
        if (!ref) fprintf(stderr, "  %s has no scalar row\n", k->name);
        printf("%s %s\n", bad ? "FAIL" : "ok  ", k->name);
        run++, failed += bad;
    }
    printf("%ld kernels passed, %ld failed, %ld skipped\n", run - failed, failed, skipped);
    const int too_many = cap && skipped > strtol(cap, NULL, 10);
    if (too_many) fprintf(stderr, "check: %ld skipped, EK_MAX_SKIP is %s\n", skipped, cap);
    return failed || !run || too_many;
}
