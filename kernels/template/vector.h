/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/vector.h - the vector kernels, once for every ISA. The including file has its
 * simd.h and defines FN(op), the symbol of its kernel for f32. */
#include "kernels/template/math.h"
#include "kernels/template/span.h"

/* ---- rounding to 8 bit ---- */

/* Largest |x| as float bits; at or past infinity's bits when something is not finite. */
EK_INLINE int abs_max_bits(const float *x, size_t n)
{
    vi m                      = i_set(0);
    FOR_VECTORS(c, w, 0, n) m = i_max(m, v_abs_bits(load_at(x + c, w)));
    return i_hmax(m);
}

struct scale8 {
    float d, inv;
};
EK_INLINE struct scale8 scale_from_bits(int bits)
{
    enum { INFINITY_BITS = 0x7F800000, TINY_BITS = (127 - 100) << 23 };
    float amax;
    memcpy(&amax, &bits, sizeof amax);
    if (bits >= INFINITY_BITS) return (struct scale8){__builtin_nanf(""), 0.0f};
    if (bits < TINY_BITS) return (struct scale8){0.0f, 0.0f};
    return (struct scale8){amax / 127.0f, 127.0f / amax};
}

/* q[0..n) from x[0..used), zeros behind; n is a multiple of VL. Returns the sum of q. */
EK_INLINE int round_group(const float *x, size_t used, float inv, int8_t *q, size_t n)
{
    const vf k   = v_set(inv);
    vi       sum = i_set(0);
    for (size_t c = 0; c < n; c += VL) {
        const size_t w = c >= used ? 0 : used - c < VL ? used - c : VL;
        /* inv = 0 also stands for a row that is not finite: infinity times it is no number */
        const vi v = w == 0 || inv == 0.0f ? i_set(0) : v_to_int(v_mul(load_at(x + c, w), k));
        i_store_i8(q + c, v);
        sum = i_add(sum, v);
    }
    return i_hsum(sum);
}

void FN(quantize)(const struct ek_quantize_args *a, size_t begin, size_t end)
{
    const size_t groups = a->kp / a->group;
    for (size_t r = begin; r < end; r++) {
        const float  *x = a->x + r * a->ldx;
        struct scale8 s = {0.0f, 0.0f};
        if (a->per_token) s = scale_from_bits(abs_max_bits(x, a->k));
        for (size_t g = 0; g < groups; g++) {
            const size_t c    = g * a->group;
            const size_t used = c >= a->k ? 0 : a->k - c < a->group ? a->k - c : a->group;
            if (!a->per_token) s = scale_from_bits(abs_max_bits(x + c, used));
            a->s[r * groups + g] = round_group(x + c, used, s.inv, a->q + r * a->kp + c, a->group);
            a->d[r * groups + g] = s.d;
        }
    }
}

/* ---- norms ---- */

enum { SUMS = 4 }; /* independent sums hide the latency of the addition */

EK_INLINE float add_sums(const vf s[SUMS])
{
    return v_hsum(v_add(v_add(s[0], s[1]), v_add(s[2], s[3])));
}

/* sum of (x - mean)^2 */
EK_INLINE float sum_squares(const float *x, size_t n, float mean)
{
    const vf m       = v_set(mean);
    vf       s[SUMS] = {v_set(0), v_set(0), v_set(0), v_set(0)};
    size_t   c       = 0;
    for (; c + SUMS * VL <= n; c += SUMS * VL) {
        EK_UNROLL
        for (int i = 0; i < SUMS; i++) {
            const vf v = v_sub(v_load(x + c + (size_t)i * VL), m);
            s[i]       = v_fma(v, v, s[i]);
        }
    }
    FOR_VECTORS(t, w, c, n)
    {
        vf v = v_sub(load_at(x + t, w), m);
        if (w < VL) { /* lanes past the end hold -mean */
            float z[VL] = {0};
            v_store_n(z, v, w);
            v = v_load(z);
        }
        s[0] = v_fma(v, v, s[0]);
    }
    return add_sums(s);
}

EK_INLINE float sum_of(const float *x, size_t n)
{
    vf     s[SUMS] = {v_set(0), v_set(0), v_set(0), v_set(0)};
    size_t c       = 0;
    for (; c + SUMS * VL <= n; c += SUMS * VL) {
        EK_UNROLL
        for (int i = 0; i < SUMS; i++) s[i] = v_add(s[i], v_load(x + c + (size_t)i * VL));
    }
    FOR_VECTORS(t, w, c, n) s[0] = v_add(s[0], load_at(x + t, w));
    return add_sums(s);
}

