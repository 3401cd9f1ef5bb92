/* SPDX-License-Identifier: Apache-2.0 */
/* tests/threads.c - the ops on pools of 1 to 8 threads give the bytes they give without one. Runs
 * under ThreadSanitizer too. */
#include "ek/ek.h"
#include "tests/driver.h"
#include "tools/pool.h"

#include <stdlib.h>
#include <string.h>

enum { N = 333, K = 640, ROWS = 37, MAX_THREADS = 8 };

static struct ek_kernels table;
static int               failed;

static void *need(void *p)
{
    if (!p) {
        perror("threads: memory");
        exit(2);
    }
    return p;
}

static void expect_same(const char *what, size_t threads, const void *a, const void *b,
                        size_t bytes)
{
    if (!memcmp(a, b, bytes)) return;
    fprintf(stderr, "threads: %s differs with %zu threads\n", what, threads);
    failed = 1;
}

static void expect_ok(const char *what, ek_status s)
{
    if (!s) return;
    fprintf(stderr, "threads: %s: %s\n", what, ek_status_text(s));
    failed = 1;
}

/* One product without and with the pool. */
static void test_linear(const ek_pool *pool, const struct ek_weights *w, const float *x, size_t m,
                        const struct ek_linear_options *o)
{
    size_t bytes[2];
    char   what[64];
    snprintf(what, sizeof what, "linear %s m=%zu act=%d", ek_fmt_info(w->fmt)->name, m,
             (int)o->activation);
    expect_ok(what, ek_linear_work_bytes(w, m, NULL, o, &bytes[0]));
    expect_ok(what, ek_linear_work_bytes(w, m, pool, o, &bytes[1]));
    float *y[2];
    for (int i = 0; i < 2; i++) {
        void *work = need(aligned_alloc(64, (bytes[i] + 127) / 64 * 64));
        y[i]       = need(malloc(m * w->n * sizeof *y[i]));
        expect_ok(what,
                  ek_linear(&table, i ? pool : NULL, w, x, w->k, m, y[i], w->n, o, work, bytes[i]));
        free(work);
    }
    expect_same(what, pool->threads, y[0], y[1], m * w->n * sizeof *y[0]);
    free(y[0]), free(y[1]);
}

static void test_linears(const ek_pool *pool, const float *dense, const float *x)
{
    static const size_t tokens[] = {1, 5, 40};
    for (int f = 0; f < EK_FMT_i8; f++) {
        const enum ek_fmt fmt = (enum ek_fmt)f;
        size_t            bytes;
        expect_ok("size", ek_weights_bytes(fmt, N, K, &bytes, NULL));
        void *data = need(aligned_alloc(64, (bytes + 63) / 64 * 64));
        expect_ok("quantize", ek_weights_quantize(fmt, dense, N, K, data, bytes));
        const struct ek_weights w = {fmt, ek_fmt_info(fmt)->layout, N, K, data};
        for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
            for (int act = EK_ACTIVATION_I8; act <= EK_ACTIVATION_F32; act++) {
                const struct ek_linear_options o = {sizeof o, (enum ek_activation)act, i == 1};
                test_linear(pool, &w, x, tokens[i], &o);
            }
        free(data);
    }
}

