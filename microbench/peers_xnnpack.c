/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/peers_xnnpack.c - XNNPACK's fully-connected operators, f32 and qs8. */
#include "microbench/peers.h"

#include "tests/drivers/linear.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <xnnpack.h>

/* f32 stands beside ours on f32 weights. qs8 stands beside 8-bit weights with 8-bit activations: it
 * is the nearest that XNNPACK has had all along, but does less, with one scale for all weights, one
 * for all activations, and results rounded to 8 bit. */

enum {
    LARGEST_MIB = 64,  /* of one operator's weights: beyond, rows have no peer                   */
    COPIES_MIB  = 512, /* of all copies of one matrix: packing them takes XNNPACK about a second */
};

/* Copies of one matrix, shared by rows that differ in tokens or threads only. An operator is set up
 * for one row at a time: the next row that runs it does so anew, which takes tens of ns. */
struct copies {
    enum ek_fmt         fmt;
    size_t              n, k, count, rows; /* rows that use them */
    xnn_operator_t     *op;
    const struct peer **ready_for;
    struct copies      *next;
};
static struct copies *all_copies;

struct peer {
    struct copies *w;
    size_t         m, at; /* at: the next operator to run */
    void          *x, *y;
    pthreadpool_t  pool; /* NULL: the calling thread */
};

static size_t element(enum ek_fmt fmt)
{
    return fmt == EK_FMT_f32 ? sizeof(float) : 1;
}

int peer_supports(enum ek_op op, enum ek_fmt fmt, const struct ek_shape *s)
{
    const int f32 = (op == EK_OP_gemv || op == EK_OP_gemm) && fmt == EK_FMT_f32;
    const int qs8 = (op == EK_OP_gemv_i8 || op == EK_OP_gemm_i8) && fmt == EK_FMT_q8g32;
    return (f32 || qs8) && s->d[DIM_N] * s->d[DIM_K] * element(fmt) <= (size_t)LARGEST_MIB << 20;
}

double peer_bytes(enum ek_fmt fmt, const struct ek_shape *s)
{
    const double n = (double)s->d[DIM_N], k = (double)s->d[DIM_K], m = (double)s->d[DIM_M];
    return (double)element(fmt) * (n * k + m * (n + k));
}

const char *peer_description(void)
{
    return EK_PEER_DESCRIPTION;
}

/* ---- memory: huge pages for packed weights, as our own rows have them ---- */

static void *take(void *context, size_t size)
{
    (void)context;
    return malloc(size);
}
static void *retake(void *context, void *p, size_t size)
{
    (void)context;
    return realloc(p, size);
}
static void drop(void *context, void *p)
{
    (void)context;
    free(p);
}
static void *take_aligned(void *context, size_t alignment, size_t size)
{
    enum { HUGE = 2 << 20 };
    void *p = NULL;
    (void)context;
    if (posix_memalign(&p, size < HUGE ? alignment : HUGE, size)) return NULL;
    if (size >= HUGE) (void)madvise(p, size, MADV_HUGEPAGE);
    return p;
}

static const struct xnn_allocator allocator = {.allocate           = take,
                                               .reallocate         = retake,
                                               .deallocate         = drop,
                                               .aligned_allocate   = take_aligned,
                                               .aligned_deallocate = drop};

/* ---- numbers that need not be kept to be known again ---- */

/* [-127, 127]: a weight by its index, row * k + column, or with ACTIVATION added an activation. */
#define ACTIVATION (UINT64_C(1) << 62)
static int code(uint64_t index)
{
    return (int)(ek_rand(&index) % 255) - 127;
}

static void fill(void *p, enum ek_fmt fmt, size_t count, uint64_t first)
{
    float  *f = p;
    int8_t *q = p;
    for (size_t i = 0; i < count; i++)
        if (fmt == EK_FMT_f32)
            f[i] = (float)code(first + i);
        else
            q[i] = (int8_t)code(first + i);
}