void FN(rmsnorm)(const struct ek_rmsnorm_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const float *x  = a->x + r * a->cols;
        float       *y  = a->y + r * a->cols;
        const float  ms = sum_squares(x, a->cols, 0.0f) / (float)a->cols;
        const vf     k  = v_set(1.0f / __builtin_sqrtf(ms + a->eps));
        FOR_VECTORS(c, w, 0, a->cols)
        {
            const vf v = v_mul(load_at(x + c, w), k);
            store_at(y + c, a->g ? v_mul(v, load_at(a->g + c, w)) : v, w);
        }
    }
}

void FN(layernorm)(const struct ek_layernorm_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const float *x    = a->x + r * a->cols;
        float       *y    = a->y + r * a->cols;
        const float  mean = sum_of(x, a->cols) / (float)a->cols;
        const float  var  = sum_squares(x, a->cols, mean) / (float)a->cols;
        const vf     k = v_set(1.0f / __builtin_sqrtf(var + a->eps)), m = v_set(mean);
        FOR_VECTORS(c, w, 0, a->cols)
        {
            vf v = v_mul(v_sub(load_at(x + c, w), m), k);
            if (a->g) v = v_mul(v, load_at(a->g + c, w));
            if (a->b) v = v_add(v, load_at(a->b + c, w));
            store_at(y + c, v, w);
        }
    }
}

void FN(moments)(const struct ek_moments_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const float *x        = a->x + r * a->ldx;
        const float  n        = (float)a->cols;
        const float  mean     = sum_of(x, a->cols) / n;
        a->moments[2 * r]     = mean;
        a->moments[2 * r + 1] = __builtin_sqrtf(sum_squares(x, a->cols, mean) / n);
    }
}

/* ---- elementwise ---- */

EK_INLINE void act_range(const struct ek_act_args *a, enum ek_act_kind kind, size_t begin,
                         size_t end)
{
    FOR_VECTORS(c, w, begin, end)
    {
        const vf f = activation(kind, load_at(a->x + c, w));
        store_at(a->y + c, a->u ? v_mul(f, load_at(a->u + c, w)) : f, w);
    }
}

void FN(act)(const struct ek_act_args *a, size_t begin, size_t end)
{
    switch (a->kind) { /* one loop per kind, the choice outside it */
    case EK_ACT_RELU: act_range(a, EK_ACT_RELU, begin, end); break;
    case EK_ACT_SILU: act_range(a, EK_ACT_SILU, begin, end); break;
    case EK_ACT_GELU_TANH: act_range(a, EK_ACT_GELU_TANH, begin, end); break;
    case EK_ACT_GELU_ERF: act_range(a, EK_ACT_GELU_ERF, begin, end); break;
    case EK_ACT_SIGMOID: act_range(a, EK_ACT_SIGMOID, begin, end); break;
    case EK_ACT_TANH: act_range(a, EK_ACT_TANH, begin, end); break;
    case EK_ACT_EXP: act_range(a, EK_ACT_EXP, begin, end); break;
    case EK_ACT_KINDS: break;
    }
}

void FN(add)(const struct ek_add_args *a, size_t begin, size_t end)
{
    FOR_VECTORS(c, w, begin, end)
    store_at(a->y + c, v_add(load_at(a->a + c, w), load_at(a->b + c, w)), w);
}

/* ---- softmax ---- */

void FN(softmax)(const struct ek_softmax_args *a, size_t begin, size_t end)
{
    const vf scale = v_set(a->scale);
    for (size_t r = begin; r < end; r++) {
        const float *x   = a->x + r * a->cols;
        float       *y   = a->y + r * a->cols;
        vf           max = v_set(x[0]), sum = v_set(0.0f);
        FOR_VECTORS(c, w, 0, a->cols)
        {
            if (w == VL)
                max = v_max(max, v_load(x + c));
            else
                for (size_t i = 0; i < w; i++) max = v_max(max, v_set(x[c + i]));
        }
        const vf m = v_set(v_hmax(max));
        FOR_VECTORS(c, w, 0, a->cols)
        {
            store_at(y + c, v_exp(v_mul(scale, v_sub(load_at(x + c, w), m))), w);
            sum = v_add(sum, load_at(y + c, w));
        }
        const vf inv = v_set(1.0f / v_hsum(sum));
        FOR_VECTORS(c, w, 0, a->cols) store_at(y + c, v_mul(load_at(y + c, w), inv), w);
    }
}

/* ---- rotary embedding ---- */

EK_INLINE void rotate(vf *x, vf *y, vf c, vf s)
{
    const vf a = *x, b = *y;
    *x = v_fnma(b, s, v_mul(a, c));
    *y = v_fma(a, s, v_mul(b, c));
}

