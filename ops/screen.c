/* SPDX-License-Identifier: Apache-2.0 */
/* ops/screen.c - a low-bit copy of a head with bounds on what it lost. */
#include "ops/screen.h"
#include "kernels/half.h"

#include "ops/run.h"
#include "ops/work.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

enum { K_MAX = 1 << 20, SLOTS_PER_THREAD = 4 };

static int is_symmetric(const struct ek_fmt_info *f)
{
    return f && f->kind == EK_FMT_SYM;
}

/* MIN and SUPER kernels round relative to a minimum that a row's norm does not know of. */
static ek_status check_formats(const struct ek_weights *w, enum ek_fmt fmt)
{
    const struct ek_fmt_info *f = w ? ek_fmt_info(w->fmt) : NULL, *q = ek_fmt_info(fmt);
    size_t                    bytes;
    if (!f || !q) return EK_E_ARG;
    if (w->layout != f->layout) return EK_E_FORMAT;
    const ek_status s = ek_weights_bytes(w->fmt, w->n, w->k, &bytes, NULL);
    if (s) return s;
    if (w->k > K_MAX || w->n > UINT32_MAX) return EK_E_OVERFLOW;
    if (!is_symmetric(q) || (f->kind != EK_FMT_FLOAT && !is_symmetric(f)) || q->bits >= f->bits)
        return EK_E_UNSUPPORTED;
    return EK_OK;
}

ek_status ek_screen_sound(const struct ek_head_screen *s, const struct ek_weights *w)
{
    if (!s || s->struct_size < sizeof *s || !s->error || !s->norm || !(s->largest >= 0))
        return EK_E_ARG;
    if (!w || s->q.n != w->n || s->q.k != w->k) return EK_E_ARG;
    return check_formats(w, s->q.fmt);
}

/* ---- the bound of a call ---- */

/* Least f32 that is not below x >= 0, and no denormal: those may be flushed. */
static float round_up(double x)
{
    const float f = (float)x;
    if (x > 0 && x < 0x1p-126) return 0x1p-126F;
    return (double)f < x ? nextafterf(f, INFINITY) : f;
}

int ek_screen_limits(const struct ek_head_screen *s, const struct ek_product *exact,
                     const struct ek_product *screened, struct ek_limits *out)
{
    const size_t k = s->q.k, kp = k + 128; /* of any format, at most */
    double a2 = 0, b2 = 0, d2 = 0; /* activations of the exact product, the other's, between */
    for (size_t c = 0; c < k; c++) {
        const double a = ek_product_x(exact, c), b = ek_product_x(screened, c);
        a2 += a * a, b2 += b * b, d2 += (a - b) * (a - b);
    }
    const double na = sqrt(a2), nb = sqrt(b2), sums = (double)(kp + 4) * 0x1p-23;
    const double slack = 1 + 0x1p-20; /* sums in double here, three roundings in f32 a row */
    if (!((double)s->largest * (na + nb) < 0x1p120) || !(na + nb < 0x1p120)) return 0;
    out->e    = round_up(slack * (1 + sums) * na);
    out->n    = round_up(slack * (sqrt(d2) + sums * (na + nb) + 0x1p-23 * nb));
    out->rest = round_up((double)(kp + 16) * 0x1p-124 * (1 + na + nb + (double)s->largest));
    return 1;
}

/* ---- building ---- */

/* bf16 that is not below x; 0x7F80 (infinity) where there is none. */
static uint16_t bfloat_up(double x)
{
    const float f = round_up(x * (1 + 0x1p-30)); /* x is a sum in double */
    uint32_t    u;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u >> 16) + ((u & 0xFFFF) != 0));
}

struct build {
    const struct ek_weights *w;
    struct ek_weights        q;
    unsigned char           *data;
    size_t                   panel_bytes, panels, slots, slot_bytes;
    uint16_t                *error, *norm;
    unsigned char           *work; /* a slot: [16][k] f32 of w, [k] f32 of q */
    ek_status                status;
};

/* One panel: round, read back, compare. */
static ek_status build_panel(const struct build *b, size_t panel, float *w)
{
    const size_t      k = b->q.k, r0 = panel * EK_PANEL_ROWS;
    const size_t      rows = b->q.n - r0 < EK_PANEL_ROWS ? b->q.n - r0 : EK_PANEL_ROWS;
    float            *q    = w + EK_PANEL_ROWS * k;
    void             *out  = b->data + panel * b->panel_bytes;
    struct ek_weights one  = b->q;
    one.n = rows, one.data = out;
    ek_status s = ek_weights_dequantize(b->w, r0, r0 + rows, w);
    if (!s) s = ek_weights_quantize(one.fmt, w, rows, k, out, b->panel_bytes);
    for (size_t r = 0; !s && r < rows; r++) {
        double e2 = 0, q2 = 0;
        s = ek_weights_dequantize(&one, r, r + 1, q);
        for (size_t c = 0; c < k; c++) {
            const double v = (double)q[c], e = (double)w[r * k + c] - v;
            e2 += e * e, q2 += v * v;
        }
        b->error[r0 + r] = bfloat_up(sqrt(e2)), b->norm[r0 + r] = bfloat_up(sqrt(q2));
        if (b->error[r0 + r] >= 0x7F80 || b->norm[r0 + r] >= 0x7F80) s = EK_E_FORMAT;
    }
    return s;
}

