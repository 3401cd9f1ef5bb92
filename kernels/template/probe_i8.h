/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/probe_i8.h - the roof of 8-bit dot products. The including file has its dot_*.h
 * and defines PEAK_I8(), the symbol of the kernel. */

enum { DOT_CHAINS = 12 };

void PEAK_I8()(const struct ek_peak_i8_args *a, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        volatile int one = 1; /* in the first byte: one of four products counts */
        const vi     w = i_set(one), x = i_set((int)(1 + i % 7));
        vi           total = i_set(0), s[DOT_CHAINS];
        EK_UNROLL
        for (int j = 0; j < DOT_CHAINS; j++) s[j] = i_opaque(i_set(0)); /* chains stay apart */
        for (size_t n = 0; n < a->iters * (EK_PEAK_LANE_OPS / (DOT_CHAINS * VL)); n++) {
            EK_UNROLL
            for (int j = 0; j < DOT_CHAINS; j++) s[j] = dot_in_place(s[j], w, x);
        }
        EK_UNROLL
        for (int j = 0; j < DOT_CHAINS; j++) total = i_max(total, s[j]);
        a->out[i] = (float)(i_hmax(total) / (EK_PEAK_LANE_OPS / (DOT_CHAINS * VL)));
    }
}