EK_INLINE void rope_halves(const float *x, float *y, const float *cos, const float *sin,
                           size_t half)
{
    FOR_VECTORS(c, w, 0, half)
    {
        vf a = load_at(x + c, w), b = load_at(x + half + c, w);
        rotate(&a, &b, load_at(cos + c, w), load_at(sin + c, w));
        store_at(y + c, a, w);
        store_at(y + half + c, b, w);
    }
}

EK_INLINE void rope_pairs(const float *x, float *y, const float *cos, const float *sin, size_t half)
{
    FOR_VECTORS(c, w, 0, half)
    {
        float        t[2 * VL] = {0}; /* the tail goes through a whole pair of vectors */
        const float *in        = w == VL ? x + 2 * c : memcpy(t, x + 2 * c, 2 * w * sizeof *t);
        float       *out       = w == VL ? y + 2 * c : t;
        vf           a, b;
        v_load2(in, &a, &b);
        rotate(&a, &b, load_at(cos + c, w), load_at(sin + c, w));
        v_store2(out, a, b);
        if (w < VL) memcpy(y + 2 * c, t, 2 * w * sizeof *t);
    }
}

void FN(rope)(const struct ek_rope_args *a, size_t begin, size_t end)
{
    const size_t half = a->rot / 2;
    for (size_t r = begin; r < end; r++) {
        const size_t p = (size_t)a->pos[r / a->heads] * half;
        const float *x = a->x + r * a->dim;
        float       *y = a->y + r * a->dim;
        if (a->interleaved)
            rope_pairs(x, y, a->cos + p, a->sin + p, half);
        else
            rope_halves(x, y, a->cos + p, a->sin + p, half);
        if (x != y) memcpy(y + a->rot, x + a->rot, (a->dim - a->rot) * sizeof *y);
    }
}

/* ---- selection ---- */

/* First index that is not smaller than any other; the slow way, for rows of -infinity and NaN. */
EK_INLINE size_t argmax_plain(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t c = 1; c < n; c++)
        if (x[c] > x[best] || (x[best] != x[best] && x[c] == x[c])) best = c;
    return best;
}

EK_INLINE size_t argmax_row(const float *x, size_t n)
{
    const float lowest = -__builtin_inff();
    vf          best   = v_set(lowest);
    vi          at = i_set(0), here = i_iota();
    size_t      c = 0;
    for (; c + VL <= n; c += VL) {
        const vf v = v_load(x + c);
        at         = i_where_gt(v, best, here, at);
        best       = v_where_gt(v, best, v, best);
        here       = i_add(here, i_set(VL));
    }
    float   value[VL], top = lowest;
    int32_t index[VL];
    v_store(value, best);
    i_store(index, at);
    size_t win = n;
    for (size_t i = 0; i < VL; i++) {
        const size_t j = (uint32_t)index[i];
        if (value[i] > top || (value[i] == top && top > lowest && j < win)) top = value[i], win = j;
    }
    for (; c < n; c++)
        if (x[c] > top) top = x[c], win = c;
    return win < n ? win : argmax_plain(x, n);
}

void FN(argmax)(const struct ek_argmax_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const float *x    = a->x + r * a->cols;
        const size_t best = argmax_row(x, a->cols);
        a->index[r]       = (uint32_t)best;
        if (a->value) a->value[r] = x[best];
    }
}

/* Puts x[c] into the sorted list of *have entries, k at most. */
EK_INLINE void topk_insert(float *value, uint32_t *index, size_t *have, size_t k, float x, size_t c)
{
    size_t at = *have < k ? (*have)++ : k - 1;
    for (; at && x > value[at - 1]; at--) value[at] = value[at - 1], index[at] = index[at - 1];
    value[at] = x, index[at] = (uint32_t)c;
}

void FN(topk)(const struct ek_topk_args *a, size_t begin, size_t end)
{
    for (size_t r = begin; r < end; r++) {
        const float *x     = a->x + r * a->cols;
        uint32_t    *index = a->index + r * a->k;
        float       *value = a->value + r * a->k;
        size_t       have = 0, c = 0;
        for (; c < a->k; c++) topk_insert(value, index, &have, a->k, x[c], c);
        for (; c < a->cols;) { /* whole vectors without a newcomer are skipped */
            if (c + VL <= a->cols && !v_gt(v_load(x + c), v_set(value[a->k - 1]))) {
                c += VL;
                continue;
            }
            for (size_t stop = c + VL < a->cols ? c + VL : a->cols; c < stop; c++)
                if (x[c] > value[a->k - 1]) topk_insert(value, index, &have, a->k, x[c], c);
        }
    }
}
