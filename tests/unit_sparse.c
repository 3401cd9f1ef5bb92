/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_sparse.c - sparse products against plain ones in double; all neurons against dense; the same
 * bits wherever neurons stand; refusals. */
#include "tests/neurons.h"

#include <math.h>

static struct ek_kernels table;

static void setup(void)
{
    cr_assert_eq(ek_kernels_default(&table), EK_OK);
}
static ek_status run_on(const ek_pool *pool, const struct ek_neurons *w, const uint32_t *list,
                        size_t count, const float *x, size_t m, float *y,
                        const struct ek_sparse_options *o)
{
    size_t    bytes = 0;
    ek_status s     = ek_sparse_work_bytes(w, count, m, o, &bytes);
    if (s) return s;
    void *work = aligned(bytes);
    s          = w->rows == 1
                     ? ek_sparse_gemv(&table, pool, w, list, count, x, count, m, y, w->d, work, bytes)
                     : ek_sparse_mlp(&table, pool, w, list, count, x, w->d, m, y, w->d, o, work, bytes);
    free(work);
    return s;
}

/* ---- values ---- */

static double act_plain(enum ek_act_kind kind, double x)
{
    return kind == EK_ACT_RELU ? fmax(x, 0) : x / (1 + exp(-x));
}

/* The masked MLP, as it is written down; *mag: the sum of magnitudes that rounding is relative to. */
static void plain_mlp(const struct mlp *m, const unsigned char *mask, const float *x,
                      enum ek_act_kind act, double *y, double *mag)
{
    memset(y, 0, m->w.d * sizeof *y);
    *mag = 0;
    for (size_t i = 0; i < m->w.n; i++) {
        double g = 0, u = 0, size = 0;
        if (!mask[i]) continue;
        for (size_t c = 0; c < m->w.d; c++) {
            g += (double)m->row[0][i * m->w.d + c] * (double)x[c];
            u += (double)m->row[1][i * m->w.d + c] * (double)x[c];
            size += fabs((double)m->row[1][i * m->w.d + c] * (double)x[c]);
        }
        const double h = act_plain(act, g) * u;
        for (size_t c = 0; c < m->w.d; c++) y[c] += h * (double)m->row[2][i * m->w.d + c];
        *mag += 0.1 * (fabs(g) + 1) * size;
    }
}

static size_t list_of(const unsigned char *mask, size_t n, uint32_t *list)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (mask[i]) list[count++] = (uint32_t)i;
    return count;
}

/* Rounds x so that 8-bit activations hold it exactly: the formula is then the only difference. */
static void onto_grid(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) x[i] = i % 32 ? rintf(x[i] * 127) / 128 : 127.0f / 128;
}

Test(sparse_mlp, random_masks_against_the_formula, .init = setup)
{
    enum { N = 203, MASKS = 12 };
    for (size_t f = 0; f < FORMATS; f++)
        for (size_t d = 40; d < 1200; d = 2 * d + 51) {
            struct mlp    m = make_mlp(formats[f], N, d, 3);
            float        *x = randoms(d, 9, 1), *y = malloc(d * sizeof *y);
            double       *want = malloc(d * sizeof *want), mag;
            unsigned char mask[N];
            uint32_t      list[N];
            uint64_t      seed = 11;
            onto_grid(x, d);
            for (int k = 0; k < MASKS; k++) {
                for (size_t i = 0; i < N; i++) mask[i] = ek_rand(&seed) % MASKS >= (unsigned)k;
                const enum ek_act_kind         act   = k % 2 ? EK_ACT_SILU : EK_ACT_RELU;
                const struct ek_sparse_options o     = {.struct_size = sizeof o, .act = act};
                const size_t                   count = list_of(mask, N, list);
                cr_assert_eq(run_on(NULL, &m.w, list, count, x, 1, y, &o), EK_OK);
                plain_mlp(&m, mask, x, act, want, &mag);
                for (size_t c = 0; c < d; c++)
                    cr_assert_lt(fabs((double)y[c] - want[c]), 1e-6 * mag + 1e-12,
                                 "%s d %zu mask %d column %zu: %g, not %g",
                                 ek_fmt_info(formats[f])->name, d, k, c, (double)y[c], want[c]);
            }
            drop_mlp(&m), free(x), free(y), free(want);
        }
}

