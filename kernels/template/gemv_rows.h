/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/gemv_rows.h - GEMV over row-major f32, f16 and bf16. The including file has its
 * simd.h and defines
 *     FN(fmt)        symbol of the kernel
 *     ROWS_OF(m)     rows walked side by side for m tokens, m sums each; when streams is 1,
 *                    one where activations fit the first level of cache
 *     AHEAD(streams) bytes prefetched ahead, all streams together
 * Each (row, token) has two running vectors, so its bits do not depend on its neighbours. */

enum { ROWS_MAX = 4, M_SIDE = 4, M_MAX = EK_GEMV_MAX_M };

/* Tokens of one call, the last one repeated up to a width the loops are compiled for. */
struct rows_io {
    const char  *w; /* first byte of the matrix */
    size_t       k, ahead;
    const float *x[M_MAX];
    float       *y[M_MAX];
};

EK_INLINE size_t size_of(enum ek_fmt fmt)
{
    return fmt == EK_FMT_f32 ? sizeof(float) : sizeof(uint16_t);
}
EK_INLINE vf load_weights(enum ek_fmt fmt, const char *p)
{
    const void *v = p;
    return fmt == EK_FMT_f32 ? v_load(v) : fmt == EK_FMT_f16 ? v_load_f16(v) : v_load_bf16(v);
}
EK_INLINE vf load_weights_n(enum ek_fmt fmt, const char *p, size_t n)
{
    const void *v = p;
    return fmt == EK_FMT_f32   ? v_load_n(v, n)
           : fmt == EK_FMT_f16 ? v_load_f16_n(v, n)
                               : v_load_bf16_n(v, n);
}

/* R rows, `apart` rows from each other, and M tokens from t0 on. */
EK_INLINE void rows_set(const struct rows_io *io, enum ek_fmt fmt, size_t R, size_t M, size_t t0,
                        size_t row, size_t apart)
{
    const size_t size = size_of(fmt), line = 64 / size, stride = apart * io->k * size;
    const char  *w = io->w + row * io->k * size, *ahead = w + io->ahead / R / 128 * 128;
    vf           sum[ROWS_MAX][M_SIDE][2]; /* even and odd lines */
    EK_UNROLL
    for (size_t i = 0; i < R; i++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++) sum[i][t][0] = sum[i][t][1] = v_set(0.0f);
    }
    size_t c = 0;
    for (; c + 2 * line <= io->k; c += 2 * line) {
        const char *next = ahead + c * size;
        EK_UNROLL
        for (size_t i = 0; i < R; i++) {
            prefetch(next + i * stride), prefetch(next + i * stride + 64);
            EK_UNROLL
            for (size_t v = 0; v < 2 * line; v += VL) {
                const size_t at = c + v;
                const vf     q  = load_weights(fmt, w + i * stride + at * size);
                EK_UNROLL
                for (size_t t = 0; t < M; t++)
                    sum[i][t][v >= line] =
                        v_fma(q, v_load(io->x[t0 + t] + at), sum[i][t][v >= line]);
            }
        }
    }
    for (; c < io->k; c += VL) {
        const size_t n = io->k - c < VL ? io->k - c : VL;
        EK_UNROLL
        for (size_t i = 0; i < R; i++) {
            const vf q = load_weights_n(fmt, w + i * stride + c * size, n);
            EK_UNROLL
            for (size_t t = 0; t < M; t++)
                sum[i][t][0] = v_fma(q, v_load_n(io->x[t0 + t] + c, n), sum[i][t][0]);
        }
    }
    EK_UNROLL
    for (size_t i = 0; i < R; i++) {
        EK_UNROLL
        for (size_t t = 0; t < M; t++)
            io->y[t0 + t][row + i * apart] = v_hsum(v_add(sum[i][t][0], sum[i][t][1]));
    }
}

/* M tokens at a time; more read the rows again, from cache. */
EK_INLINE void rows_range(const struct ek_gemv_args *a, enum ek_fmt fmt, size_t M, size_t begin,
                          size_t end)
{
    struct rows_io io = {.w = a->w, .k = a->k, .ahead = AHEAD(a->streams)};
    for (size_t t = 0; t < M_MAX; t++) {
        const size_t token = t < a->m ? t : a->m - 1;
        io.x[t] = a->x + token * a->ldx, io.y[t] = a->y + token * a->ldy;
    }
    /* One row at a time reads all activations for each: from the first level of cache, or not so. */
    const int alone = a->streams == 1 && M * a->k * sizeof(float) <= 32768;
    /* Each of the rows side by side goes on in memory where its last one ended. */
    const size_t sets = alone ? 0 : (end - begin) / ROWS_OF(M);
    for (size_t i = 0; i < sets; i++)
        for (size_t t = 0; t < a->m; t += M) rows_set(&io, fmt, ROWS_OF(M), M, t, begin + i, sets);
    for (size_t row = begin + sets * ROWS_OF(M); row < end; row++)
        for (size_t t = 0; t < a->m; t += M) rows_set(&io, fmt, 1, M, t, row, 1);
}

#define DEFINE_GEMV_ROWS(fmt)                                                                      \
    void FN(fmt)(const struct ek_gemv_args *a, size_t begin, size_t end)                           \
    {                                                                                              \
        switch (a->m) { /* compiled for 1, 2 and 4 tokens */                                       \
        case 1: rows_range(a, EK_FMT_##fmt, 1, begin, end); break;                                 \
        case 2: rows_range(a, EK_FMT_##fmt, 2, begin, end); break;                                 \
        default: rows_range(a, EK_FMT_##fmt, M_SIDE, begin, end); break;                           \
        }                                                                                          \
    }
DEFINE_GEMV_ROWS(f32)
DEFINE_GEMV_ROWS(f16)
DEFINE_GEMV_ROWS(bf16)
