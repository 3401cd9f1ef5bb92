/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/probe.h - the two roofs: reading memory and multiplying in registers. The
 * including file has its simd.h and defines
 *     READ(variant), PEAK()      symbols of the kernels */

/* Line j of a group of four: the odd one of each 128-byte pair first. On the cores measured, lines
 * taken in rising order wake the first-level prefetcher, whose requests crowd out better ones: 16
 * instead of 19 GB/s. docs/benchmarks.md has the figures. */
#define ODD_FIRST(j) ((j) ^ 1)

/* S runs of blocks side by side, each line fetched `ahead` bytes before it is read. */
EK_INLINE void read_streams(const struct ek_read_args *a, size_t begin, size_t end, size_t S,
                            size_t ahead, int odd_first)
{
    enum { LINES = EK_READ_BLOCK / 64, STEP = 4 }; /* lines of one stream before the next one's */
    const size_t run = (end - begin) / S;
    const char  *p   = (const char *)a->p + begin * EK_READ_BLOCK;
    for (size_t i = 0; i < run; i++) {
        vi sum[4] = {i_set(0), i_set(0), i_set(0), i_set(0)};
        for (size_t line = 0; line < LINES; line += STEP) {
            EK_UNROLL
            for (size_t s = 0; s < S; s++) {
                const char *q = p + (s * run + i) * EK_READ_BLOCK + line * 64;
                EK_UNROLL
                for (size_t j = 0; ahead && j < STEP; j++) prefetch(q + ahead + 64 * j);
                EK_UNROLL
                for (size_t j = 0; j < STEP; j++) {
                    const char *l = q + 64 * (odd_first ? ODD_FIRST(j) : j);
                    EK_UNROLL
                    for (size_t b = 0; b < 64; b += sizeof(vi))
                        sum[s] = i_add(sum[s], i_load(l + b));
                    __asm__ volatile("" ::: "memory"); /* the order is the point */
                }
            }
        }
        for (size_t s = 0; s < S; s++) a->sum[begin + s * run + i] = (uint32_t)i_hsum(sum[s]);
    }
    if (S > 1 && run * S < end - begin) read_streams(a, begin + run * S, end, 1, ahead, odd_first);
}

#define DEFINE_READ(variant, S, ahead, odd_first)                                                  \
    void READ(variant)(const struct ek_read_args *a, size_t begin, size_t end)                     \
    {                                                                                              \
        read_streams(a, begin, end, S, ahead, odd_first);                                          \
    }
DEFINE_READ(, 1, 0, 0)
DEFINE_READ(_ahead, 1, 1024, 1)
DEFINE_READ(_far, 1, 8192, 1)
DEFINE_READ(_two, 2, 1024, 1)
DEFINE_READ(_four, 4, 2048, 0)

enum { CHAINS = 12 }; /* enough to cover the latency of two multiply-adds a cycle */

void PEAK()(const struct ek_peak_args *a, size_t begin, size_t end)
{
    for (size_t i = begin; i < end; i++) {
        volatile float one = 1.0f; /* unknown to the compiler */
        const vf       x = v_set(one), y = v_set((float)(1 + i % 7));
        vf             s[CHAINS];
        EK_UNROLL
        for (int j = 0; j < CHAINS; j++) s[j] = v_opaque(v_set(0.0f)); /* chains stay apart */
        for (size_t n = 0; n < a->iters * (EK_PEAK_LANE_OPS / (CHAINS * VL)); n++) {
            EK_UNROLL
            for (int j = 0; j < CHAINS; j++) s[j] = v_fma(x, y, s[j]);
        }
        vf most = s[0];
        EK_UNROLL
        for (int j = 1; j < CHAINS; j++) most = v_max(most, s[j]);
        a->out[i] = v_hmax(most) / (EK_PEAK_LANE_OPS / (CHAINS * VL));
    }
}