static void test_vectors(const ek_pool *pool, const float *x)
{
    enum { COUNT = ROWS * K, TOP = 9 };
    static float    y[2][COUNT];
    static uint32_t index[2][ROWS * TOP];
    static float    cos_table[ROWS * K / 2], sin_table[ROWS * K / 2];
    static int32_t  pos[ROWS];
#define BOTH(call, what)                                                                           \
    for (int i = 0; i < 2; i++) {                                                                  \
        const ek_pool *p = i ? pool : NULL;                                                        \
        expect_ok(what, call);                                                                     \
    }                                                                                              \
    expect_same(what, pool->threads, y[0], y[1], sizeof y[0]);                                     \
    expect_same(what, pool->threads, index[0], index[1], sizeof index[0])
    BOTH(ek_rmsnorm(&table, p, x, x, y[i], ROWS, K, 1e-5f), "rmsnorm");
    BOTH(ek_layernorm(&table, p, x, x, x, y[i], ROWS, K, 1e-5f), "layernorm");
    BOTH(ek_softmax(&table, p, x, y[i], ROWS, K, 2.0f), "softmax");
    BOTH(ek_act(&table, p, EK_ACT_GELU_ERF, x, x, y[i], COUNT), "act");
    BOTH(ek_add(&table, p, x, x, y[i], COUNT), "add");
    BOTH(ek_argmax(&table, p, x, index[i], y[i], ROWS, K), "argmax");
    BOTH(ek_topk(&table, p, x, index[i], y[i], ROWS, K, TOP), "topk");
    const struct ek_rope_config c = {.struct_size = sizeof c, .theta = 10000};
    expect_ok("rope table", ek_rope_table(&c, K, 0, ROWS, cos_table, sin_table));
    for (int i = 0; i < ROWS; i++) pos[i] = ROWS - 1 - i;
    struct ek_rope_args r = {x, NULL, cos_table, sin_table, pos, 1, K, K, 1};
    BOTH((r.y = y[i], ek_rope(&table, p, &r, ROWS)), "rope");
#undef BOTH
}

static void test_masks(const ek_pool *pool, const float *x)
{
    enum { M = 11, WORDS = K / 64 };
    static uint64_t mask[2][M * WORDS];
    static float    moments[2][2 * M];
    size_t          bytes;
    for (int kind = EK_RULE_THRESHOLD; kind <= EK_RULE_SIGMA; kind++) {
        const struct ek_mask_rule rule = {sizeof rule, (enum ek_rule_kind)kind, 0.5, 100};
        for (int i = 0; i < 2; i++) {
            const ek_pool *p = i ? pool : NULL;
            expect_ok("mask size", ek_mask_scores_work_bytes(&rule, M, K, p, &bytes));
            void *work = need(aligned_alloc(64, (bytes + 63) / 64 * 64));
            expect_ok("mask", ek_mask_scores(&table, p, &rule, x, K, M, K, mask[i], work, bytes));
            free(work);
        }
        expect_same("mask", pool->threads, mask[0], mask[1], sizeof mask[0]);
    }
    for (int i = 0; i < 2; i++) {
        const struct ek_moments_args a = {x, moments[i], K, K};
        expect_ok("moments", ek_moments(&table, i ? pool : NULL, &a, M));
    }
    expect_same("moments", pool->threads, moments[0], moments[1], sizeof moments[0]);
}

/* Two masks, one after the other; then which slots, and what is in them. */
static void test_wcache(const ek_pool *pool, const float *dense)
{
    const struct ek_wcache_config c = {
        sizeof c, N, N, K * sizeof *dense, dense, K * sizeof *dense, &table, NULL, NULL, NULL};
    uint64_t          mask[(N + 63) / 64], seed = 9;
    struct ek_wcache *cache[2];
    void             *memory[2];
    size_t            bytes, stride = 0;
    expect_ok("wcache size", ek_wcache_bytes(&c, &bytes));
    for (int i = 0; i < 2; i++) {
        memory[i] = need(aligned_alloc(64, (bytes + 63) / 64 * 64));
        expect_ok("wcache", ek_wcache_init(&c, memory[i], bytes, &cache[i]));
    }
    for (int update = 0; update < 2; update++) {
        for (size_t w = 0; w < sizeof mask / sizeof *mask; w++)
            mask[w] = ek_rand(&seed) >> (w == N / 64 ? 64 - N % 64 : 0);
        for (int i = 0; i < 2; i++)
            expect_ok("wcache", ek_wcache_update(cache[i], i ? pool : NULL, mask));
    }
    const size_t count = ek_wcache_count(cache[0]);
    const void  *rows  = ek_wcache_rows(cache[0], &stride);
    expect_same("wcache slots", pool->threads, ek_wcache_active(cache[0]),
                ek_wcache_active(cache[1]), count * sizeof(uint32_t));
    expect_same("wcache rows", pool->threads, rows, ek_wcache_rows(cache[1], NULL), count * stride);
    free(memory[0]), free(memory[1]);
}

