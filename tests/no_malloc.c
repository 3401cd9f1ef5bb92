/* SPDX-License-Identifier: Apache-2.0 */
/* tests/no_malloc.c - stands between the library and the allocator: ops and kernels must not ask
 * for memory after setup. The counter is first seen to count. */
#include "ek/ek.h"

#include <stdio.h>
#include <string.h>

/* The allocator's own names for what is wrapped here (glibc). */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *p, size_t size);
void *aligned_alloc(size_t alignment, size_t size);

static volatile unsigned long allocations;

void *malloc(size_t size)
{
    allocations++;
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size)
{
    allocations++;
    return __libc_calloc(count, size);
}
void *realloc(void *p, size_t size)
{
    allocations++;
    return __libc_realloc(p, size);
}
void *aligned_alloc(size_t alignment, size_t size)
{
    allocations++;
    return __libc_memalign(alignment, size);
}

enum { N = 100, K = 512, TOKENS = 40, WORK = 1 << 20 };
static float         x[TOKENS * K], y[TOKENS * K], table_cos[K], table_sin[K];
static uint32_t      index_of[TOKENS];
static unsigned char data[N * K * 4 + 4096] __attribute__((aligned(64)));
static unsigned char work[WORK] __attribute__((aligned(64)));
static float         dense[N * K];

static int run_linear(const struct ek_kernels *t, const struct ek_weights *w, size_t m, int act)
{
    const struct ek_linear_options o = {sizeof o, (enum ek_activation)act, 0};
    return ek_linear(t, NULL, w, x, K, m, y, N, &o, work, sizeof work) != EK_OK;
}

static int run_vectors(const struct ek_kernels *t)
{
    const int32_t               pos    = 0;
    const struct ek_rope_args   r      = {x, y, table_cos, table_sin, &pos, 1, K, K, 0};
    const struct ek_rope_config config = {.struct_size = sizeof config, .theta = 1e4};
    return ek_rmsnorm(t, NULL, x, NULL, y, TOKENS, K, 1e-5f) ||
           ek_layernorm(t, NULL, x, NULL, NULL, y, TOKENS, K, 1e-5f) ||
           ek_act(t, NULL, EK_ACT_SILU, x, x, y, TOKENS * K) || ek_add(t, NULL, x, x, y, K) ||
           ek_softmax(t, NULL, x, y, TOKENS, K, 1) ||
           ek_rope_table(&config, K, 0, 1, table_cos, table_sin) || ek_rope(t, NULL, &r, 1) ||
           ek_argmax(t, NULL, x, index_of, NULL, TOKENS, K) ||
           ek_topk(t, NULL, x, index_of, y, 1, K, 7);
}

static int run_masks(const struct ek_kernels *t)
{
    enum { WORDS = (N + 63) / 64, TOPS = 8 };
    const enum ek_layout    layout = ek_fmt_info(EK_FMT_f32)->layout;
    static uint64_t         masks[TOKENS * (K / 64)], any[WORDS];
    static uint32_t         added[N], removed[N];
    const struct ek_weights down = {EK_FMT_f32, layout, TOPS, K, dense},
                            up   = {EK_FMT_f32, layout, N, TOPS, dense};
    struct ek_predictor p = {sizeof p, &down, &up, NULL, {sizeof p.rule, EK_RULE_TOPK, 0, 9}};
    struct ek_mask_diff d = {.added = added, .removed = removed, .room = N};
    const struct ek_wcache_config config = {sizeof config,     N, N,    K,    dense,
                                            K * sizeof *dense, t, NULL, NULL, NULL};
    struct ek_wcache             *cache;
    struct ek_wcache_stats        stats;
    struct ek_mask_rule           rule = {sizeof rule, EK_RULE_TOPK, 0.5, 7};
    size_t                        count;
    int                           bad = 0;
    for (int kind = EK_RULE_THRESHOLD; kind <= EK_RULE_SIGMA; kind++) {
        rule.kind = (enum ek_rule_kind)kind;
        bad |= ek_mask_scores(t, NULL, &rule, x, K, TOKENS, K, masks, work, sizeof work) != EK_OK;
    }
    return bad || ek_predict(t, NULL, &p, x, K, TOKENS, any, work, sizeof work) ||
           ek_mask_union(masks, TOKENS, K, masks) || ek_mask_set(masks, N, NULL, 0) ||
           ek_mask_diff(masks, any, N, &d) || ek_mask_list(any, N, added, N, &count) ||
           ek_mask_set(masks, N, added, count) ||
           ek_wcache_init(&config, data, sizeof data, &cache) ||
           ek_wcache_update(cache, NULL, any) || ek_wcache_slots(cache, added, count, removed) ||
           (ek_wcache_stats(cache, &stats), stats.rows_read != count);
}