/* The dense MLP through ek_linear, from the same weights. */
static void dense_mlp(const struct mlp *m, const float *x, enum ek_act_kind act, float *y)
{
    const size_t            n = m->w.n, d = m->w.d;
    float                  *g = malloc(n * sizeof *g), *u = malloc(n * sizeof *u);
    float                  *down = malloc(n * d * sizeof *down);
    size_t                  bytes;
    const struct ek_weights gate = {EK_FMT_f32, EK_LAYOUT_ROWS, n, d, m->row[0]};
    const struct ek_weights up   = {EK_FMT_f32, EK_LAYOUT_ROWS, n, d, m->row[1]};
    const struct ek_weights out  = {EK_FMT_f32, EK_LAYOUT_ROWS, d, n, down};
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < d; c++) down[c * n + i] = m->row[2][i * d + c];
    cr_assert_eq(ek_linear_work_bytes(&gate, 1, NULL, NULL, &bytes), EK_OK);
    void *work = aligned(bytes);
    cr_assert_eq(ek_linear(&table, NULL, &gate, x, d, 1, g, n, NULL, work, bytes), EK_OK);
    cr_assert_eq(ek_linear(&table, NULL, &up, x, d, 1, u, n, NULL, work, bytes), EK_OK);
    cr_assert_eq(ek_act(&table, NULL, act, g, u, g, n), EK_OK);
    free(work);
    cr_assert_eq(ek_linear_work_bytes(&out, 1, NULL, NULL, &bytes), EK_OK);
    work = aligned(bytes);
    cr_assert_eq(ek_linear(&table, NULL, &out, g, n, 1, y, d, NULL, work, bytes), EK_OK);
    free(work), free(g), free(u), free(down);
}

/* All neurons are the dense MLP, and so are, with ReLU, those whose gate is above zero. */
Test(sparse_mlp, dense_where_nothing_is_left_out, .init = setup)
{
    enum { N = 300, D = 320 };
    for (size_t f = 0; f < FORMATS; f++) {
        struct mlp    m = make_mlp(formats[f], N, D, 3);
        float        *x = randoms(D, 13, 1), y[D], want[D];
        unsigned char mask[N];
        uint32_t      list[N];
        for (int relu = 0; relu < 2; relu++) {
            const enum ek_act_kind         act  = relu ? EK_ACT_RELU : EK_ACT_SILU;
            const struct ek_sparse_options o    = {sizeof o, EK_ACTIVATION_F32, act, NULL};
            double                         most = 0, worst = 0;
            for (size_t i = 0; i < N; i++) {
                double g = 0;
                for (size_t c = 0; c < D; c++) g += (double)m.row[0][i * D + c] * (double)x[c];
                mask[i] = !relu || g > -1e-6;
            }
            const size_t count = list_of(mask, N, list);
            cr_assert(relu ? count > N / 4 && count < 3 * N / 4 : count == N);
            cr_assert_eq(run_on(NULL, &m.w, list, count, x, 1, y, &o), EK_OK);
            dense_mlp(&m, x, act, want);
            for (size_t c = 0; c < D; c++) {
                most  = fmax(most, fabs((double)want[c]));
                worst = fmax(worst, fabs((double)want[c] - (double)y[c]));
            }
            cr_assert_lt(worst, 1e-5 * most, "%s act %d: %g of %g", ek_fmt_info(formats[f])->name,
                         relu, worst, most);
        }
        drop_mlp(&m), free(x);
    }
}

/* With factors given, up and down alone are the gated MLP. */
Test(sparse_mlp, factors_instead_of_a_gate_row, .init = setup)
{
    enum { N = 120, D = 600, M = 3 };
    for (size_t f = 0; f < FORMATS; f++) {
        struct mlp m = make_mlp(formats[f], N, D, 3), two = make_mlp(formats[f], N, D, 2);
        float     *x = randoms(M * D, 17, 1), *gate = malloc(M * N * sizeof *gate);
        float     *y = malloc(M * D * sizeof *y), *want = malloc(M * D * sizeof *want);
        uint32_t   list[N];
        for (size_t i = 0; i < N; i++) list[i] = (uint32_t)i;
        for (size_t t = 0; t < M; t++) onto_grid(x + t * D, D);
        for (size_t r = 0; r < 2; r++) /* up and down of the three */
            cr_assert_eq(ek_neurons_quantize(formats[f], m.row[r + 1], D, 1, N, D, 2, r, two.data,
                                             two.bytes),
                         EK_OK);
        for (size_t t = 0; t < M; t++)
            for (size_t i = 0; i < N; i++) {
                double g = 0;
                for (size_t c = 0; c < D; c++)
                    g += (double)m.row[0][i * D + c] * (double)x[t * D + c];
                gate[t * N + i] = (float)act_plain(EK_ACT_SILU, g);
            }
        const struct ek_sparse_options o3 = {.struct_size = sizeof o3, .act = EK_ACT_SILU};
        const struct ek_sparse_options o2 = {.struct_size = sizeof o2, .gate = gate};
        cr_assert_eq(run_on(NULL, &m.w, list, N, x, M, want, &o3), EK_OK);
        cr_assert_eq(run_on(NULL, &two.w, list, N, x, M, y, &o2), EK_OK);
        double most = 0, worst = 0;
        for (size_t c = 0; c < M * D; c++) {
            most  = fmax(most, fabs((double)want[c]));
            worst = fmax(worst, fabs((double)want[c] - (double)y[c]));
        }
        cr_assert_lt(worst, 2e-2 * most); /* rows packed again may round once more */
        drop_mlp(&m), drop_mlp(&two), free(x), free(gate), free(y), free(want);
    }
}

