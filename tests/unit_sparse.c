/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_sparse.c - neurons packed and read back; sparse products against plain ones in double;
 * all neurons against dense; the same bits wherever neurons stand; refusals. */
#include "ek/ek.h"
#include "tests/driver.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const enum ek_fmt formats[] = {EK_FMT_f32, EK_FMT_f16, EK_FMT_bf16, EK_FMT_q8g32,
                                      EK_FMT_q4g32};
enum { FORMATS = sizeof formats / sizeof *formats };

static struct ek_kernels table;

static void setup(void)
{
    cr_assert_eq(ek_kernels_default(&table), EK_OK);
}
static void *aligned(size_t bytes)
{
    void *p = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
    cr_assert_not_null(p);
    return p;
}
static float *randoms(size_t n, uint64_t seed, float by)
{
    float *x = malloc((n ? n : 1) * sizeof *x);
    cr_assert_not_null(x);
    for (size_t i = 0; i < n; i++) x[i] = ek_randf(&seed) * by;
    return x;
}

/* An MLP of n neurons: its rows as the format holds them, and packed. */
struct mlp {
    struct ek_neurons w;
    void             *data;
    size_t            bytes, one;
    float            *row[3]; /* [n][d] each, after rounding */
};

static struct mlp make_mlp(enum ek_fmt fmt, size_t n, size_t d, size_t rows)
{
    struct mlp m = {.w = {fmt, n, d, rows, NULL}};
    cr_assert_eq(ek_neurons_bytes(fmt, n, d, rows, &m.bytes, &m.one), EK_OK);
    m.w.data = m.data = aligned(m.bytes);
    memset(m.data, 0xFF, m.bytes);
    for (size_t r = 0; r < rows; r++) {
        float *from = randoms(n * d, 7 + r, 0.1f);
        cr_assert_eq(ek_neurons_quantize(fmt, from, d, 1, n, d, rows, r, m.data, m.bytes), EK_OK);
        m.row[r] = malloc(n * d * sizeof(float));
        cr_assert_eq(ek_neurons_dequantize(&m.w, r, 0, n, m.row[r]), EK_OK);
        free(from);
    }
    return m;
}
static void drop_mlp(struct mlp *m)
{
    free(m->data);
    for (size_t r = 0; r < m->w.rows; r++) free(m->row[r]);
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

/* ---- layout ---- */

Test(neurons, rows_come_back_as_the_format_rounds_them, .init = setup)
{
    static const size_t dims[] = {1, 31, 32, 33, 511, 512, 513, 896, 1024, 1025, 1536, 2600};
    for (size_t f = 0; f < FORMATS; f++)
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++) {
            const size_t n = 5, d = dims[i];
            float       *from = randoms(n * d, 3, 1), *want = malloc(n * d * sizeof *want);
            float       *got = malloc(n * d * sizeof *got);
            size_t       bytes, plain;
            cr_assert_eq(ek_weights_bytes(formats[f], n, d, &plain, NULL), EK_OK);
            void             *dense = aligned(plain);
            struct ek_weights w     = {formats[f], ek_fmt_info(formats[f])->layout, n, d, dense};
            cr_assert_eq(ek_weights_quantize(formats[f], from, n, d, dense, plain), EK_OK);
            cr_assert_eq(ek_weights_dequantize(&w, 0, n, want), EK_OK);
            for (size_t rows = 1; rows <= 3; rows++) {
                cr_assert_eq(ek_neurons_bytes(formats[f], n, d, rows, &bytes, NULL), EK_OK);
                void             *data = aligned(bytes);
                struct ek_neurons k    = {formats[f], n, d, rows, data};
                memset(data, 0x11, bytes);
                for (size_t r = 0; r < rows; r++)
                    cr_assert_eq(
                        ek_neurons_quantize(formats[f], from, d, 1, n, d, rows, r, data, bytes),
                        EK_OK);
                for (size_t r = 0; r < rows; r++) {
                    cr_assert_eq(ek_neurons_dequantize(&k, r, 0, n, got), EK_OK);
                    cr_assert_eq(memcmp(got, want, n * d * sizeof *got), 0, "%s d %zu row %zu",
                                 ek_fmt_info(formats[f])->name, d, r);
                }
                free(data);
            }
            free(from), free(want), free(got), free(dense);
        }
}

