/* SPDX-License-Identifier: Apache-2.0 */
/* tests/check.c - one kernel against the scalar row of its (op, format): on every shape of its
 * driver and every kind of data it must agree within the driver's bound, read and write nothing
 * outside its arguments and its range, and give the same bits however the range is split. */
#include "tests/check.h"

#include "tests/driver.h"

#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* ---- faults inside kernels become failures ---- */

static sigjmp_buf            recover;
static volatile sig_atomic_t armed;

static void on_fault(int sig)
{
    if (armed) siglongjmp(recover, sig);
    signal(sig, SIG_DFL);
    raise(sig);
}

void check_init(void)
{
    const struct sigaction a = {.sa_handler = on_fault, .sa_flags = SA_NODEFER};
    sigaction(SIGSEGV, &a, NULL);
    sigaction(SIGBUS, &a, NULL);
    sigaction(SIGILL, &a, NULL);
    sigaction(SIGFPE, &a, NULL);
    sigaction(SIGTRAP, &a, NULL); /* what compilers make of paths that cannot be, on aarch64 */
}

/* Runs k on [begin, end); 0, or the signal it raised. */
static int run_guarded(const struct ek_driver *d, const struct ek_kernel *k, struct ek_case *c,
                       size_t begin, size_t end)
{
    const int sig = sigsetjmp(recover, 0);
    if (!sig) {
        armed = 1;
        d->run(k, c, begin, end);
    }
    armed = 0;
    return sig;
}

/* ---- images: copies of a case's outputs ---- */

static int is_output(const struct ek_buffer *b)
{
    return b->role == ROLE_OUT || b->role == ROLE_OUT_EXACT;
}

static size_t output_bytes(const struct ek_case *c)
{
    size_t n = 0;
    for (size_t i = 0; i < c->bufs; i++)
        if (is_output(&c->buf[i])) n += c->buf[i].bytes;
    return n;
}

static void save_outputs(const struct ek_case *c, unsigned char *image)
{
    for (size_t i = 0; i < c->bufs; i++)
        if (is_output(&c->buf[i])) {
            memcpy(image, c->buf[i].p, c->buf[i].bytes);
            image += c->buf[i].bytes;
        }
}

/* ---- the tests of one case ---- */

struct test {
    const struct ek_driver *d;
    const struct ek_kernel *ref, *k;
    struct ek_case          c;
    size_t                  items, bytes; /* of the range; of the outputs */
    unsigned char          *want, *whole, *fresh, *part;
    char                    why[160];
};

static int fail(struct test *t, const char *why)
{
    snprintf(t->why, sizeof t->why, "%s", why);
    return 1;
}

static int run_fresh(struct test *t, const struct ek_kernel *k, size_t begin, size_t end)
{
    case_reset(&t->c);
    const int sig = run_guarded(t->d, k, &t->c, begin, end);
    if (sig) snprintf(t->why, sizeof t->why, "%s on [%zu, %zu)", strsignal(sig), begin, end);
    return sig;
}

static int same_float(double want, double got, double tol)
{
    return (isnan(want) && isnan(got)) || want == got || fabs(want - got) <= tol;
}

static int close_to_reference(struct test *t)
{
    const unsigned char *want = t->want, *got = t->whole;
    for (size_t i = 0; i < t->c.bufs; i++) {
        const struct ek_buffer *b = &t->c.buf[i];
        if (!is_output(b)) continue;
        for (size_t j = 0; b->role == ROLE_OUT && j < b->bytes / sizeof(float); j++) {
            float w, g;
            memcpy(&w, want + j * sizeof w, sizeof w), memcpy(&g, got + j * sizeof g, sizeof g);
            if (same_float((double)w, (double)g, t->c.tol[j])) continue;
            snprintf(t->why, sizeof t->why, "element %zu is %.9g, not %.9g within %.2g", j,
                     (double)g, (double)w, t->c.tol[j]);
            return 1;
        }
        for (size_t j = 0; b->role == ROLE_OUT_EXACT && j < b->bytes; j++)
            if (want[j] != got[j]) {
                snprintf(t->why, sizeof t->why, "byte %zu of output %zu is %d, not %d", j, i,
                         got[j], want[j]);
                return 1;
            }
        want += b->bytes, got += b->bytes;
    }
    return 0;
}

