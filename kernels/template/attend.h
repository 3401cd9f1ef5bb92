/* SPDX-License-Identifier: Apache-2.0 */
/* kernels/template/attend.h - what the attention kernels share: numbers of a cache as floats, who
 * sees what, the largest score of a tile. Needs an ISA's simd.h. */
#ifndef EK_TEMPLATE_ATTEND_H
#define EK_TEMPLATE_ATTEND_H
#include "kernels/kv.h"
#include "kernels/template/math.h"

enum { NV = KV_PANEL / VL }; /* vectors of a panel */

#define LOG2E 0x1.715476p+0f

EK_INLINE vf load_float(enum ek_fmt fmt, const uint8_t *p)
{
    const void *at = p;
    return fmt == EK_FMT_f32 ? v_load(at) : fmt == EK_FMT_f16 ? v_load_f16(at) : v_load_bf16(at);
}

/* ---- fetching ahead ---- */

/* Where in memory the next tile's keys and values are still to be fetched into the first level of
 * cache, a line of one after a line of the other: two streams come faster than one. All phases of
 * a tile advance it, evenly in time: a phase that fetches all it can waits for memory while memory
 * waits for the others (docs/benchmarks.md). */
struct cursor {
    const uint8_t *at, *other;
};
EK_INLINE void fetch(struct cursor *c, size_t lines)
{
    EK_UNROLL
    for (size_t i = 0; i < lines; i++) {
        const uint8_t *line = c->at;
        prefetch(line);
        c->at = c->other, c->other = line + 64;
    }
}
/* Step number `step` of a loop that wants bytes / 64 lines a step; bytes is a power of 2. */
EK_INLINE void fetch_paced(struct cursor *c, size_t step, size_t bytes)
{
    if (bytes >= 64)
        fetch(c, bytes / 64);
    else if (bytes && step % (64 / bytes) == 0)
        fetch(c, 1);
}

/* ---- masks ---- */

/* The positions in (above, to] and those in [0, sinks): what one query sees, sinks <= to + 1. */
struct sight {
    int32_t above, to, sinks;
};
EK_INLINE struct sight sight_of(const struct ek_gqa_mask *m, int32_t pos)
{
    const size_t next = (size_t)pos + 1;
    return (struct sight){.above =
                              m->window && m->window < next ? (int32_t)(next - m->window) - 1 : -1,
                          .to    = pos,
                          .sinks = m->sinks < next ? (int32_t)m->sinks : (int32_t)next};
}

/* Whether some, and whether all, of n slots are seen; seen[i] is 1 or 0, with zeros up to `room`.
 * Plain C that compilers make vectors of. */
struct seen {
    int some, all;
};
EK_INLINE struct seen seen_by(struct sight s, const int32_t *pos, size_t n, size_t room,
                              float *seen)
{
    int32_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const int32_t p  = pos[i];
        const int32_t ok = ((p > s.above) & (p <= s.to)) | ((p >= 0) & (p < s.sinks));
        seen[i]          = (float)ok;
        count += ok;
    }
    for (size_t i = n; i < room; i++) seen[i] = 0;
    return (struct seen){count > 0, (size_t)count == room};
}

/* The largest of a tile's scores; those that are not seen (NULL: all are) become -infinity,
 * whatever they were. */
EK_INLINE float largest_score(float *s, size_t width, const float *seen)
{
    const vf none = v_set(-__builtin_inff());
    vf       top  = none;
    for (size_t i = 0; i < width; i += VL) {
        vf v = v_load(s + i);
        if (seen) v_store(s + i, v = v_where_gt(v_load(seen + i), v_set(0.0f), v, none));
        top = v_max(top, v);
    }
    return v_hmax(top);
}
#endif
