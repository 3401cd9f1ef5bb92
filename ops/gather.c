/* SPDX-License-Identifier: Apache-2.0 */
/* ops/gather.c - rows of a matrix made a matrix of their own, bit for bit. */
#include "ek/formats.h"

#include "kernels/packed.h"

#include <string.h>

enum { LINE = 64 };

/* Calls for every 64-byte line of a panel: the first of a block holds two halves a row, all others
 * one word of 32 bits. */
static void copy_packed_row(const struct ek_geometry *g, size_t kp, const uint8_t *from,
                            size_t from_row, uint8_t *to, size_t to_row)
{
    size_t at = 0;
    for (size_t col = 0; col < kp; col += g->block) {
        const size_t cols = kp - col < g->block ? kp - col : g->block;
        const size_t end  = at + g->head + ek_code_bytes(g, cols);
        memcpy(to + at + 2 * to_row, from + at + 2 * from_row, 2);
        memcpy(to + at + 32 + 2 * to_row, from + at + 32 + 2 * from_row, 2);
        for (at += LINE; at < end; at += LINE)
            memcpy(to + at + 4 * to_row, from + at + 4 * from_row, 4);
    }
}

/* A panel of zeros, as ek_weights_pack leaves rows that are none. */
static void clear_panel(const struct ek_fmt_info *f, const struct ek_geometry *g, size_t kp,
                        uint8_t *panel)
{
    memset(panel, (int)(f->bits == 4 ? f->zero * 0x11 : f->zero), ek_panel_bytes(g, kp));
    for (size_t col = 0; col < kp; col += g->block)
        memset(panel + ek_group_offset(g, col) - g->head, 0, g->head);
}

static void gather_packed(const struct ek_weights *w, const uint32_t *rows, size_t count,
                          uint8_t *out)
{
    const struct ek_fmt_info *f     = ek_fmt_info(w->fmt);
    const struct ek_geometry  g     = {f->kind, f->bits, f->group, f->block, f->head};
    const size_t              kp    = ek_padded_k(w->fmt, w->k);
    const size_t              panel = ek_panel_bytes(&g, kp), P = EK_PANEL_ROWS;
    if (count % P) clear_panel(f, &g, kp, out + count / P * panel);
    for (size_t i = 0; i < count; i++)
        copy_packed_row(&g, kp, (const uint8_t *)w->data + rows[i] / P * panel, rows[i] % P,
                        out + i / P * panel, i % P);
}

ek_status ek_weights_gather(const struct ek_weights *w, const uint32_t *rows, size_t count,
                            void *out, size_t out_bytes)
{
    const struct ek_fmt_info *f = w ? ek_fmt_info(w->fmt) : NULL;
    size_t                    bytes, need, row_bytes;
    if (!f || !w->data || !rows || !out) return EK_E_ARG;
    if (w->layout != f->layout) return EK_E_FORMAT;
    ek_status s = ek_weights_bytes(w->fmt, w->n, w->k, &bytes, NULL);
    if (!s) s = ek_weights_bytes(w->fmt, count, w->k, &need, &row_bytes);
    if (s) return s;
    if (f->layout == EK_LAYOUT_PANEL16 && (uintptr_t)out % LINE) return EK_E_ARG;
    if (out_bytes < need) return EK_E_NOMEM;
    for (size_t i = 0; i < count; i++)
        if (rows[i] >= w->n) return EK_E_ARG;
    if (f->layout == EK_LAYOUT_PANEL16) {
        gather_packed(w, rows, count, out);
        return EK_OK;
    }
    for (size_t i = 0; i < count; i++)
        memcpy((char *)out + i * row_bytes, (const char *)w->data + rows[i] * row_bytes, row_bytes);
    return EK_OK;
}
