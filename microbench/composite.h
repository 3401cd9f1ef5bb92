/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/composite.h - calls of ops/ as rows: several kernels, a pool, memory of their own.
 *
 * To add one: a file that defines `const struct composite composite_<name>`, and EK_COMPOSITE lines
 * in presets.def. It is listed, made, checked, timed against the bandwidth and written as kernels
 * are. */
#ifndef EK_COMPOSITE_H
#define EK_COMPOSITE_H
#include "microbench/arena.h"
#include "tests/driver.h"

/* What a row is made from. */
struct composite_setup {
    const struct ek_kernels *t;
    enum ek_fmt              fmt;
    const struct ek_shape   *shape;
    const ek_pool           *pool; /* of the row's threads                                   */
    const struct arena      *arena;
    int                      cold;
    void                    *sibling; /* made of the same fmt, shape and cold for other threads, or
                                         NULL: large data may be shared with it              */
};

struct composite {
    const char        *name; /* "head_full"                                        */
    const char *const *dims; /* names of the shape's numbers, NULL-terminated      */
    /* NULL, with a message on stderr, when it cannot be made. */
    void *(*make)(const struct composite_setup *s);
    /* The operation once. Cold: on the next of its copies, whose bytes are not in any cache. */
    void (*call)(void *self);
    /* Does a call's result agree with a reference? */
    int (*check)(void *self);
    /* Compulsory traffic of a call, as the calls so far showed it. */
    double (*bytes)(const void *self);
    void (*drop)(void *self);
};
#define EK_PRESET(...)
#define EK_COMPOSITE(preset, op, ...) extern const struct composite composite_##op;
#include "microbench/presets.def"
#undef EK_COMPOSITE
#undef EK_PRESET
#endif