static void build_slots(void *task, size_t begin, size_t end)
{
    struct build *b = task;
    for (size_t s = begin; s < end; s++) {
        void     *work   = b->work + s * b->slot_bytes;
        ek_status status = EK_OK;
        for (size_t p = b->panels * s / b->slots; !status && p < b->panels * (s + 1) / b->slots;
             p++)
            status = build_panel(b, p, work);
        if (status) __atomic_store_n(&b->status, status, __ATOMIC_RELAXED);
    }
}

struct layout {
    size_t error, norm, total, slots, slot_bytes, work, panel;
};

static ek_status lay_out(const struct ek_weights *w, enum ek_fmt fmt, const ek_pool *pool,
                         struct layout *l)
{
    ek_status s = check_formats(w, fmt);
    if (!s && !ek_pool_sound(pool)) s = EK_E_ARG;
    if (s) return s;
    int    over = 0;
    size_t bytes;
    s = ek_weights_bytes(fmt, w->n, w->k, &bytes, &l->panel);
    if (s) return s;
    l->total = 0, l->work = 0;
    (void)ek_reserve(&l->total, bytes, 1, &over);
    l->error            = ek_reserve(&l->total, w->n, sizeof(uint16_t), &over);
    l->norm             = ek_reserve(&l->total, w->n, sizeof(uint16_t), &over);
    const size_t panels = (w->n + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS;
    const size_t wanted = pool && pool->threads > 1 ? pool->threads * SLOTS_PER_THREAD : 1;
    l->slots            = wanted < panels ? wanted : panels;
    l->slot_bytes       = ((EK_PANEL_ROWS + 1) * w->k * sizeof(float) + 63) / 64 * 64 + EK_TASK_GAP;
    (void)ek_reserve(&l->work, l->slots, l->slot_bytes, &over);
    return over ? EK_E_OVERFLOW : EK_OK;
}

ek_status ek_head_screen_bytes(const struct ek_weights *w, enum ek_fmt fmt, const ek_pool *pool,
                               size_t *bytes, size_t *work_bytes)
{
    struct layout   l;
    const ek_status s = bytes && work_bytes ? lay_out(w, fmt, pool, &l) : EK_E_ARG;
    if (!s) *bytes = l.total, *work_bytes = l.work;
    return s;
}

ek_status ek_head_screen_build(const ek_pool *pool, const struct ek_weights *w, enum ek_fmt fmt,
                               void *mem, size_t bytes, void *work, size_t work_bytes,
                               struct ek_head_screen *out)
{
    struct layout   l;
    const ek_status s = lay_out(w, fmt, pool, &l);
    if (s) return s;
    if (!w->data || !mem || !work || !out || (uintptr_t)mem % 64 || (uintptr_t)work % 64)
        return EK_E_ARG;
    if (bytes < l.total || work_bytes < l.work) return EK_E_NOMEM;
    const struct ek_weights q = {fmt, ek_fmt_info(fmt)->layout, w->n, w->k, mem};
    struct build            b = {.w           = w,
                                 .q           = q,
                                 .data        = mem,
                                 .panel_bytes = l.panel,
                                 .panels      = (w->n + EK_PANEL_ROWS - 1) / EK_PANEL_ROWS,
                                 .slots       = l.slots,
                                 .slot_bytes  = l.slot_bytes,
                                 .work        = work};
    b.error                   = (uint16_t *)(void *)(b.data + l.error),
    b.norm                    = (uint16_t *)(void *)(b.data + l.norm);
    ek_parallel(pool, b.slots, 1, build_slots, &b);
    if (b.status) return b.status;
    double largest = 0;
    for (size_t r = 0; r < w->n; r++) { /* no fmax: gcc 12 for aarch64 trips over it here */
        const double both = (double)ek_bfloat_load(b.error[r]) + (double)ek_bfloat_load(b.norm[r]);
        if (both > largest) largest = both;
    }
    *out = (struct ek_head_screen){sizeof *out, q, b.error, b.norm, round_up(largest)};
    return EK_OK;
}
