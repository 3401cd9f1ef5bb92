/* SPDX-License-Identifier: Apache-2.0 */
/* model/row_reader.c - pread with O_DIRECT through aligned buffers, a thread for each request in
 * flight. */
#include "model/row_reader.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    REQUESTS     = 32,
    REQUESTS_MAX = 64,
    BUFFER       = 128 << 10, /* of one request */
    BRIDGE       = 12 << 10,  /* a gap this small is read too: cheaper than a request */
    SMALL_BLOCK  = 512,
    BLOCK        = 4096, /* aligned to this, direct reads succeed on every disk         */
};

/* The pieces of one call, cut into requests: request i is pieces [first[i], first[i + 1]). */
struct batch {
    const struct row_read *list;
    size_t                *first;
    size_t                 count, room;
    atomic_size_t          next;
    struct error           error;
    atomic_int             failed;
};

struct row_reader {
    char             *path;
    int               fd, direct;
    size_t            block; /* places and sizes of direct reads are multiples */
    struct row_source source;
    unsigned char    *buffers; /* one for each thread and one for the caller */
    size_t            threads, started;
    pthread_t         thread[REQUESTS_MAX];
    pthread_mutex_t   lock;
    pthread_cond_t    begin, end;
    uint64_t          turn;    /* counts batches      */
    size_t            working; /* threads not done    */
    int               leave;
    struct batch      batch;
    atomic_ullong     bytes, requests;
};

static ssize_t read_file(void *self, void *to, size_t bytes, uint64_t at)
{
    const struct row_reader *r = self;
    return pread(r->fd, to, bytes, (off_t)at);
}

/* ---- one request ---- */

static void fail_batch(struct row_reader *r, const char *why)
{
    if (atomic_exchange(&r->batch.failed, 1)) return;
    fail(&r->batch.error, EK_E_IO, "%s: %s", r->path, why);
}

/* Bytes [from, to) of the file, at least, to buffer, which then begins with byte *start. */
static int fill(struct row_reader *r, uint64_t from, uint64_t to, unsigned char *buffer,
                uint64_t *start)
{
    const uint64_t lo = from / r->block * r->block;
    const uint64_t hi = (to + r->block - 1) / r->block * r->block;
    *start            = lo;
    for (uint64_t at = lo, next; at < to; at = next) {
        const ssize_t n = r->source.read(r->source.self, buffer + (at - lo), hi - at, at);
        next            = at;
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            fail_batch(r, strerror(errno));
            return -1;
        }
        atomic_fetch_add(&r->requests, 1);
        atomic_fetch_add(&r->bytes, (unsigned long long)n);
        next = at + (uint64_t)n;
        if (next < to) next = next / r->block * r->block; /* go on at a whole block */
        if (next == at) { /* less than a block is there at the end only */
            fail_batch(r, "ends before its last neuron");
            return -1;
        }
    }
    return 0;
}

static void run_request(struct row_reader *r, size_t i, unsigned char *buffer)
{
    const struct row_read *p   = &r->batch.list[r->batch.first[i]];
    const struct row_read *q   = &r->batch.list[r->batch.first[i + 1] - 1];
    const uint64_t         end = q->at + q->bytes;
    /* A piece longer than the buffer stands alone and goes through it bit by bit. */
    for (uint64_t at = p->at, start; at < end;) {
        const uint64_t most = at / r->block * r->block + BUFFER;
        const uint64_t to   = end < most ? end : most;
        if (fill(r, at, to, buffer, &start)) return;
        for (const struct row_read *c = p; c <= q; c++) {
            const uint64_t lo = c->at > at ? c->at : at;
            const uint64_t hi = c->at + c->bytes < to ? c->at + c->bytes : to;
            if (lo < hi)
                memcpy((unsigned char *)c->to + (lo - c->at), buffer + (lo - start), hi - lo);
        }
        at = to;
    }
}

static void run_requests(struct row_reader *r, unsigned char *buffer)
{
    for (size_t i; (i = atomic_fetch_add(&r->batch.next, 1)) < r->batch.count;)
        if (!atomic_load(&r->batch.failed)) run_request(r, i, buffer);
}

/* ---- threads ---- */