Test(sparse_gemv, skips_nothing_but_zeros, .init = setup)
{
    enum { N = 257, D = 777 }; /* columns, outputs */
    for (size_t f = 0; f < FORMATS; f++) {
        struct mlp m = make_mlp(formats[f], N, D, 1);
        float     *x = randoms(N, 19, 1), listed[N], y[D];
        uint32_t   list[N];
        size_t     count = 0;
        for (size_t i = 0; i < N; i++)
            if (i % 3)
                x[i] = 0;
            else
                listed[count] = x[i], list[count++] = (uint32_t)i;
        cr_assert_eq(run_on(NULL, &m.w, list, count, listed, 1, y, NULL), EK_OK);
        for (size_t c = 0; c < D; c++) {
            double sum = 0, mag = 0;
            for (size_t i = 0; i < N; i++) {
                sum += (double)m.row[0][i * D + c] * (double)x[i];
                mag += fabs((double)m.row[0][i * D + c] * (double)x[i]);
            }
            cr_assert_lt(fabs(sum - (double)y[c]), 1e-5 * mag + 1e-12);
        }
        drop_mlp(&m), free(x);
    }
}

/* ---- bits ---- */

/* A pool that hands out what it is given in its own order, one item at a time. */
static void backwards(void *self, size_t items, size_t grain, ek_task_fn *fn, void *task)
{
    (void)self;
    for (size_t left = (items + grain - 1) / grain; left-- > 0;)
        fn(task, left * grain, (left + 1) * grain < items ? (left + 1) * grain : items);
}

Test(sparse_mlp, bits_depend_on_neither_threads_nor_place_nor_tokens, .init = setup)
{
    enum { N = 900, D = 544, M = 8 };
    for (size_t f = 0; f < FORMATS; f++) {
        struct mlp m = make_mlp(formats[f], N, D, 3);
        float     *x = randoms(M * D, 23, 1), *y = malloc(M * D * sizeof *y);
        float     *want = malloc(M * D * sizeof *want);
        uint32_t   list[N], moved[N];
        size_t     count = 0;
        uint64_t   seed  = 29;
        for (size_t i = 0; i < N; i++)
            if (ek_rand(&seed) % 3) list[count++] = (uint32_t)i;
        const struct ek_sparse_options o = {.struct_size = sizeof o, .act = EK_ACT_SILU};
        cr_assert_eq(run_on(NULL, &m.w, list, count, x, M, want, &o), EK_OK);
        for (size_t threads = 1; threads <= 9; threads += 2) {
            const ek_pool pool = {sizeof pool, threads, backwards, NULL};
            cr_assert_eq(run_on(&pool, &m.w, list, count, x, M, y, &o), EK_OK);
            cr_assert_eq(memcmp(y, want, M * D * sizeof *y), 0);
        }
        for (size_t t = 0; t < M; t++) {
            cr_assert_eq(run_on(NULL, &m.w, list, count, x + t * D, 1, y, &o), EK_OK);
            cr_assert_eq(memcmp(y, want + t * D, D * sizeof *y), 0);
        }
        /* The listed neurons gathered elsewhere, as a cache of weights has them. */
        unsigned char    *packed = aligned(count * m.one);
        struct ek_neurons w      = {formats[f], count, D, 3, packed};
        for (size_t i = 0; i < count; i++) {
            moved[i] = (uint32_t)((i * 7 + 3) % count);
            while (count % 7 == 0) cr_assert(0, "7 divides the list");
            memcpy(packed + moved[i] * m.one, (const char *)m.data + list[i] * m.one, m.one);
        }
        cr_assert_eq(run_on(NULL, &w, moved, count, x, M, y, &o), EK_OK);
        cr_assert_eq(memcmp(y, want, M * D * sizeof *y), 0);
        free(packed), free(x), free(y), free(want), drop_mlp(&m);
    }
}

