/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_head.c - heads: rows gathered, the largest without the others, slices and lists, what is
 * refused. */
#include "tests/heads.h"

TestSuite(head, .init = select_kernels, .timeout = 600);

/* ---- gathering ---- */

static void check_codes(const struct ek_weights *w, const uint32_t *rows, size_t count,
                        const void *got, size_t bytes)
{
    const struct ek_fmt_info *f  = ek_fmt_info(w->fmt);
    const size_t              kp = ek_padded_k(w->fmt, w->k), groups = kp / f->group;
    const size_t    halves = f->kind == EK_FMT_SUPER ? kp / f->block : groups, all = w->n + count;
    const int       has_m = f->kind != EK_FMT_SYM, has_s = f->kind == EK_FMT_SUPER;
    struct ek_codes c = {calloc(all, kp), calloc(all, halves * 2),
                         has_m ? calloc(all, halves * 2) : NULL, has_s ? calloc(all, groups) : NULL,
                         has_s ? calloc(all, groups) : NULL};
    cr_assert_eq(ek_weights_unpack(w, &c), EK_OK);
    struct ek_codes to = {c.q + w->n * kp, c.d + w->n * halves, has_m ? c.m + w->n * halves : NULL,
                          has_s ? c.sd + w->n * groups : NULL, has_s ? c.sm + w->n * groups : NULL};
    for (size_t i = 0; i < count; i++) {
        memcpy(to.q + i * kp, c.q + rows[i] * kp, kp);
        memcpy(to.d + i * halves, c.d + rows[i] * halves, halves * 2);
        if (has_m) memcpy(to.m + i * halves, c.m + rows[i] * halves, halves * 2);
        if (has_s) memcpy(to.sd + i * groups, c.sd + rows[i] * groups, groups);
        if (has_s) memcpy(to.sm + i * groups, c.sm + rows[i] * groups, groups);
    }
    unsigned char *want = aligned(bytes);
    cr_assert_eq(ek_weights_pack(w->fmt, &to, count, w->k, want, bytes), EK_OK);
    cr_assert(!memcmp(want, got, bytes), "%s, %zu rows", f->name, count);
    free(want), free(c.q), free(c.d), free(c.m), free(c.sd), free(c.sm);
}

Test(head, gathering_loses_nothing)
{
    enum { N = 77, MOST = 40 };
    static const size_t widths[] = {1, 172, 512}, counts[] = {1, 15, 16, 17, MOST};
    for (int f = 0; f < EK_FMT_i8; f++)
        for (size_t j = 0; j < 3; j++) {
            const size_t            k     = widths[j];
            float                  *dense = random_floats(N * k, 7, 1);
            const struct ek_weights w     = make_weights((enum ek_fmt)f, dense, N, k);
            float                  *a = malloc(MOST * k * sizeof *a), *b = malloc(k * sizeof *b);
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                uint32_t rows[MOST];
                uint64_t seed = i + 1;
                size_t   bytes, count = counts[i];
                for (size_t r = 0; r < count; r++) rows[r] = (uint32_t)(ek_rand(&seed) % N);
                cr_assert_eq(ek_weights_bytes(w.fmt, count, k, &bytes, NULL), EK_OK);
                void *data = aligned(bytes);
                memset(data, 0xAA, bytes);
                cr_assert_eq(ek_weights_gather(&w, rows, count, data, bytes), EK_OK);
                const struct ek_weights g = {w.fmt, w.layout, count, k, data};
                cr_assert_eq(ek_weights_dequantize(&g, 0, count, a), EK_OK);
                for (size_t r = 0; r < count; r++) {
                    cr_assert_eq(ek_weights_dequantize(&w, rows[r], rows[r] + 1, b), EK_OK);
                    cr_assert(!memcmp(a + r * k, b, k * sizeof *b));
                }
                if (ek_fmt_info(w.fmt)->block) check_codes(&w, rows, count, data, bytes);
                free(data);
            }
            free(dense), free(a), free(b);
            drop_weights(&w);
        }
}

/* ---- all rows, and some ---- */