/* Three pieces, each alone on fresh outputs: what differs from fresh in two of them was written by
 * a piece that did not own it; put together they must be the whole run. */
static int pieces_fit(struct test *t)
{
    const size_t   cut[4] = {0, t->items / 3, (2 * t->items + 1) / 3, t->items};
    unsigned char *merged = t->want; /* no longer needed */
    memcpy(merged, t->fresh, t->bytes);
    for (int p = 0; p < 3; p++) {
        if (run_fresh(t, t->k, cut[p], cut[p + 1])) return 1;
        save_outputs(&t->c, t->part);
        for (size_t i = 0; i < t->bytes; i++) {
            if (t->part[i] == t->fresh[i]) continue;
            if (merged[i] != t->fresh[i]) return fail(t, "writes outside its range");
            merged[i] = t->part[i];
        }
    }
    return memcmp(merged, t->whole, t->bytes) ? fail(t, "bits depend on the split in three") : 0;
}

static int items_fit(struct test *t)
{
    case_reset(&t->c);
    for (size_t i = t->items; i-- > 0;) { /* backwards: no item may lean on an earlier one */
        const int sig = run_guarded(t->d, t->k, &t->c, i, i + 1);
        if (sig) return fail(t, strsignal(sig));
    }
    save_outputs(&t->c, t->part);
    return memcmp(t->part, t->whole, t->bytes) ? fail(t, "bits depend on the split by item") : 0;
}

static int check_case(struct test *t)
{
    enum { MAX_SINGLE_ITEMS = 200 };
    case_reset(&t->c);
    save_outputs(&t->c, t->fresh);
    if (run_fresh(t, t->ref, 0, t->items)) return 1;
    save_outputs(&t->c, t->want);
    if (run_fresh(t, t->k, 0, t->items)) return 1;
    save_outputs(&t->c, t->whole);
    if (close_to_reference(t) || pieces_fit(t)) return 1;
    return t->items <= MAX_SINGLE_ITEMS && items_fit(t);
}

static void describe(const struct test *t, FILE *log)
{
    fprintf(log, "  %s:", t->k->name);
    for (size_t i = 0; t->d->dims[i]; i++) fprintf(log, " %s=%zu", t->d->dims[i], t->c.s.d[i]);
    fprintf(log, " data=%d: %s\n", (int)t->c.data, t->why);
}

static int check_shape(struct test *t, const struct ek_shape *s, long kinds, FILE *log)
{
    for (int data = 0; data < DATA_KINDS && (kinds < 1 || data < kinds); data++) {
        t->c = (struct ek_case){.fmt      = t->k->fmt,
                                .s        = *s,
                                .data     = (enum ek_data)data,
                                .rng      = (uint64_t)data * 7919 + s->d[0] * 31 + s->d[1],
                                .streams  = s->d[0] >> 1 & 1,
                                .at_start = (int)((s->d[0] + (size_t)data) & 1)};
        case_make(&t->c, t->d);
        t->items              = t->d->items(s);
        t->bytes              = output_bytes(&t->c);
        unsigned char *images = malloc(4 * t->bytes);
        if (!images) {
            perror("malloc");
            exit(2);
        }
        t->want = images, t->whole = images + t->bytes;
        t->fresh = images + 2 * t->bytes, t->part = images + 3 * t->bytes;
        case_lock(&t->c, 1);
        const int bad = check_case(t);
        case_lock(&t->c, 0);
        if (bad) describe(t, log);
        free(images);
        case_drop(&t->c);
        if (bad) return 1;
    }
    return 0;
}

int check_kernel(const struct ek_kernel *ref, const struct ek_kernel *k, long kinds, FILE *log)
{
    struct test t = {.d = ek_drivers[k->op], .ref = ref, .k = k};
    for (const struct ek_shape *s = t.d->shapes; s->d[0]; s++)
        if (check_shape(&t, s, kinds, log)) return 1;
    return 0;
}