/* A text of LEN tokens stored and attended to, by one token and by many. */
static void test_attention(const ek_pool *pool, const float *x, enum ek_fmt fmt, size_t heads,
                           size_t kv_heads)
{
    enum { DIM = 48, LEN = 1100, M = 37 };
    static int32_t slot[LEN];
    static float   y[2][M * 16 * DIM];
    size_t         bytes, width = kv_heads * DIM, need_bytes;
    char           what[64];
    expect_ok("cache size", ek_kv_bytes(fmt, kv_heads, DIM, LEN, &bytes));
    struct ek_kv kv[2];
    for (size_t i = 0; i < LEN; i++) slot[i] = (int32_t)i;
    for (int i = 0; i < 2; i++) {
        kv[i] =
            (struct ek_kv){sizeof kv[i], fmt, kv_heads, DIM, LEN, need(aligned_alloc(64, bytes))};
        memset(kv[i].data, 0, bytes);
        for (size_t at = 0; at < LEN; at += 100) /* x is 40 K floats: 100 tokens of 4 heads fit */
            expect_ok("store", ek_kv_store(&table, i ? pool : NULL, &kv[i], x + at % 7, x + at % 11,
                                           width, 100, slot + at));
    }
    snprintf(what, sizeof what, "kv_store %s", ek_fmt_info(fmt)->name);
    expect_same(what, pool->threads, kv[0].data, kv[1].data, bytes);
    for (size_t m = 1; m <= M; m += M - 1) {
        snprintf(what, sizeof what, "attention %s %zu/%zu m=%zu", ek_fmt_info(fmt)->name, heads,
                 kv_heads, m);
        for (int i = 0; i < 2; i++) {
            const ek_pool            *p = i ? pool : NULL;
            const struct ek_attention a = {.struct_size = sizeof a,
                                           .kv          = &kv[i],
                                           .kv_pos      = slot,
                                           .used        = LEN,
                                           .q           = x,
                                           .q_pos       = slot + LEN - m,
                                           .y           = y[i],
                                           .m           = m,
                                           .heads       = heads,
                                           .ldq         = heads * DIM,
                                           .ldy         = heads * DIM,
                                           .window      = m > 1 ? 700 : 0,
                                           .sinks       = 2,
                                           .scale       = 0.3f};
            expect_ok(what, ek_attention_work_bytes(&table, &a, p, &need_bytes));
            void *work = need(aligned_alloc(64, (need_bytes + 63) / 64 * 64));
            expect_ok(what, ek_attention(&table, p, &a, work, need_bytes));
            free(work);
        }
        expect_same(what, pool->threads, y[0], y[1], m * heads * DIM * sizeof(float));
    }
    free(kv[0].data), free(kv[1].data);
}

/* Two neurons of three of a list, and the columns of a matrix. */
static void test_sparse(const ek_pool *pool, const float *dense, const float *x, enum ek_fmt fmt)
{
    enum { D = 500, COUNT = 1000 }; /* neurons enough for several stretches */
    static uint32_t                list[COUNT];
    static float                   y[2][4 * D];
    const struct ek_sparse_options o = {.struct_size = sizeof o, .act = EK_ACT_SILU};
    size_t                         bytes, need_bytes;
    char                           what[64];
    snprintf(what, sizeof what, "sparse %s", ek_fmt_info(fmt)->name);
    expect_ok(what, ek_neurons_bytes(fmt, 3 * COUNT / 2, D, 3, &bytes, NULL));
    void             *data = need(aligned_alloc(64, bytes));
    struct ek_neurons w    = {fmt, 3 * COUNT / 2, D, 3, data};
    for (size_t r = 0; r < 3; r++) /* neurons overlap in dense: steps of 100 */
        expect_ok(what, ek_neurons_quantize(fmt, dense + r, 100, 1, w.n, D, 3, r, data, bytes));
    for (size_t i = 0; i < COUNT; i++) list[i] = (uint32_t)(3 * i / 2);
    for (size_t m = 1; m <= 4; m += 3)
        for (int columns = 0; columns < 2; columns++) {
            w.rows = columns ? 1 : 3;
            expect_ok(what, ek_sparse_work_bytes(&w, COUNT, m, &o, &need_bytes));
            void *work = need(aligned_alloc(64, (need_bytes + 63) / 64 * 64));
            for (int i = 0; i < 2; i++) {
                const ek_pool *p = i ? pool : NULL;
                expect_ok(what, columns ? ek_sparse_gemv(&table, p, &w, list, COUNT, x, COUNT, m,
                                                         y[i], D, work, need_bytes)
                                        : ek_sparse_mlp(&table, p, &w, list, COUNT, x, D, m, y[i],
                                                        D, &o, work, need_bytes));
            }
            expect_same(what, pool->threads, y[0], y[1], m * D * sizeof(float));
            free(work);
        }
    free(data);
}