/* FULL on this head and state, with and without logits, for some sizes of top. */
static void check_full(const struct ek_head *h, const float *x, const ek_pool *pool,
                       const char *what)
{
    static const size_t tops[] = {1, 2, 40, EK_HEAD_TOP_MAX};
    const size_t        n      = h->w.n;
    float              *want = malloc(n * sizeof *want), *got = malloc(n * sizeof *got);
    uint32_t           *order = malloc(n * sizeof *order), id[EK_HEAD_TOP_MAX];
    float               value[EK_HEAD_TOP_MAX];
    all_logits(h, x, want);
    sort_rows(want, order, n);
    for (size_t j = 0; j < sizeof tops / sizeof *tops; j++) {
        const size_t        top = tops[j] < n ? tops[j] : n;
        struct ek_head_call c = {sizeof c, h, EK_HEAD_FULL, x, top, id, value, j % 2 ? got : NULL};
        uint64_t            bytes;
        const struct ek_head_counts did = run(&c, pool);
        cr_assert(!did.screened && !did.recomputed && !did.fallbacks);
        cr_assert_eq(ek_head_bytes(h, EK_HEAD_FULL, 0, &bytes), EK_OK);
        cr_assert_eq(did.bytes, bytes);
        for (size_t i = 0; i < top; i++)
            cr_assert(id[i] == (h->ids ? h->ids[order[i]] : order[i]) &&
                          same_bits(&value[i], &want[order[i]]),
                      "%s: n=%zu top=%zu: place %zu is %u", what, n, top, i, (unsigned)id[i]);
        if (c.logits) cr_assert(!memcmp(got, want, n * sizeof *got), "%s", what);
    }
    free(want), free(got), free(order);
}

/* Every format, odd sizes, many equal logits. */
Test(head, full_is_topk_of_all_logits)
{
    enum { K = 96 };
    static const size_t sizes[] = {1, 15, 17, 1023, 1024, 1025, 2600};
    float              *x = random_floats(K, 3, 1), *dense = random_floats(2600 * K, 5, 1);
    for (size_t r = 3; r < 2600; r += 3) /* ties near and far */
        memcpy(dense + r * K, dense + r % 63 * K, K * sizeof *dense);
    for (int f = 0; f < EK_FMT_i8; f++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            for (int act = EK_ACTIVATION_AUTO; act <= EK_ACTIVATION_F32; act++) {
                const struct ek_linear_options o = {sizeof o, (enum ek_activation)act, 0};
                const struct ek_head           h = {.struct_size = sizeof h,
                                                    .w = make_weights((enum ek_fmt)f, dense, sizes[i], K),
                                                    .opt = act ? &o : NULL};
                check_full(&h, x, NULL, ek_fmt_info((enum ek_fmt)f)->name);
                drop_weights(&h.w);
            }
    free(x), free(dense);
}

Test(head, full_on_pools)
{
    enum { N = 5003, K = 64 };
    static const size_t counts[] = {1, 2, 3, 8};
    float              *x = random_floats(K, 3, 1), *dense = random_floats(N * K, 5, 1);
    for (size_t r = 1; r < N; r += 2) memcpy(dense + r * K, dense + r % 500 * K, K * sizeof *dense);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct threads t;
        cr_assert_eq(threads_start(&t, counts[i], NULL), 0);
        for (int f = EK_FMT_bf16; f <= EK_FMT_q4g32; f++) {
            const struct ek_head h = {.struct_size = sizeof h,
                                      .w           = make_weights((enum ek_fmt)f, dense, N, K)};
            check_full(&h, x, &t.pool, "pool");
            drop_weights(&h.w);
        }
        threads_stop(&t);
    }
    free(x), free(dense);
}

/* Logits of infinity, of both signs, and NaN: in the weights, or in the state. */
Test(head, numbers_that_are_none)
{
    enum { N = 2100, K = 40 };
    float         *x = random_floats(K, 3, 1), *dense = random_floats(N * K, 5, 1);
    struct ek_head h = {.struct_size = sizeof h, .w = {EK_FMT_f32, EK_LAYOUT_ROWS, N, K, dense}};
    for (size_t r = 5; r < N; r += 211) dense[r * K] = r % 2 ? NAN : INFINITY;
    dense[1500 * K] = -INFINITY;
    check_full(&h, x, NULL, "weights");
    for (size_t r = 0; r < N; r++) dense[r * K] = NAN;
    check_full(&h, x, NULL, "only NaN");
    for (size_t i = 0; i < N * K; i++) dense[i] = -INFINITY;
    for (size_t i = 0; i < K; i++) x[i] = 1;
    check_full(&h, x, NULL, "only -infinity");
    for (int f = 0; f < EK_FMT_i8; f++) {
        float *sound = random_floats(N * K, 6, 1);
        h.w          = make_weights((enum ek_fmt)f, sound, N, K);
        x[7]         = f % 2 ? NAN : INFINITY;
        check_full(&h, x, NULL, "state");
        drop_weights(&h.w);
        free(sound);
    }
    free(x), free(dense);
}

