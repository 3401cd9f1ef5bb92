/* SPDX-License-Identifier: Apache-2.0 */
/* model/tensor.c - a tensor of any type as floats, or packed for the kernels. */
#include "model/ggml_blocks.h"
#include "model/source.h"

#include <stdlib.h>
#include <string.h>

enum { PANEL = EK_PANEL_ROWS };

uint64_t checksum64(uint64_t start, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    uint64_t             h = start, word;
    for (; bytes >= sizeof word; p += sizeof word, bytes -= sizeof word) {
        memcpy(&word, p, sizeof word);
        h = (h ^ word) * UINT64_C(0x100000001B3);
    }
    if (bytes) {
        word = 0;
        memcpy(&word, p, bytes);
        h = (h ^ word) * UINT64_C(0x100000001B3);
    }
    return h;
}

enum ek_fmt tensor_format(const struct tensor *t, int *exact)
{
    int unused;
    exact  = exact ? exact : &unused;
    *exact = 1;
    switch (t->type) {
    case TENSOR_F32: return EK_FMT_f32;
    case TENSOR_F16: return EK_FMT_f16;
    case TENSOR_BF16: return EK_FMT_bf16;
    case TENSOR_PACKED:
    case TENSOR_NEURONS: return t->fmt;
    case TENSOR_Q8_0: return EK_FMT_q8g32;
    case TENSOR_Q4_0: return EK_FMT_q4g32;
    case TENSOR_Q4_1: return EK_FMT_q4g32m;
    case TENSOR_Q4_K: return EK_FMT_q4k;
    case TENSOR_Q5_0:
    case TENSOR_Q5_K:
    case TENSOR_Q6_K:
    case TENSOR_TYPES: break;
    }
    *exact = 0;
    return EK_FMT_q8g32;
}

static struct ek_weights weights_of(const struct tensor *t)
{
    return (struct ek_weights){.fmt    = t->fmt,
                               .layout = ek_fmt_info(t->fmt)->layout,
                               .n      = t->n,
                               .k      = t->k,
                               .data   = t->data};
}

static ek_status out_of_memory(const struct tensor *t, struct error *e)
{
    return fail(e, EK_E_NOMEM, "%s: tensor %s: out of memory", t->file, t->name);
}

ek_status tensor_floats(const struct tensor *t, size_t row0, size_t row1, float *out,
                        struct error *e)
{
    if (row0 > row1 || row1 > t->n)
        return fail(e, EK_E_ARG, "%s: tensor %s: no rows %zu to %zu", t->file, t->name, row0, row1);
    if (t->type == TENSOR_NEURONS)
        return fail(e, EK_E_UNSUPPORTED, "%s: tensor %s: neurons are no matrix", t->file, t->name);
    if (t->type == TENSOR_PACKED) {
        const struct ek_weights w = weights_of(t);
        const ek_status         s = ek_weights_dequantize(&w, row0, row1, out);
        return s ? fail(e, s, "%s: tensor %s: %s", t->file, t->name, ek_status_text(s)) : EK_OK;
    }
    const size_t row = t->k / ggml_block_columns(t->type) * ggml_block_bytes(t->type);
    for (size_t r = row0; r < row1; r++)
        ggml_decode(t->type, (const unsigned char *)t->data + r * row, t->k,
                    out + (r - row0) * t->k);
    return EK_OK;
}

/* ---- packing ---- */

/* Where rows from row0 on lie in a matrix of format fmt. */
static unsigned char *rows_at(enum ek_fmt fmt, size_t k, size_t row0, void *out)
{
    size_t bytes, step;
    if (ek_weights_bytes(fmt, 1, k, &bytes, &step)) return NULL;
    const size_t rows = ek_fmt_info(fmt)->layout == EK_LAYOUT_PANEL16 ? PANEL : 1;
    return (unsigned char *)out + row0 / rows * step;
}

/* Scales that are not finite would make every product with them NaN. */
static int scales_finite(const uint16_t *h, size_t n)
{
    for (size_t i = 0; h && i < n; i++)
        if ((h[i] & 0x7C00) == 0x7C00) return 0;
    return 1;
}

/* Codes of up to 16 rows of GGUF blocks; both formats have the same groups, so nothing is lost. */
static ek_status pack_codes(const struct tensor *t, enum ek_fmt fmt, size_t row0, size_t row1,
                            void *out)
{
    const struct ek_fmt_info *f = ek_fmt_info(fmt);
    const size_t groups = t->k / f->group, halves = f->kind == EK_FMT_SUPER ? groups / 8 : groups;
    uint8_t     *mem = calloc(PANEL, t->k + 2 * groups + 4 * halves);
    if (!mem) return EK_E_NOMEM;
    uint16_t       *half = (uint16_t *)(void *)mem; /* first, for their alignment */
    uint8_t        *byte = mem + 4 * halves * PANEL;
    struct ek_codes all  = {byte, half, half + PANEL * halves, byte + PANEL * t->k,
                            byte + PANEL * (t->k + groups)};
    if (f->kind == EK_FMT_SYM) all.m = NULL;
    if (f->kind != EK_FMT_SUPER) all.sd = all.sm = NULL;

    const size_t row = t->k / ggml_block_columns(t->type) * ggml_block_bytes(t->type);
    for (size_t r = row0; r < row1; r++) {
        const size_t          i = r - row0;
        const struct ek_codes c = {
            all.q + i * t->k, all.d + i * halves, all.m ? all.m + i * halves : NULL,
            all.sd ? all.sd + i * groups : NULL, all.sm ? all.sm + i * groups : NULL};
        ggml_codes(t->type, (const unsigned char *)t->data + r * row, t->k, &c);
    }
    const size_t n = (row1 - row0) * halves;
    size_t       bytes;
    ek_status    s = scales_finite(all.d, n) && scales_finite(all.m, n) ? EK_OK : EK_E_FORMAT;
    if (!s) s = ek_weights_bytes(fmt, row1 - row0, t->k, &bytes, NULL);
    if (!s) s = ek_weights_pack(fmt, &all, row1 - row0, t->k, out, bytes);
    free(mem);
    return s;
}

