/* SPDX-License-Identifier: Apache-2.0 */
/* tools/router_check.h - what a head of common tokens with a router would get wrong. */
#ifndef EK_TOOLS_ROUTER_CHECK_H
#define EK_TOOLS_ROUTER_CHECK_H
#include <stddef.h>
#include <stdint.h>

/* What the model said at each token. */
struct answers {
    int32_t *next, *top;
    double  *whole, *common; /* -log p(next), of all tokens and among common ones; NAN: rare */
};

struct router_check {
    const struct answers *said;
    const unsigned char  *is_common; /* [vocab] */
    size_t                vocab, common_count;
    size_t                first, count; /* tokens that are looked at   */
    const float          *p_rare;       /* [count] what the router said */
};

/* Prints a line for each of some thresholds. */
void router_table(const struct router_check *t);
#endif