/* A slice gives what the full head gives for these ids; a list of rows gives their logits. */
Test(head, slices_and_lists)
{
    enum { N = 3000, K = 160, PART = 601 };
    float    *x = random_floats(K, 3, 1), *dense = random_floats(N * K, 5, 1);
    float    *y   = malloc(N * sizeof *y), got[PART];
    uint32_t *ids = malloc(PART * sizeof *ids), mixed[PART];
    for (size_t i = 0; i < PART; i++) ids[i] = (uint32_t)(i * 4 + i % 3);
    for (size_t i = 0; i < PART; i++) mixed[i] = (uint32_t)(i * 977 % N);
    struct threads t;
    cr_assert_eq(threads_start(&t, 3, NULL), 0);
    for (int f = 0; f < EK_FMT_i8; f++) {
        const struct ek_head all = {.struct_size = sizeof all,
                                    .w           = make_weights((enum ek_fmt)f, dense, N, K)};
        size_t               bytes;
        cr_assert_eq(ek_weights_bytes(all.w.fmt, PART, K, &bytes, NULL), EK_OK);
        void *data = aligned(bytes);
        cr_assert_eq(ek_weights_gather(&all.w, ids, PART, data, bytes), EK_OK);
        struct ek_head slice = all;
        slice.w.n = PART, slice.w.data = data, slice.ids = ids;
        check_full(&slice, x, &t.pool, "slice");
        all_logits(&all, x, y);
        float part[PART];
        all_logits(&slice, x, part);
        for (size_t i = 0; i < PART; i++) cr_assert(same_bits(&part[i], &y[ids[i]]));
        cr_assert_eq(ek_linear_work_bytes(&all.w, 1, NULL, NULL, &bytes), EK_OK);
        void *work = aligned(bytes);
        for (int pass = 0; pass < 4; pass++) {
            const uint32_t *list = pass % 2 ? mixed : ids;
            cr_assert_eq(ek_head_rows(&table, pass < 2 ? NULL : &t.pool, &all, x, list, PART, got,
                                      work, bytes),
                         EK_OK);
            for (size_t i = 0; i < PART; i++) cr_assert(same_bits(&got[i], &y[list[i]]));
        }
        free(work), free(data);
        drop_weights(&all.w);
    }
    threads_stop(&t);
    free(x), free(dense), free(y), free(ids);
}

/* ---- what is refused ---- */

