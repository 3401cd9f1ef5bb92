/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/span.h - stretches of f32 that need not be whole vectors. Needs an ISA's
 * simd.h. */
#ifndef EK_TEMPLATE_SPAN_H
#define EK_TEMPLATE_SPAN_H

/* Runs what follows over columns [begin, end): whole vectors at c, n = VL, then the tail. A lane is
 * computed alike in both, so results do not depend on where a range was cut. */
#define FOR_VECTORS(c, n, begin, end)                                                              \
    for (size_t c = (begin), n; c < (end) && (n = (end)-c < VL ? (end)-c : VL, 1); c += n)

EK_INLINE vf load_at(const float *p, size_t n)
{
    return n == VL ? v_load(p) : v_load_n(p, n);
}
EK_INLINE void store_at(float *p, vf v, size_t n)
{
    if (n == VL)
        v_store(p, v);
    else
        v_store_n(p, v, n);
}
#endif