/* ---- edges ---- */

Test(sparse_mlp, an_empty_list_gives_zeros, .init = setup)
{
    struct mlp m     = make_mlp(EK_FMT_q4g32, 4, 64, 3);
    float      x[64] = {1}, y[64];
    memset(y, 0xFF, sizeof y);
    cr_assert_eq(run_on(NULL, &m.w, NULL, 0, x, 1, y, NULL), EK_OK);
    for (size_t c = 0; c < 64; c++) cr_assert(y[c] == 0.0f);
    drop_mlp(&m);
}

Test(sparse_mlp, refusals, .init = setup)
{
    struct mlp     m         = make_mlp(EK_FMT_q4g32, 20, 64, 3);
    float          x[9 * 64] = {0}, y[9 * 64], gate[20] = {0};
    const uint32_t list[] = {0, 19, 20};
    size_t         bytes;
    memset(y, 0x5A, sizeof y);
    struct ek_sparse_options o = {.struct_size = sizeof o, .act = EK_ACT_SILU};
    cr_assert_eq(run_on(NULL, &m.w, list, 2, x, 1, y, &o), EK_OK);
    memset(y, 0x5A, sizeof y);
    cr_assert_eq(run_on(NULL, &m.w, list, 3, x, 1, y, &o), EK_E_ARG, "a neuron that is none");
    cr_assert_eq(run_on(NULL, &m.w, list, 2, x, 9, y, &o), EK_E_ARG, "nine tokens");
    cr_assert_eq(run_on(NULL, &m.w, list, 2, x, 0, y, &o), EK_E_ARG, "no token");
    cr_assert_eq(run_on(NULL, &m.w, list, 21, x, 1, y, &o), EK_E_ARG, "more than there are");
    cr_assert_eq(run_on(NULL, &m.w, NULL, 2, x, 1, y, &o), EK_E_ARG, "no list");
    o.gate = gate;
    cr_assert_eq(run_on(NULL, &m.w, list, 2, x, 1, y, &o), EK_E_ARG, "factors and a gate row");
    o.gate = NULL, o.act = EK_ACT_KINDS;
    cr_assert_eq(run_on(NULL, &m.w, list, 2, x, 1, y, &o), EK_E_ARG, "no such activation");
    o.act = EK_ACT_SILU, o.struct_size = 1;
    cr_assert_eq(run_on(NULL, &m.w, list, 2, x, 1, y, &o), EK_E_ARG, "an older struct");
    o.struct_size         = sizeof o;
    struct ek_neurons bad = m.w;
    bad.data              = (const char *)m.data + 4;
    cr_assert_eq(run_on(NULL, &bad, list, 2, x, 1, y, &o), EK_E_ARG, "misaligned");
    bad = m.w, bad.fmt = EK_FMT_q4k;
    cr_assert_eq(run_on(NULL, &bad, list, 2, x, 1, y, &o), EK_E_ARG, "a format without neurons");
    cr_assert_eq(ek_sparse_work_bytes(&m.w, 2, 1, &o, &bytes), EK_OK);
    void *work = aligned(bytes);
    cr_assert_eq(ek_sparse_mlp(&table, NULL, &m.w, list, 2, x, 64, 1, y, 64, &o, work, bytes - 1),
                 EK_E_NOMEM);
    cr_assert_eq(ek_sparse_mlp(&table, NULL, &m.w, list, 2, x, 63, 1, y, 64, &o, work, bytes),
                 EK_E_ARG);
    cr_assert_eq(ek_sparse_gemv(&table, NULL, &m.w, list, 2, x, 2, 1, y, 64, work, bytes), EK_E_ARG,
                 "three rows are no columns");
    for (size_t i = 0; i < sizeof y; i++) cr_assert_eq(((unsigned char *)y)[i], 0x5A);
    cr_assert_eq(ek_neurons_bytes(EK_FMT_f32, SIZE_MAX / 8, 64, 3, &bytes, NULL), EK_E_OVERFLOW);
    cr_assert_eq(ek_neurons_bytes(EK_FMT_i8, 1, 64, 3, &bytes, NULL), EK_E_ARG);
    cr_assert_eq(ek_neurons_bytes(EK_FMT_f32, 1, 64, 4, &bytes, NULL), EK_E_ARG);
    cr_assert_eq(ek_neuron_width(EK_FMT_q4k, 64), 0);
    free(work), drop_mlp(&m);
}