static int run_attention(const struct ek_kernels *t, enum ek_fmt fmt, size_t m)
{
    enum { HEADS = 4, KV_HEADS = 2, DIM = 64, SLOTS = 64 };
    static const int32_t pos[SLOTS] = {0, 1, 2, 3, 4, 5, 6, 7};
    const struct ek_kv   kv         = {sizeof kv, fmt, KV_HEADS, DIM, SLOTS, data};
    struct ek_attention  a          = {.struct_size = sizeof a,
                                       .kv          = &kv,
                                       .kv_pos      = pos,
                                       .used        = 8,
                                       .q           = x,
                                       .q_pos       = pos + 8 - m,
                                       .y           = y,
                                       .m           = m,
                                       .heads       = HEADS,
                                       .ldq         = HEADS * DIM,
                                       .ldy         = HEADS * DIM,
                                       .scale       = 0.125f};
    size_t               bytes;
    memset(data, 0, sizeof data);
    return ek_kv_bytes(fmt, KV_HEADS, DIM, SLOTS, &bytes) || bytes > sizeof data ||
           ek_kv_store(t, NULL, &kv, dense, dense, KV_HEADS * DIM, 8, pos) ||
           ek_attention_work_bytes(t, &a, NULL, &bytes) ||
           ek_attention(t, NULL, &a, work, sizeof work);
}

static int run_sparse(const struct ek_kernels *t, enum ek_fmt fmt, size_t m)
{
    enum { NEURONS = 12, D = 512 };
    static const uint32_t   list[] = {0, 3, 4, 9, 11};
    const struct ek_neurons mlp = {fmt, NEURONS, D, 3, data}, columns = {fmt, 36, D, 1, data};
    const struct ek_sparse_options o   = {.struct_size = sizeof o, .act = EK_ACT_SILU};
    int                            bad = 0;
    for (size_t r = 0; r < 3; r++)
        bad |= ek_neurons_quantize(fmt, dense, D, 1, NEURONS, D, 3, r, data, sizeof data) != EK_OK;
    return bad || ek_neurons_matrix(&mlp, 1, 0, NEURONS, work, sizeof work) ||
           ek_neurons_transposed(&mlp, 2, 0, NEURONS, work, NEURONS) ||
           ek_sparse_mlp(t, NULL, &mlp, list, 5, x, K, m, y, K, &o, work, sizeof work) ||
           ek_sparse_gemv(t, NULL, &columns, list, 5, x, K, m, y, K, work, sizeof work);
}

/* The first rows of a head, by all ways to read one. */
static int run_head(const struct ek_kernels *t, const struct ek_weights *w)
{
    static unsigned char  mem[N * K * 4] __attribute__((aligned(64)));
    static float          value[3];
    static uint32_t       id[3];
    struct ek_head_screen screen;
    struct ek_head        h = {.struct_size = sizeof h, .w = *w};
    struct ek_head_call   c = {sizeof c, &h, EK_HEAD_FULL, x, 3, id, value, NULL};
    size_t                bytes, work_bytes;
    if (ek_weights_gather(w, id, 3, mem, sizeof mem) || ek_head_work_bytes(&c, NULL, &bytes) ||
        ek_head(t, NULL, &c, NULL, work, sizeof work) ||
        ek_head_rows(t, NULL, &h, x, id, 3, y, work, sizeof work))
        return 1;
    if (w->fmt > EK_FMT_q8g32) return 0; /* too small already for a smaller copy */
    h.screen = &screen, c.mode = EK_HEAD_CERTIFIED;
    return ek_head_screen_bytes(w, EK_FMT_q4g32, NULL, &bytes, &work_bytes) ||
           ek_head_screen_build(NULL, w, EK_FMT_q4g32, mem, sizeof mem, work, sizeof work,
                                &screen) ||
           ek_head(t, NULL, &c, NULL, work, sizeof work);
}

int main(void)
{
    static const size_t tokens[] = {1, 4, TOKENS};
    struct ek_kernels   t;
    if (ek_kernels_default(&t)) return 2; /* setup: cpuinfo allocates */
    const unsigned long before_probe = allocations;
    void *volatile probe             = malloc(1);
    if (!probe || allocations == before_probe) {
        puts("no_malloc: the counter does not count");
        return 2;
    }
    for (size_t i = 0; i < N * K; i++) dense[i] = (float)(i % 17) - 8;
    const unsigned long before = allocations;
    int                 bad    = 0;
    for (int f = 0; f < EK_FMT_i8; f++) {
        const struct ek_weights w = {(enum ek_fmt)f, ek_fmt_info((enum ek_fmt)f)->layout, N, K,
                                     data};
        bad |= ek_weights_quantize(w.fmt, dense, N, K, data, sizeof data) != EK_OK;
        for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
            for (int act = EK_ACTIVATION_I8; act <= EK_ACTIVATION_F32; act++)
                bad |= run_linear(&t, &w, tokens[i], act);
        bad |= run_head(&t, &w);
    }
    bad |= run_vectors(&t) || run_masks(&t);
    for (size_t m = 1; m < 8; m += 6)
        bad |= run_attention(&t, EK_FMT_f32, m) || run_attention(&t, EK_FMT_f16, m) ||
               run_attention(&t, EK_FMT_bf16, m) || run_attention(&t, EK_FMT_i8, m);
    for (size_t m = 1; m < 9; m += 7)
        bad |= run_sparse(&t, EK_FMT_f32, m) || run_sparse(&t, EK_FMT_bf16, m) ||
               run_sparse(&t, EK_FMT_q8g32, m) || run_sparse(&t, EK_FMT_q4g32, m);
    const unsigned long made = allocations - before;
    printf("no_malloc: %s, %lu allocations\n", bad ? "an op failed" : "all ops ran", made);
    return bad || made != 0;
}
