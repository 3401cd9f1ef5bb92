/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/peers_none.c - built where no peer library was found. */
#include "microbench/peers.h"

#include <stddef.h>

int peer_supports(enum ek_op op, enum ek_fmt fmt, const struct ek_shape *s, int cold)
{
    (void)op, (void)fmt, (void)s, (void)cold;
    return 0;
}
struct peer *peer_make(enum ek_op op, enum ek_fmt fmt, const struct ek_shape *s, size_t rotate,
                       struct threads *pool)
{
    (void)op, (void)fmt, (void)s, (void)rotate, (void)pool;
    return NULL;
}
void peer_call(struct peer *p)
{
    (void)p;
}
void peer_drop(struct peer *p)
{
    (void)p;
}
const char *peer_description(void)
{
    return "unavailable: XNNPACK was not found when ek was built";
}