/* Codes are about uniform, with deviation 74: 8-bit results of k products deviate by 40. */
static float result_scale(size_t k)
{
    return 74.0f * 74.0f / 40.0f * sqrtf((float)k);
}

/* ---- the two states of XNNPACK's interface ---- */

/* EK_XNNPACK_CACHES: how many caches creation takes. 0 is the interface of 2022; with caches, an
 * operator is told its shape by a call of its own. */
#if EK_XNNPACK_CACHES == 0
#define CACHES
#elif EK_XNNPACK_CACHES == 1
#define CACHES NULL,
#else
#define CACHES NULL, NULL,
#endif

static int create(const struct copies *w, const void *weights, xnn_operator_t *op)
{
    if (w->fmt == EK_FMT_f32)
        return xnn_create_fully_connected_nc_f32(w->k, w->n, w->k, w->n, weights, NULL, -INFINITY,
                                                 INFINITY, 0, CACHES op) != xnn_status_success;
    return xnn_create_fully_connected_nc_qs8(w->k, w->n, w->k, w->n, 0, 1.0f, 1.0f, weights, NULL,
                                             0, result_scale(w->k), INT8_MIN, INT8_MAX, 0,
                                             CACHES op) != xnn_status_success;
}

static int set_up(const struct peer *p, xnn_operator_t op)
{
    const int       f32    = p->w->fmt == EK_FMT_f32;
    enum xnn_status status = xnn_status_success;
#if EK_XNNPACK_CACHES == 0
    status = f32 ? xnn_setup_fully_connected_nc_f32(op, p->m, p->x, p->y, p->pool)
                 : xnn_setup_fully_connected_nc_qs8(op, p->m, p->x, p->y, p->pool);
#else
    status = f32 ? xnn_reshape_fully_connected_nc_f32(op, p->m, p->pool)
                 : xnn_reshape_fully_connected_nc_qs8(op, p->m, p->pool);
    if (status == xnn_status_success)
        status = f32 ? xnn_setup_fully_connected_nc_f32(op, p->x, p->y)
                     : xnn_setup_fully_connected_nc_qs8(op, p->x, p->y);
#endif
    return status != xnn_status_success;
}
#undef CACHES

/* ---- copies of a matrix ---- */

static void drop_copies(struct copies *w)
{
    for (size_t i = 0; w->op && i < w->count; i++)
        if (w->op[i]) xnn_delete_operator(w->op[i]);
    free(w->op), free(w->ready_for), free(w);
    xnn_deinitialize();
}

static struct copies *make_copies(enum ek_fmt fmt, size_t n, size_t k, size_t count)
{
    if (xnn_initialize(&allocator) != xnn_status_success) return NULL;
    struct copies *w = calloc(1, sizeof *w);
    if (!w) {
        xnn_deinitialize();
        return NULL;
    }
    *w            = (struct copies){.fmt       = fmt,
                                    .n         = n,
                                    .k         = k,
                                    .count     = count,
                                    .op        = calloc(count, sizeof *w->op),
                                    .ready_for = calloc(count, sizeof *w->ready_for)};
    void *weights = malloc(n * k * element(fmt) + XNN_EXTRA_BYTES);
    int   bad     = !w->op || !w->ready_for || !weights;
    if (!bad) fill(weights, fmt, n * k, 0);
    for (size_t i = 0; !bad && i < count; i++) bad = create(w, weights, &w->op[i]);
    free(weights);
    if (!bad) return w;
    drop_copies(w);
    return NULL;
}

/* Those there are, or new ones. */
static struct copies *use_copies(enum ek_fmt fmt, size_t n, size_t k, size_t count)
{
    struct copies *w = all_copies;
    while (w && (w->fmt != fmt || w->n != n || w->k != k || w->count != count)) w = w->next;
    if (!w) {
        w = make_copies(fmt, n, k, count);
        if (!w) return NULL;
        w->next = all_copies, all_copies = w;
    }
    w->rows++;
    return w;
}

