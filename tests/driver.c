/* SPDX-License-Identifier: Apache-2.0 */
/* tests/driver.c - memory beside inaccessible pages, test numbers, the table of drivers. */
#include "tests/driver.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const struct ek_driver *const ek_drivers[EK_OP_COUNT] = {
#define EK_OP(op, text, act) [EK_OP_##op] = &ek_driver_##op,
#include "ek/ops.def"
#undef EK_OP
};

uint64_t ek_rand(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9E3779B97F4A7C15));
    z          = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z          = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

float ek_randf(uint64_t *state)
{
    return (float)((int32_t)(ek_rand(state) >> 40) - 0x800000) / 8388608.0f;
}

void *ek_test_alloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size);
    if (!p) {
        perror("calloc");
        exit(2);
    }
    return p;
}

/* ---- guarded memory: [page][data ...][page], both outer pages inaccessible ---- */

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t inner_bytes(size_t bytes)
{
    const size_t page = page_size(), pages = (bytes + page - 1) / page;
    return (pages ? pages : 1) * page;
}

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static unsigned char *guarded(size_t bytes, int at_start)
{
    const size_t   page = page_size(), inner = inner_bytes(bytes);
    unsigned char *m =
        mmap(NULL, inner + 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m == MAP_FAILED) die("mmap");
    if (mprotect(m, page, PROT_NONE) || mprotect(m + page + inner, page, PROT_NONE))
        die("mprotect");
    memset(m + page, 0xAA, inner);
    return m + page + (at_start ? 0 : inner - bytes);
}

/* The first inner page of a guarded buffer. */
static unsigned char *inner_of(void *p)
{
    const uintptr_t page = page_size();
    return (unsigned char *)p - (uintptr_t)p % page;
}

/* ---- cases ---- */

void *case_buffer(struct ek_case *c, size_t bytes, enum ek_role role)
{
    if (c->bufs == BUFFERS_MAX) {
        fputs("BUFFERS_MAX is too small\n", stderr);
        exit(2);
    }
    struct ek_buffer *b = &c->buf[c->bufs++];
    *b                  = (struct ek_buffer){guarded(bytes, c->at_start), bytes, role, NULL};
    return b->p;
}

float case_value(struct ek_case *c, size_t i)
{
    switch (c->data) {
    case DATA_EXTREME: return ek_rand(&c->rng) & 1 ? 1.0f : -1.0f;
    case DATA_ZERO: return 0.0f;
    case DATA_TINY: return ek_randf(&c->rng) * (i % 3 ? 0x1p-126f : 0x1p-120f);
    case DATA_OUTLIER: return ek_randf(&c->rng) * (i % 97 == 41 ? 1000.0f : 1.0f);
    case DATA_RANDOM:
    case DATA_KINDS: break;
    }
    return ek_randf(&c->rng);
}

float *case_floats(struct ek_case *c, size_t n)
{
    float *x = case_buffer(c, n * sizeof *x, ROLE_IN);
    for (size_t i = 0; i < n; i++) x[i] = case_value(c, i);
    return x;
}

double *case_tolerance(struct ek_case *c, size_t n)
{
    if (c->stream) return NULL;
    c->tol = calloc(n, sizeof *c->tol);
    if (!c->tol) die("calloc");
    return c->tol;
}

void case_make(struct ek_case *c, const struct ek_driver *d)
{
    d->setup(c);
    case_reset(c);
}

void case_drop(struct ek_case *c)
{
    for (size_t i = 0; i < c->bufs; i++)
        munmap(inner_of(c->buf[i].p) - page_size(), inner_bytes(c->buf[i].bytes) + 2 * page_size());
    free(c->tol);
    c->bufs = 0, c->tol = NULL;
}

void case_lock(struct ek_case *c, int locked)
{
    for (size_t i = 0; i < c->bufs; i++)
        if (c->buf[i].role == ROLE_IN &&
            mprotect(inner_of(c->buf[i].p), inner_bytes(c->buf[i].bytes),
                     locked ? PROT_READ : PROT_READ | PROT_WRITE))
            die("mprotect");
}

size_t case_grain(const struct ek_case *c, const struct ek_driver *d)
{
    enum { STEP = 32 };
    if (!d->has_slots || !c->slots) return d->grain;
    const size_t steps = (d->items(&c->s) + STEP - 1) / STEP;
    return (steps + c->slots - 1) / c->slots * STEP;
}

void case_reset(struct ek_case *c)
{
    for (size_t i = 0; i < c->bufs; i++) {
        const struct ek_buffer *b = &c->buf[i];
        if (b->role == ROLE_IN) continue;
        if (b->start)
            memcpy(b->p, b->start, b->bytes);
        else
            memset(b->p, 0xAA, b->bytes);
    }
}