Test(neurons, codes_carry_over_without_loss, .init = setup)
{
    static const enum ek_fmt packed[] = {EK_FMT_q8g32, EK_FMT_q4g32};
    for (size_t f = 0; f < 2; f++) {
        const size_t    n = 9, d = 1300, k = ek_padded_k(packed[f], d);
        float          *from = randoms(n * d, 5, 1), *want = malloc(n * d * sizeof *want);
        float          *got   = malloc(n * d * sizeof *got);
        struct ek_codes codes = {.q = malloc(n * k), .d = malloc(n * k / 32 * 2)};
        size_t          bytes, plain;
        cr_assert_eq(ek_weights_bytes(packed[f], n, d, &plain, NULL), EK_OK);
        cr_assert_eq(ek_neurons_bytes(packed[f], n, d, 2, &bytes, NULL), EK_OK);
        void             *dense = aligned(plain), *data = aligned(bytes);
        struct ek_weights w = {packed[f], EK_LAYOUT_PANEL16, n, d, dense};
        struct ek_neurons v = {packed[f], n, d, 2, data};
        cr_assert_eq(ek_weights_quantize(packed[f], from, n, d, dense, plain), EK_OK);
        cr_assert_eq(ek_weights_unpack(&w, &codes), EK_OK);
        cr_assert_eq(ek_neurons_pack(packed[f], &codes, n, d, 2, 1, data, bytes), EK_OK);
        cr_assert_eq(ek_weights_dequantize(&w, 0, n, want), EK_OK);
        cr_assert_eq(ek_neurons_dequantize(&v, 1, 0, n, got), EK_OK);
        cr_assert_eq(memcmp(got, want, n * d * sizeof *got), 0);
        free(from), free(want), free(got), free(codes.q), free(codes.d), free(dense), free(data);
    }
}

/* The matrix of some neurons, split as threads would, is what rounding these rows gives, padding too. */
static void check_matrix(const struct mlp *m, const float *from, size_t row, size_t n0, size_t n1)
{
    const size_t d = m->w.d, n = n1 - n0, half = n / 2 / EK_PANEL_ROWS * EK_PANEL_ROWS;
    size_t       bytes, first = 0;
    cr_assert_eq(ek_weights_bytes(m->w.fmt, n, d, &bytes, NULL), EK_OK);
    if (half) cr_assert_eq(ek_weights_bytes(m->w.fmt, half, d, &first, NULL), EK_OK);
    unsigned char *want = aligned(bytes), *got = aligned(bytes);
    memset(got, 0x5A, bytes);
    cr_assert_eq(ek_weights_quantize(m->w.fmt, from + n0 * d, n, d, want, bytes), EK_OK);
    cr_assert_eq(ek_neurons_matrix(&m->w, row, n0, n0 + half, got, first), EK_OK);
    cr_assert_eq(ek_neurons_matrix(&m->w, row, n0 + half, n1, got + first, bytes - first), EK_OK);
    cr_assert_eq(memcmp(want, got, bytes), 0, "%s d %zu row %zu of [%zu, %zu)",
                 ek_fmt_info(m->w.fmt)->name, d, row, n0, n1);
    cr_assert_eq(ek_neurons_matrix(&m->w, row, n0, n1, got, bytes - 1), EK_E_NOMEM);
    free(want), free(got);
}

