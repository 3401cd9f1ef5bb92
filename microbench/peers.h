/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/peers.h - the same products by another library, timed in the same run. */
#ifndef EK_PEERS_H
#define EK_PEERS_H
#include "tests/driver.h"
#include "tools/pool.h"

struct peer;

/* Does a peer do what this op does to weights of this format? 0 without a peer library. */
int peer_supports(enum ek_op op, enum ek_fmt fmt, const struct ek_shape *s);

/* The peer's own compulsory traffic: its weights once, activations in, results out. */
double peer_bytes(enum ek_fmt fmt, const struct ek_shape *s);

/* Operators with a copy of the weights each, as many as fit in rotate bytes and in what a run can
 * spare; at least one. Each has run on pool, the calling thread alone when that has one, and some
 * of its results were compared with a reference. NULL on failure. */
struct peer *peer_make(enum ek_fmt fmt, const struct ek_shape *s, size_t rotate,
                       const struct threads *pool);
void         peer_call(struct peer *p); /* once, with the next copy */
void         peer_drop(struct peer *p);

/* "XNNPACK 0.0~git20220216" or "unavailable: reason". */
const char *peer_description(void);
#endif
