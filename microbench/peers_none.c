/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/peers_none.c - built where no peer library was found. */
#include "microbench/peers.h"

#include <stddef.h>

int peer_supports(enum ek_op op, enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)op, (void)fmt, (void)s;
    return 0;
}
double peer_bytes(enum ek_fmt fmt, const struct ek_shape *s)
{
    (void)fmt, (void)s;
    return 0;
}
struct peer *peer_make(enum ek_fmt fmt, const struct ek_shape *s, size_t rotate,
                       const struct threads *pool)
{
    (void)fmt, (void)s, (void)rotate, (void)pool;
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
    return EK_PEER_DESCRIPTION;
}