static void leave_copies(struct copies *w)
{
    struct copies **link = &all_copies;
    if (--w->rows) return;
    while (*link != w) link = &(*link)->next;
    *link = w->next;
    drop_copies(w);
}

/* ---- correctness before timing ---- */

/* One result against the sum in double, exact for these integers: f32 to rounding, 8-bit to one
 * step either side, as a tie may go both ways. */
static int right(const struct peer *p, size_t token, size_t row)
{
    const size_t k = p->w->k, at = token * p->w->n + row;
    double       sum = 0, magnitude = 0;
    for (size_t i = 0; i < k; i++) {
        const int product = code(row * k + i) * code(ACTIVATION + token * k + i);
        sum += product, magnitude += abs(product);
    }
    if (p->w->fmt == EK_FMT_f32)
        return fabs((double)((const float *)p->y)[at] - sum) <=
               (double)FLT_EPSILON * (double)(k + 4) * magnitude;
    const double want = fmin(fmax(sum / (double)result_scale(k), INT8_MIN), INT8_MAX);
    return fabs((double)((const int8_t *)p->y)[at] - want) <= 1;
}

/* Runs the next operator; compares some rows of the first and the last token. */
static int runs(struct peer *p)
{
    enum { ROWS = 5, FILL = 0xAA };
    const size_t   n  = p->w->n;
    xnn_operator_t op = p->w->op[p->at];
    memset(p->y, FILL, p->m * n * element(p->w->fmt));
    if (set_up(p, op) || xnn_run_operator(op, p->pool) != xnn_status_success) return 0;
    int ok = 1;
    for (size_t i = 0; i < ROWS; i++)
        ok &= right(p, 0, (n - 1) * i / (ROWS - 1)) && right(p, p->m - 1, (n - 1) * i / (ROWS - 1));
    return ok;
}

/* ---- peers ---- */

/* Every operator has run in peer_make: it will run again. */
void peer_call(struct peer *p)
{
    struct copies *w  = p->w;
    const size_t   at = p->at;
    p->at             = at + 1 < w->count ? at + 1 : 0;
    if (w->ready_for[at] != p) {
        (void)set_up(p, w->op[at]);
        w->ready_for[at] = p;
    }
    (void)xnn_run_operator(w->op[at], p->pool);
}

struct peer *peer_make(enum ek_fmt fmt, const struct ek_shape *s, size_t rotate,
                       const struct threads *pool)
{
    const size_t n = s->d[DIM_N], k = s->d[DIM_K], m = s->d[DIM_M], bytes = n * k * element(fmt);
    const size_t most = (size_t)COPIES_MIB << 20, room = rotate < most ? rotate : most;
    struct peer *p = calloc(1, sizeof *p);
    if (!p) return NULL;
    *p     = (struct peer){.w    = use_copies(fmt, n, k, room > bytes ? room / bytes : 1),
                           .m    = m,
                           .x    = malloc(m * k * element(fmt) + XNN_EXTRA_BYTES),
                           .y    = malloc(m * n * element(fmt) + XNN_EXTRA_BYTES),
                           .pool = pool->count > 1 ? pool->tp : NULL};
    int ok = p->w && p->x && p->y;
    if (ok) fill(p->x, fmt, m * k, ACTIVATION);
    for (size_t i = 0; ok && i < p->w->count; i++) {
        p->at              = i;
        p->w->ready_for[i] = p;
        ok                 = runs(p);
    }
    if (ok) return p;
    peer_drop(p);
    return NULL;
}

void peer_drop(struct peer *p)
{
    if (!p) return;
    for (size_t i = 0; p->w && i < p->w->count; i++)
        if (p->w->ready_for[i] == p) p->w->ready_for[i] = NULL;
    if (p->w) leave_copies(p->w);
    free(p->x), free(p->y), free(p);
}
