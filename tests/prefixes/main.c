/* SPDX-License-Identifier: Apache-2.0 */
/* tests/prefixes/main.c - two copies of the library, built with EK_PREFIX one_ and two_, in one
 * program: tools/package.sh builds and runs it. */
#include "copy.h"

#include <stdio.h>

static int wrong(const struct copy *c)
{
    int bad = 0, sum = 0;
    for (int i = 0; i < COPY_K; i++) sum += (i % 16 - 8) * i;
    for (int r = 0; r < COPY_N; r++)
        if (c->y[r] != (float)(sum * (r + 1))) {
            bad = 1;
            printf("%s: y[%d] = %g, not %d\n", c->prefix, r, (double)c->y[r], sum * (r + 1));
        }
    return bad;
}

int main(void)
{
    struct copy one, two;
    if (copy_one_(&one) || copy_two_(&two)) return puts("prefixes: a call failed"), 1;
    if (one.registry == two.registry) return puts("prefixes: both are the same copy"), 1;
    if (wrong(&one) | wrong(&two)) return 1;
    printf("prefixes: %s and %s agree\n", one.prefix, two.prefix);
    return 0;
}
