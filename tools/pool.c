/* SPDX-License-Identifier: Apache-2.0 */
/* tools/pool.c - ek_pool over pthreadpool; pinning; flushing of denormals. */
#include "tools/pool.h"

#include <pthread.h>
#include <pthreadpool.h>
#include <sched.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* pthreadpool orders its tasks by futexes and atomics of its own, which ThreadSanitizer does not
 * see in an uninstrumented library: tell it what the fork and the join guarantee. */
#if defined(__SANITIZE_THREAD__)
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define TSAN_ACQUIRE(p) __tsan_acquire(p)
#define TSAN_RELEASE(p) __tsan_release(p)
#else
#define TSAN_ACQUIRE(p) (void)(p)
#define TSAN_RELEASE(p) (void)(p)
#endif

struct call {
    ek_task_fn *fn;
    void       *task;
};

/* pthreadpool passes start and length; ek_task_fn takes [begin, end). */
static void run_tile(void *p, size_t start, size_t length)
{
    struct call *c = p;
    TSAN_ACQUIRE(c);
    c->fn(c->task, start, start + length);
    TSAN_RELEASE(c);
}

static void run_flags(void *self, size_t items, size_t grain, ek_task_fn *fn, void *task,
                      uint32_t flags)
{
    struct call c = {fn, task};
    TSAN_RELEASE(&c);
    pthreadpool_parallelize_1d_tile_1d(self, run_tile, &c, items, grain, flags);
    TSAN_ACQUIRE(&c);
}
static void run(void *self, size_t items, size_t grain, ek_task_fn *fn, void *task)
{
    run_flags(self, items, grain, fn, task, 0);
}
/* Threads that wait for the next call by spinning would keep a core from those at work. */
static void run_crowded(void *self, size_t items, size_t grain, ek_task_fn *fn, void *task)
{
    run_flags(self, items, grain, fn, task, PTHREADPOOL_FLAG_YIELD_WORKERS);
}

static int crowded(size_t count)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 && count > (size_t)CPU_COUNT(&set);
}

static void flush_denormals(void)
{
#if defined(__x86_64__)
    enum { FLUSH_TO_ZERO = 0x8000, DENORMALS_ARE_ZERO = 0x0040 };
    _mm_setcsr(_mm_getcsr() | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr | UINT64_C(1) << 24));
#endif
}

/* One item per thread: the barrier keeps a fast thread from taking two. */
struct setup {
    pthread_barrier_t barrier;
    const int        *cpus;
    int               failed;
};

static void set_up_thread(void *p, size_t i)
{
    struct setup *s = p;
    TSAN_ACQUIRE(s);
    pthread_barrier_wait(&s->barrier);
    flush_denormals();
    if (s->cpus) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET((size_t)s->cpus[i], &set);
        if (sched_setaffinity(0, sizeof set, &set))
            __atomic_store_n(&s->failed, 1, __ATOMIC_RELAXED);
    }
    TSAN_RELEASE(s);
}

int threads_start(struct threads *t, size_t count, const int *cpus)
{
    *t = (struct threads){.tp = pthreadpool_create(count), .count = count};
    if (!t->tp) return -1;
    struct setup s = {.cpus = cpus};
    if (pthread_barrier_init(&s.barrier, NULL, (unsigned)count)) return -1;
    TSAN_RELEASE(&s);
    pthreadpool_parallelize_1d(t->tp, set_up_thread, &s, count, 0);
    TSAN_ACQUIRE(&s);
    pthread_barrier_destroy(&s.barrier);
    t->pool = (ek_pool){.struct_size = sizeof t->pool,
                        .threads     = count,
                        .run         = !cpus && crowded(count) ? run_crowded : run,
                        .self        = t->tp};
    return s.failed ? -1 : 0;
}

void threads_stop(struct threads *t)
{
    pthreadpool_destroy(t->tp);
    t->tp = NULL;
}