static ek_status pack_floats(const struct tensor *t, enum ek_fmt fmt, size_t row0, size_t row1,
                             void *out)
{
    float    *x = malloc((row1 - row0) * t->k * sizeof *x);
    size_t    bytes;
    ek_status s = x ? tensor_floats(t, row0, row1, x, NULL) : EK_E_NOMEM;
    if (!s) s = ek_weights_bytes(fmt, row1 - row0, t->k, &bytes, NULL);
    if (!s) s = ek_weights_quantize(fmt, x, row1 - row0, t->k, out, bytes);
    free(x);
    return s;
}

static ek_status pack_panel(const struct tensor *t, enum ek_fmt fmt, size_t row0, size_t row1,
                            void *out)
{
    int               exact;
    const enum ek_fmt same = tensor_format(t, &exact);
    if (t->type != TENSOR_PACKED && same == fmt && exact &&
        ek_fmt_info(fmt)->layout == EK_LAYOUT_PANEL16)
        return pack_codes(t, fmt, row0, row1, out);
    return pack_floats(t, fmt, row0, row1, out);
}

struct tensor tensor_rows(const struct tensor *t, size_t row0, size_t row1)
{
    struct tensor r = *t;
    size_t        step, first;
    if (t->type != TENSOR_PACKED)
        step = t->k / ggml_block_columns(t->type) * ggml_block_bytes(t->type);
    else if (ek_weights_bytes(t->fmt, PANEL, t->k, &step, NULL))
        step = 0;
    first   = t->type == TENSOR_PACKED ? row0 / PANEL : row0;
    r.n     = row1 - row0;
    r.data  = (const unsigned char *)t->data + first * step;
    r.bytes = t->type == TENSOR_PACKED ? (r.n + PANEL - 1) / PANEL * step : r.n * step;
    return r;
}

ek_status tensor_pack(const struct tensor *t, enum ek_fmt fmt, size_t row0, size_t row1, void *out,
                      struct error *e)
{
    if (row0 % PANEL || row0 > row1 || row1 > t->n || !ek_fmt_info(fmt))
        return fail(e, EK_E_ARG, "%s: tensor %s: no rows %zu to %zu", t->file, t->name, row0, row1);
    if (t->type == TENSOR_PACKED && t->fmt == fmt) {
        const struct tensor r = tensor_rows(t, row0, row1);
        memcpy(rows_at(fmt, t->k, row0, out), r.data, r.bytes);
        return EK_OK;
    }
    for (size_t r = row0; r < row1; r += PANEL) {
        const size_t    end = r + PANEL < row1 ? r + PANEL : row1;
        const ek_status s   = pack_panel(t, fmt, r, end, rows_at(fmt, t->k, r, out));
        if (s == EK_E_NOMEM) return out_of_memory(t, e);
        if (s)
            return fail(e, s, "%s: tensor %s: rows %zu to %zu: not finite, or too large for %s",
                        t->file, t->name, r, end - 1, ek_fmt_info(fmt)->name);
    }
    return EK_OK;
}

/* One call of the pool: the first error of any piece is kept. */
struct pack_task {
    const struct tensor *t;
    enum ek_fmt          fmt;
    void                *out;
    struct error         error;
    int                  taken; /* whoever raises it first writes error */
    ek_status            bad;
};

static void pack_range(void *task, size_t begin, size_t end)
{
    struct pack_task *p = task;
    struct error      e;
    const size_t      row1 = end * PANEL < p->t->n ? end * PANEL : p->t->n;
    const ek_status   s    = tensor_pack(p->t, p->fmt, begin * PANEL, row1, p->out, &e);
    if (s && !__atomic_exchange_n(&p->taken, 1, __ATOMIC_RELAXED)) p->bad = s, p->error = e;
}

ek_status tensor_pack_all(const struct tensor *t, enum ek_fmt fmt, const ek_pool *pool, void *out,
                          struct error *e)
{
    struct pack_task task   = {.t = t, .fmt = fmt, .out = out};
    const size_t     panels = (t->n + PANEL - 1) / PANEL;
    ek_parallel(pool, panels, 4, pack_range, &task);
    if (task.bad && e) *e = task.error;
    return task.bad;
}

int tensor_packs(const struct tensor *t, enum ek_fmt fmt)
{
    const int blocks = t->type >= TENSOR_Q8_0 && t->type <= TENSOR_Q6_K;
    return blocks || tensor_format(t, NULL) != fmt;
}

ek_status tensor_weights(const struct tensor *t, enum ek_fmt fmt, const ek_pool *pool, void *mem,
                         struct ek_weights *w, struct error *e)
{
    const int       packs = tensor_packs(t, fmt);
    const ek_status s     = packs ? tensor_pack_all(t, fmt, pool, mem, e) : EK_OK;
    if (s) return s;
    *w     = weights_of(t);
    w->fmt = fmt, w->layout = ek_fmt_info(fmt)->layout;
    w->data = packs ? mem : t->data;
    return EK_OK;
}
