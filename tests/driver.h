/* SPDX-License-Identifier: Apache-2.0 */
/* tests/driver.h - one driver per op: makes cases, runs kernels on them, says how far results may
 * differ. The check and the microbenchmark use the same drivers, so what is timed is what is
 * checked. */
#ifndef EK_DRIVER_H
#define EK_DRIVER_H
#include "ek/ek.h"

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { DIMS_MAX = 5, BUFFERS_MAX = 14 };

/* Numbers whose names the driver gives: {n, k, m} or {rows, cols}. */
struct ek_shape {
    size_t d[DIMS_MAX];
};

/* What the inputs look like. */
enum ek_data {
    DATA_RANDOM,
    DATA_EXTREME, /* every code and activation at an end of its range */
    DATA_ZERO,
    DATA_TINY,    /* denormals and numbers near them                  */
    DATA_OUTLIER, /* one element a thousand times the others          */
    DATA_KINDS
};

enum ek_role {
    ROLE_IN,        /* read-only while kernels run                                       */
    ROLE_OUT,       /* f32, within c->tol of the reference                               */
    ROLE_OUT_EXACT, /* the reference's bytes                                             */
    ROLE_SCRATCH,   /* anything may be in it, before and after                           */
};

struct ek_buffer {
    void        *p;
    size_t       bytes;
    enum ek_role role;
    const void  *start; /* outputs: what they hold before a run; NULL: 0xAA */
};

/* Activations in the tiles of one kind of gemm_i8 kernels. */
struct ek_tiled {
    const int8_t  *x;
    const float   *d;
    const int32_t *s;
};

struct ek_case {
    enum ek_fmt     fmt;
    struct ek_shape s;
    enum ek_data    data;
    uint64_t        rng;
    int             at_start; /* buffers begin, not end, at an inaccessible page            */
    const void     *stream;   /* timing: the weights are these bytes; else NULL: make them  */
    size_t          streams;  /* of gemv: see ek_kernels */
    size_t          slots;    /* timing: ranges that may run at once, each with scratch; 0: 1 */
    union {
#define EK_OP(op, text, act) struct ek_##op##_args op;
#include "ek/ops.def"
#undef EK_OP
    } a;
    struct ek_tiled  tiled[2]; /* gemm_i8 */
    struct ek_buffer buf[BUFFERS_MAX];
    size_t           bufs;
    double          *tol; /* one per element of the ROLE_OUT buffer; NULL when timing */
};

struct ek_driver {
    const char *const     *dims;   /* names of the shape's numbers, NULL-terminated         */
    const struct ek_shape *shapes; /* what the check runs; d[0] == 0 ends                   */
    size_t (*items)(const struct ek_shape *s);
    size_t grain;     /* timing: items of one task                                          */
    int    has_slots; /* 1: tasks need scratch, so c->slots of them are made, of 32 k items */
    void (*setup)(struct ek_case *c); /* makes buffers, fills inputs, arguments and tol     */
    void (*run)(const struct ek_kernel *k, struct ek_case *c, size_t begin, size_t end);
    double (*bytes)(enum ek_fmt fmt, const struct ek_shape *s);  /* compulsory traffic       */
    double (*ops)(enum ek_fmt fmt, const struct ek_shape *s);    /* arithmetic, 2 per MAC    */
    size_t (*stream)(enum ek_fmt fmt, const struct ek_shape *s); /* bytes of weights; NULL: */
    void (*bind)(struct ek_case *c, const void *stream);         /* the op has none         */
};
#define EK_OP(op, text, act) extern const struct ek_driver ek_driver_##op;
#include "ek/ops.def"
#undef EK_OP
extern const struct ek_driver *const ek_drivers[EK_OP_COUNT];

/* Deterministic numbers: splitmix64. */
uint64_t ek_rand(uint64_t *state);
float    ek_randf(uint64_t *state); /* [-1, 1) */

/* calloc that ends the program when memory runs out. */
void *ek_test_alloc(size_t count, size_t size);

/* ---- for drivers ---- */

/* A buffer of the case, next to an inaccessible page; aborts the test when memory runs out. */
void *case_buffer(struct ek_case *c, size_t bytes, enum ek_role role);
/* n floats of the case's data kind, as an input. */
float *case_floats(struct ek_case *c, size_t n);
/* One more number of the case's data kind, i its index. */
float case_value(struct ek_case *c, size_t i);
/* Allocates c->tol for n elements, zero; NULL when timing. */
double *case_tolerance(struct ek_case *c, size_t n);

/* ---- for those who run them ---- */

/* Builds a case; case_drop frees it. */
void case_make(struct ek_case *c, const struct ek_driver *d);
void case_drop(struct ek_case *c);
/* Inputs become read-only, or writable again. */
void case_lock(struct ek_case *c, int locked);
/* Items of one task. */
size_t case_grain(const struct ek_case *c, const struct ek_driver *d);
/* Outputs and scratch as they are before a run. */
void case_reset(struct ek_case *c);

#ifdef __cplusplus
}
#endif
#endif
