/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/math.h - exp, sigmoid, tanh and the GELUs on whole vectors. Needs an ISA's
 * simd.h.
 *
 * Polynomials are least-maximum-error fits of our own (Lawson iteration in 40 digits); their
 * truncation is under a fifth of an ulp. tests/drivers/act.c pins the bounds given here. */
#ifndef EK_TEMPLATE_MATH_H
#define EK_TEMPLATE_MATH_H

/* x = n ln 2 + r with |r| <= ln 2 / 2; gives n and e^r - 1. NaN stays NaN. */
EK_INLINE vf expm1_reduced(vf x, vf *n)
{
    *n   = v_round(v_mul(x, v_set(0x1.715476p+0f))); /* log2 e */
    vf r = v_fnma(*n, v_set(0x1.62e4p-1f), x);       /* ln 2, 16 bits: exact product */
    r    = v_fnma(*n, v_set(0x1.7f7d1cp-20f), r);    /* and the rest of it */
    vf p = v_set(0x1.6d98dep-10f);
    p    = v_fma(p, r, v_set(0x1.1227e4p-7f));
    p    = v_fma(p, r, v_set(0x1.555488p-5f));
    p    = v_fma(p, r, v_set(0x1.5554b0p-3f));
    p    = v_fma(p, r, v_set(0.5f));
    return v_fma(v_mul(r, r), p, r);
}

/* e^x: 1 ulp; 0 below -104, infinity above 88.73. */
EK_INLINE vf v_exp(vf x)
{
    vf       n;
    const vf c = v_min(v_set(89.0f), v_max(v_set(-110.0f), x));
    const vf p = expm1_reduced(c, &n);
    return v_scale(v_add(v_set(1.0f), p), n);
}

/* 2^x for x <= 0: 1 ulp, 1 at 0; 0 below -150; NaN stays NaN. */
EK_INLINE vf v_exp2(vf x)
{
    const vf c = v_max(v_set(-151.0f), x), n = v_round(c), r = v_sub(c, n);
    vf       p = v_set(0x1.41fb2cp-13f);
    p          = v_fma(p, r, v_set(0x1.5f3f32p-10f));
    p          = v_fma(p, r, v_set(0x1.3b2d50p-7f));
    p          = v_fma(p, r, v_set(0x1.c6aee6p-5f));
    p          = v_fma(p, r, v_set(0x1.ebfbdcp-3f));
    p          = v_fma(p, r, v_set(0x1.62e430p-1f));
    return v_scale(v_fma(p, r, v_set(1.0f)), n);
}

/* 1 / (1 + e^-x): 3 ulp, flushed to 0 below -88.7. */
EK_INLINE vf v_sigmoid(vf x)
{
    const vf e = v_exp(v_sub(v_set(0.0f), x));
    return v_div(v_set(1.0f), v_add(v_set(1.0f), e));
}

/* tanh x = -m / (2 + m), m = e^(-2|x|) - 1: 4 ulp. */
EK_INLINE vf v_tanh(vf x)
{
    vf       n;
    const vf c = v_max(v_set(-40.0f), v_mul(v_set(-2.0f), v_abs(x)));
    const vf p = expm1_reduced(c, &n), s = v_scale(v_set(1.0f), n);
    const vf m = v_fma(s, p, v_sub(s, v_set(1.0f)));
    return v_copysign(v_div(m, v_add(v_set(2.0f), m)), x);
}

EK_INLINE vf v_silu(vf x)
{
    return v_mul(x, v_sigmoid(x));
}

/* 0.5 x (1 + tanh u) = x sigmoid(2 u). */
EK_INLINE vf v_gelu_tanh(vf x)
{
    const vf u = v_fma(v_mul(x, x), v_set(0.044715f), v_set(1.0f));
    return v_mul(x, v_sigmoid(v_mul(v_mul(x, v_set(1.5957691216f)), u)));
}

/* x/2 erfc(-x / sqrt 2). erfc(z) = e^(-z^2) Q(1 / (1 + z/2)) for z = |x| / sqrt 2; z^2 is carried
 * in two parts, as its rounding alone would cost 50 ulp at the far end. */
EK_INLINE vf v_gelu_erf(vf x)
{
    static const float q[] = {-0.05583472671829212f,  0.2679785775673225f,   -0.4506060693688335f,
                              0.23271189561513556f,   0.008076105102710906f, 0.18575096652035086f,
                              0.24835749398035917f,   0.2813795182399384f,   0.28219081129327916f,
                              -4.606373304228558e-06f};
    const vf           one = v_set(1.0f), half = v_set(0.5f);
    const vf           a = v_min(v_set(14.5f), v_abs(x));
    const vf           t = v_div(one, v_fma(a, v_set(0.35355339059f), one));
    vf                 p = v_set(q[0]);
    EK_UNROLL
    for (int i = 1; i < 10; i++) p = v_fma(p, t, v_set(q[i]));
    const vf sq = v_mul(a, a), lo = v_fma(a, a, v_sub(v_set(0.0f), sq));
    const vf e = v_exp(v_mul(v_set(-0.5f), sq));
    const vf c = v_mul(v_mul(half, p), v_fnma(v_mul(half, lo), e, e)); /* erfc(z) / 2 */
    return v_mul(x, v_where_gt(x, v_set(0.0f), v_sub(one, c), c));
}

EK_INLINE vf activation(enum ek_act_kind kind, vf x)
{
    switch (kind) {
    case EK_ACT_RELU: return v_max(v_set(0.0f), x);
    case EK_ACT_SILU: return v_silu(x);
    case EK_ACT_GELU_TANH: return v_gelu_tanh(x);
    case EK_ACT_GELU_ERF: return v_gelu_erf(x);
    case EK_ACT_SIGMOID: return v_sigmoid(x);
    case EK_ACT_TANH: return v_tanh(x);
    case EK_ACT_EXP: return v_exp(x);
    case EK_ACT_KINDS: break;
    }
    return x;
}
#endif
