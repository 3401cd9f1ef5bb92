/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/peers.h - the same products by another library, timed in the same run. */
#ifndef EK_PEERS_H
#define EK_PEERS_H
#include "tests/driver.h"
#include "tools/pool.h"

struct peer;

/* Does a peer do what this op does to weights of this format? 0 without a peer library. */
int peer_supports(enum ek_op op, enum ek_fmt fmt, const struct ek_shape *s, int cold);

/* As many operators as fit in rotate bytes (one when 0), checked against each other's sums; NULL on
 * failure. */
struct peer *peer_make(enum ek_op op, enum ek_fmt fmt, const struct ek_shape *s, size_t rotate,
                       struct threads *pool);
void         peer_call(struct peer *p);
void         peer_drop(struct peer *p);

/* "XNNPACK, Debian 0.0~git20220216" or "unavailable: reason". */
const char *peer_description(void);
#endif