#define REFUSED(status, member, bad)                                                               \
    do {                                                                                           \
        struct ek_head_call q = c;                                                                 \
        struct ek_head      g = h;                                                                 \
        q.head                = &g;                                                                \
        (member)              = (bad);                                                             \
        cr_assert_eq(ek_head(&table, NULL, &q, NULL, work, bytes), status, #member " = " #bad);    \
    } while (0)

Test(head, refuses_bad_arguments)
{
    enum { N = 40, K = 64 };
    float                  *dense = random_floats(N * K, 5, 1), x[K] = {1}, value[N];
    uint32_t                id[N], rows[2]                           = {3, N};
    const struct ek_weights w = make_weights(EK_FMT_bf16, dense, N, K);
    struct certified        t;
    certified_make(&t, &w, EK_FMT_q4g32);
    const struct ek_head      h = t.h;
    const struct ek_head_call c = {sizeof c, &h, EK_HEAD_CERTIFIED, x, 5, id, value, NULL};
    size_t                    bytes, need, work_need;
    cr_assert_eq(ek_head_work_bytes(&c, NULL, &bytes), EK_OK);
    unsigned char        *work = aligned(bytes + 64);
    uint64_t              count;
    struct ek_head_screen s = t.screen, other;
    memset(id, 0x55, sizeof id);
    REFUSED(EK_E_ARG, q.struct_size, 8);
    REFUSED(EK_E_ARG, q.head, NULL);
    REFUSED(EK_E_ARG, q.x, NULL);
    REFUSED(EK_E_ARG, q.id, NULL);
    REFUSED(EK_E_ARG, q.value, NULL);
    REFUSED(EK_E_ARG, q.logits, value);
    REFUSED(EK_E_ARG, q.top, 0);
    REFUSED(EK_E_ARG, q.top, N + 1);
    REFUSED(EK_E_ARG, q.mode, (enum ek_head_mode)2);
    REFUSED(EK_E_ARG, g.struct_size, 8);
    REFUSED(EK_E_ARG, g.screen, NULL);
    REFUSED(EK_E_ARG, g.w.data, NULL);
    REFUSED(EK_E_ARG, g.w.n, N - 1);
    REFUSED(EK_E_FORMAT, g.w.layout, EK_LAYOUT_PANEL16);
    REFUSED(EK_E_ARG, g.screen, (s.error = NULL, &s));
    REFUSED(EK_E_ARG, g.screen, (s = t.screen, s.largest = NAN, &s));
    REFUSED(EK_E_UNSUPPORTED, g.screen, (s = t.screen, s.q.fmt = EK_FMT_bf16, &s));
    cr_assert_eq(ek_head(NULL, NULL, &c, NULL, work, bytes), EK_E_ARG);
    cr_assert_eq(ek_head(&table, NULL, NULL, NULL, work, bytes), EK_E_ARG);
    cr_assert_eq(ek_head(&table, NULL, &c, NULL, work + 4, bytes), EK_E_ARG);
    cr_assert_eq(ek_head(&table, NULL, &c, NULL, work, bytes - 1), EK_E_NOMEM);
    cr_assert_eq(ek_head_work_bytes(&c, NULL, NULL), EK_E_ARG);
    cr_assert_eq(id[0], 0x55555555);

    cr_assert_eq(ek_head_rows(&table, NULL, &h, x, rows, 2, value, work, bytes), EK_E_ARG);
    cr_assert_eq(ek_head_rows(&table, NULL, &h, x, rows, 0, value, work, bytes), EK_E_ARG);
    cr_assert_eq(ek_head_rows(&table, NULL, &h, NULL, rows, 1, value, work, bytes), EK_E_ARG);
    cr_assert_eq(ek_weights_gather(&w, rows, 2, work, bytes), EK_E_ARG);
    cr_assert_eq(ek_weights_gather(&w, rows, 1, work, 1), EK_E_NOMEM);
    cr_assert_eq(ek_weights_gather(&w, NULL, 1, work, bytes), EK_E_ARG);
    cr_assert_eq(ek_head_bytes(&h, EK_HEAD_CERTIFIED, N + 1, &count), EK_E_ARG);

    const struct ek_weights q4k = {EK_FMT_q4k, EK_LAYOUT_PANEL16, N, K, w.data};
    cr_assert_eq(ek_head_screen_bytes(&w, EK_FMT_q4k, NULL, &need, &work_need), EK_E_UNSUPPORTED);
    cr_assert_eq(ek_head_screen_bytes(&w, EK_FMT_f16, NULL, &need, &work_need), EK_E_UNSUPPORTED);
    cr_assert_eq(ek_head_screen_bytes(&q4k, EK_FMT_q4g32, NULL, &need, &work_need),
                 EK_E_UNSUPPORTED);
    cr_assert_eq(ek_head_screen_bytes(&w, EK_FMT_q4g32, NULL, &need, &work_need), EK_OK);
    dense[70]                   = INFINITY;
    const struct ek_weights bad = {EK_FMT_f32, EK_LAYOUT_ROWS, N, K, dense};
    void                   *mem = aligned(need), *room = aligned(work_need);
    cr_assert_eq(ek_head_screen_build(NULL, &bad, EK_FMT_q4g32, mem, need, room, work_need, &other),
                 EK_E_FORMAT);
    cr_assert_eq(
        ek_head_screen_build(NULL, &w, EK_FMT_q4g32, mem, need - 1, room, work_need, &other),
        EK_E_NOMEM);
    free(mem), free(room), free(work), free(dense);
    certified_drop(&t), drop_weights(&w);
}

/* The sizes of Qwen2.5-0.5B: what a token reads. */
Test(head, bytes_of_a_token)
{
    enum { N = 151936, K = 896 };
    struct ek_head_screen s = {.struct_size = sizeof s,
                               .q           = {EK_FMT_q4g32, EK_LAYOUT_PANEL16, N, K, NULL},
                               .error       = (const uint16_t[]){0},
                               .norm        = (const uint16_t[]){0}};
    struct ek_head        h = {
               .struct_size = sizeof h, .w = {EK_FMT_bf16, EK_LAYOUT_ROWS, N, K, NULL}, .screen = &s};
    uint64_t full, certified;
    cr_assert_eq(ek_head_bytes(&h, EK_HEAD_FULL, 0, &full), EK_OK);
    cr_assert_eq(ek_head_bytes(&h, EK_HEAD_CERTIFIED, 1000, &certified), EK_OK);
    cr_assert_eq(full, (uint64_t)N * K * 2);
    cr_assert_eq(certified, (uint64_t)N * (K / 32 * 18 + 4) + 1000 * K * 2);
}
