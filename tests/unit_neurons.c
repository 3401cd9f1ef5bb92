/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_neurons.c - neurons packed, read back and made matrices; refusals. */
#include "tests/neurons.h"

Test(neurons, rows_come_back_as_the_format_rounds_them)
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

Test(neurons, codes_carry_over_without_loss)
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

Test(neurons, as_matrices)
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

Test(neurons, matrices_refused)
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
