/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/kv_store.h - keys and values of a token into a cache. The including file has its
 * simd.h and defines FN(fmt). Keys of a slot lie scattered over a panel: a vector is rounded, then
 * dealt out. */
#include "kernels/kv.h"

/* n <= VL numbers, zeros behind them. */
EK_INLINE vf load_some(const float *x, size_t n)
{
    return n == VL ? v_load(x) : v_load_n(x, n);
}

EK_INLINE void round_floats(enum ek_fmt fmt, vf x, uint16_t out[VL])
{
    if (fmt == EK_FMT_f16) {
        v_store_f16(out, x);
        return;
    }
    float t[VL];
    v_store(t, x);
    for (size_t i = 0; i < VL; i++) out[i] = ek_bfloat_round(t[i]);
}

EK_INLINE void store_floats(enum ek_fmt fmt, const struct kv_shape *s, uint8_t *head, size_t slot,
                            size_t dim, const float *k, const float *v)
{
    for (size_t c = 0; c < dim; c += VL) {
        const size_t n = dim - c < VL ? dim - c : VL;
        uint8_t *ka = head + kv_key_at(fmt, s, slot, c), *va = head + kv_value_at(fmt, s, slot, c);
        if (fmt == EK_FMT_f32) {
            for (size_t i = 0; i < n; i++) memcpy(ka + i * KV_PANEL * 4, k + c + i, 4);
            memcpy(va, v + c, n * 4);
            continue;
        }
        uint16_t kt[VL], vt[VL];
        round_floats(fmt, load_some(k + c, n), kt);
        round_floats(fmt, load_some(v + c, n), vt);
        for (size_t i = 0; i < n; i++) memcpy(ka + i * KV_PANEL * 2, kt + i, 2);
        memcpy(va, vt, n * 2);
    }
}

EK_INLINE uint16_t scale_of(const float *x, size_t dim)
{
    vi m = i_set(0);
    for (size_t c = 0; c < dim; c += VL)
        m = i_max(m, v_abs_bits(load_some(x + c, dim - c < VL ? dim - c : VL)));
    return kv_scale((uint32_t)i_hmax(m));
}
EK_INLINE void round_codes(vf x, float d, int8_t out[VL])
{
    const int none = !(d > 0); /* zeros, or a row that is not finite */
    i_store_i8(out, none ? i_set(0) : v_to_int(v_div(x, v_set(d))));
}

EK_INLINE void store_i8(const struct kv_shape *s, uint8_t *head, size_t slot, size_t dim,
                        const float *k, const float *v)
{
    const uint16_t ks = scale_of(k, dim), vs = scale_of(v, dim);
    const float    kd = ek_half_load(ks), vd = ek_half_load(vs);
    memcpy(head + s->k_scales + slot * sizeof ks, &ks, sizeof ks);
    memcpy(head + s->v_scales + slot * sizeof vs, &vs, sizeof vs);
    for (size_t c = 0; c < dim; c += VL) {
        const size_t n = dim - c < VL ? dim - c : VL;
        int8_t       kt[VL], vt[VL];
        round_codes(load_some(k + c, n), kd, kt);
        round_codes(load_some(v + c, n), vd, vt);
        for (size_t i = 0; i < n; i++) {
            head[kv_key_at(EK_FMT_i8, s, slot, c + i)]   = (uint8_t)(kt[i] + 128);
            head[kv_value_at(EK_FMT_i8, s, slot, c + i)] = (uint8_t)vt[i];
        }
    }
}

EK_INLINE void store_range(enum ek_fmt fmt, const struct ek_kv_store_args *a, size_t begin,
                           size_t end)
{
    const struct kv_shape s = kv_shape(fmt, a->dim, a->slots);
    for (size_t item = begin; item < end; item++) {
        const size_t head = item / a->m, t = item % a->m, at = t * a->ld + head * a->dim;
        uint8_t     *p    = (uint8_t *)a->kv + head * s.head;
        const size_t slot = (size_t)a->slot[t];
        if (fmt == EK_FMT_i8)
            store_i8(&s, p, slot, a->dim, a->k + at, a->v + at);
        else
            store_floats(fmt, &s, p, slot, a->dim, a->k + at, a->v + at);
    }
}

#define DEFINE_KV_STORE(fmt)                                                                       \
    void FN(fmt)(const struct ek_kv_store_args *a, size_t begin, size_t end)                       \
    {                                                                                              \
        store_range(EK_FMT_##fmt, a, begin, end);                                                  \
    }
DEFINE_KV_STORE(f32)
DEFINE_KV_STORE(f16)
DEFINE_KV_STORE(bf16)
DEFINE_KV_STORE(i8)