static void check_transposed(const struct mlp *m, size_t row, size_t n0, size_t n1)
{
    const size_t              d = m->w.d, ld = n1 - n0 + 3;
    const struct ek_fmt_info *f      = ek_fmt_info(m->w.fmt);
    const int                 floats = f->kind == EK_FMT_FLOAT;
    const enum ek_fmt         fmt    = floats ? m->w.fmt : EK_FMT_f32;
    const size_t              size   = ek_fmt_info(fmt)->bits / 8;
    unsigned char            *got    = aligned(d * ld * size);
    float                    *value  = malloc(d * ld * sizeof *value);
    struct ek_weights         w      = {fmt, EK_LAYOUT_ROWS, d, ld, got};
    memset(got, 0, d * ld * size);
    cr_assert_eq(ek_neurons_transposed(&m->w, row, n0, n1, got, ld), EK_OK);
    cr_assert_eq(ek_weights_dequantize(&w, 0, d, value), EK_OK);
    for (size_t c = 0; c < d; c++)
        for (size_t i = 0; i < ld; i++) {
            const float want = n0 + i < n1 ? m->row[row][(n0 + i) * d + c] : 0;
            cr_assert_eq(value[c * ld + i], want, "%s d %zu row %zu of [%zu, %zu): %zu, %zu",
                         f->name, d, row, n0, n1, i, c);
        }
    free(got), free(value);
}

Test(neurons, as_matrices, .init = setup)
{
    static const size_t dims[]  = {1, 31, 33, 512, 513, 896, 1500};
    static const size_t of[][2] = {{0, 50}, {0, 1}, {3, 19}, {16, 33}, {1, 50}, {49, 50}};
    for (size_t f = 0; f < FORMATS; f++)
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
            for (size_t rows = 1; rows <= 3; rows++) {
                const size_t n = 50, d = dims[i], row = rows - 1;
                struct mlp   m    = make_mlp(formats[f], n, d, rows);
                float       *from = randoms(n * d, 7 + row, 0.1f); /* make_mlp's */
                for (size_t j = 0; j < sizeof of / sizeof *of; j++) {
                    check_matrix(&m, from, row, of[j][0], of[j][1]);
                    check_transposed(&m, row, of[j][0], of[j][1]);
                }
                drop_mlp(&m), free(from);
            }
}

Test(neurons, matrices_refused, .init = setup)
{
    struct mlp     m   = make_mlp(EK_FMT_q4g32, 20, 64, 2);
    unsigned char *out = aligned(64 * 64 * 4);
    cr_assert_eq(ek_neurons_matrix(NULL, 0, 0, 1, out, 9999), EK_E_ARG);
    cr_assert_eq(ek_neurons_matrix(&m.w, 2, 0, 1, out, 9999), EK_E_ARG);
    cr_assert_eq(ek_neurons_matrix(&m.w, 0, 2, 1, out, 9999), EK_E_ARG);
    cr_assert_eq(ek_neurons_matrix(&m.w, 0, 0, 21, out, 9999), EK_E_ARG);
    cr_assert_eq(ek_neurons_matrix(&m.w, 0, 0, 1, out + 4, 9999), EK_E_ARG);
    cr_assert_eq(ek_neurons_matrix(&m.w, 0, 0, 1, NULL, 9999), EK_E_ARG);
    cr_assert_eq(ek_neurons_matrix(&m.w, 0, 4, 4, out, 0), EK_OK);
    cr_assert_eq(ek_neurons_transposed(&m.w, 1, 0, 20, out, 19), EK_E_ARG);
    cr_assert_eq(ek_neurons_transposed(&m.w, 2, 0, 20, out, 20), EK_E_ARG);
    cr_assert_eq(ek_neurons_transposed(&m.w, 1, 0, 21, out, 21), EK_E_ARG);
    cr_assert_eq(ek_neurons_transposed(&m.w, 1, 3, 2, out, 20), EK_E_ARG);
    cr_assert_eq(ek_neurons_transposed(&m.w, 1, 0, 20, NULL, 20), EK_E_ARG);
    drop_mlp(&m), free(out);
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