/* A head of three blocks, all of it and with a screen that the pool built. */
static void test_head(const ek_pool *pool, const float *dense, const float *x)
{
    enum { ROWS_OF_HEAD = 2500, WIDTH = 80, TOP = 20 };
    static uint32_t         id[2][TOP];
    static float            value[2][TOP];
    const struct ek_weights w = {EK_FMT_f32, EK_LAYOUT_ROWS, ROWS_OF_HEAD, WIDTH, dense};
    for (int mode = EK_HEAD_FULL; mode <= EK_HEAD_CERTIFIED; mode++) {
        struct ek_head_counts did[2] = {{0}, {0}};
        for (int i = 0; i < 2; i++) {
            const ek_pool        *p = i ? pool : NULL;
            size_t                bytes, work_bytes;
            struct ek_head_screen s;
            expect_ok("screen", ek_head_screen_bytes(&w, EK_FMT_q4g32, p, &bytes, &work_bytes));
            void *mem  = need(aligned_alloc(64, (bytes + 63) / 64 * 64));
            void *work = need(aligned_alloc(64, (work_bytes + 63) / 64 * 64));
            expect_ok("screen",
                      ek_head_screen_build(p, &w, EK_FMT_q4g32, mem, bytes, work, work_bytes, &s));
            free(work);
            const struct ek_head      h = {.struct_size = sizeof h, .w = w, .screen = &s};
            const struct ek_head_call c = {sizeof c, &h,  (enum ek_head_mode)mode, x, TOP, id[i],
                                           value[i], NULL};
            expect_ok("head", ek_head_work_bytes(&c, p, &bytes));
            work = need(aligned_alloc(64, (bytes + 63) / 64 * 64));
            expect_ok("head", ek_head(&table, p, &c, &did[i], work, bytes));
            free(work), free(mem);
        }
        expect_same("head", pool->threads, id[0], id[1], sizeof id[0]);
        expect_same("head", pool->threads, value[0], value[1], sizeof value[0]);
        expect_same("head", pool->threads, &did[0], &did[1], sizeof did[0]);
    }
}

int main(void)
{
    uint64_t seed  = 5;
    float   *dense = need(malloc(N * K * sizeof *dense));
    float   *x     = need(malloc(40 * K * sizeof *x));
    for (size_t i = 0; i < N * K; i++) dense[i] = ek_randf(&seed);
    for (size_t i = 0; i < 40 * K; i++) x[i] = ek_randf(&seed);
    if (ek_kernels_default(&table)) return 2;
    for (size_t n = 1; n <= MAX_THREADS; n++) {
        struct threads t;
        if (threads_start(&t, n, NULL)) {
            fprintf(stderr, "threads: cannot start %zu\n", n);
            return 2;
        }
        test_linears(&t.pool, dense, x);
        test_vectors(&t.pool, x);
        test_masks(&t.pool, x);
        test_wcache(&t.pool, dense);
        test_head(&t.pool, dense, x);
        test_attention(&t.pool, x, EK_FMT_f32, 4, 1);
        test_attention(&t.pool, x, EK_FMT_f16, 6, 2);
        test_attention(&t.pool, x, EK_FMT_bf16, 4, 4);
        test_attention(&t.pool, x, EK_FMT_i8, 7, 1);
        test_attention(&t.pool, x, EK_FMT_i8, 12, 3);
        test_sparse(&t.pool, dense, x, EK_FMT_f32);
        test_sparse(&t.pool, dense, x, EK_FMT_bf16);
        test_sparse(&t.pool, dense, x, EK_FMT_q8g32);
        test_sparse(&t.pool, dense, x, EK_FMT_q4g32);
        threads_stop(&t);
    }
    free(dense), free(x);
    puts(failed ? "threads: FAILED" : "threads: the same bytes on pools of 1 to 8 threads");
    return failed;
}