static void *work(void *self)
{
    struct row_reader *r    = self;
    uint64_t           seen = 0;
    pthread_mutex_lock(&r->lock);
    unsigned char *buffer = r->buffers + r->started++ * BUFFER;
    pthread_cond_signal(&r->end);
    for (;;) {
        while (r->turn == seen && !r->leave) pthread_cond_wait(&r->begin, &r->lock);
        if (r->leave) break;
        seen = r->turn;
        pthread_mutex_unlock(&r->lock);
        run_requests(r, buffer);
        pthread_mutex_lock(&r->lock);
        if (!--r->working) pthread_cond_signal(&r->end);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static int start_threads(struct row_reader *r, size_t wanted)
{
    while (r->threads < wanted) {
        if (pthread_create(&r->thread[r->threads], NULL, work, r)) return -1;
        r->threads++;
    }
    pthread_mutex_lock(&r->lock);
    while (r->started < r->threads) pthread_cond_wait(&r->end, &r->lock);
    pthread_mutex_unlock(&r->lock);
    return 0;
}

/* Runs what the batch holds; one request is not worth waking anyone. */
static void run_batch(struct row_reader *r)
{
    const int alone = r->batch.count < 2;
    if (!alone) {
        pthread_mutex_lock(&r->lock);
        r->turn++, r->working = r->threads;
        pthread_cond_broadcast(&r->begin);
        pthread_mutex_unlock(&r->lock);
    }
    run_requests(r, r->buffers + r->threads * BUFFER);
    if (alone) return;
    pthread_mutex_lock(&r->lock);
    while (r->working) pthread_cond_wait(&r->end, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

/* ---- opening ---- */

/* Direct reads in blocks of 512 bytes, or 4096, or none at all. */
static void open_direct(struct row_reader *r)
{
    static const size_t blocks[] = {SMALL_BLOCK, BLOCK};
    r->fd                        = open(r->path, O_RDONLY | O_CLOEXEC | O_DIRECT);
    for (int i = 0; i < 2 && r->fd >= 0; i++) {
        r->block = blocks[i];
        if (pread(r->fd, r->buffers, r->block, (off_t)r->block) < 0) continue;
        r->direct = 1;
        return;
    }
    if (r->fd >= 0) close(r->fd);
    r->block = 1;
    r->fd    = open(r->path, O_RDONLY | O_CLOEXEC);
    if (r->fd >= 0) (void)posix_fadvise(r->fd, 0, 0, POSIX_FADV_RANDOM);
}

ek_status row_reader_open(struct row_reader **out, const char *path,
                          const struct row_reader_options *o, struct error *e)
{
    const size_t       asked    = o && o->requests ? o->requests : REQUESTS;
    const size_t       requests = asked < REQUESTS_MAX ? asked : REQUESTS_MAX;
    struct row_reader *r        = calloc(1, sizeof *r);
    if (!r) return fail(e, EK_E_NOMEM, "%s: out of memory", path);
    r->fd      = -1;
    r->path    = strdup(path);
    r->buffers = aligned_alloc(BLOCK, requests * BUFFER);
    r->block   = 1;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->begin, NULL);
    pthread_cond_init(&r->end, NULL);
    ek_status s = r->path && r->buffers ? EK_OK : fail(e, EK_E_NOMEM, "%s: out of memory", path);
    r->source   = (struct row_source){read_file, r};
    if (!s && o && o->source)
        r->source = *o->source;
    else if (!s)
        open_direct(r);
    if (!s && r->source.self == r && r->fd < 0)
        s = fail(e, EK_E_IO, "%s: %s", path, strerror(errno));
    if (!s && start_threads(r, requests - 1))
        s = fail(e, EK_E_NOMEM, "%s: cannot start %zu threads", path, requests - 1);
    if (s)
        row_reader_close(r);
    else
        *out = r;
    return s;
}

void row_reader_close(struct row_reader *r)
{
    if (!r) return;
    pthread_mutex_lock(&r->lock);
    r->leave = 1;
    pthread_cond_broadcast(&r->begin);
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < r->threads; i++) pthread_join(r->thread[i], NULL);
    pthread_cond_destroy(&r->end);
    pthread_cond_destroy(&r->begin);
    pthread_mutex_destroy(&r->lock);
    if (r->fd >= 0) close(r->fd);
    free(r->batch.first);
    free(r->buffers);
    free(r->path);
    free(r);
}

/* ---- reading ---- */

/* Cuts a list into requests: neighbours, and what small gaps part, as far as a buffer holds. */
static void cut(struct batch *b, size_t count)
{
    uint64_t begin = 0, end = 0;
    b->count = 0;
    for (size_t i = 0; i < count; i++) {
        const struct row_read *p    = &b->list[i];
        const uint64_t         last = p->at + p->bytes;
        const int joins = i && p->at - end <= BRIDGE && last - begin <= BUFFER - 2 * BLOCK;
        if (!joins) b->first[b->count++] = i, begin = p->at;
        end = last;
    }
    b->first[b->count] = count;
}

ek_status row_reader_read(struct row_reader *r, const struct row_read *list, size_t count,
                          struct error *e)
{
    struct batch *b = &r->batch;
    if (!count) return EK_OK;
    if (count + 1 > b->room) {
        size_t *more = realloc(b->first, 2 * (count + 1) * sizeof *more);
        if (!more) return fail(e, EK_E_NOMEM, "%s: out of memory", r->path);
        b->first = more, b->room = 2 * (count + 1);
    }
    b->list = list;
    atomic_store(&b->next, 0);
    atomic_store(&b->failed, 0);
    cut(b, count);
    run_batch(r);
    if (!atomic_load(&b->failed)) return EK_OK;
    if (e) *e = b->error;
    return EK_E_IO;
}

void row_reader_counts(const struct row_reader *r, uint64_t *bytes, uint64_t *requests)
{
    *bytes = atomic_load(&r->bytes), *requests = atomic_load(&r->requests);
}

int row_reader_direct(const struct row_reader *r)
{
    return r->direct;
}
