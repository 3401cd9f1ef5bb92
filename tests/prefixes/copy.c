/* SPDX-License-Identifier: Apache-2.0 */
/* tests/prefixes/copy.c - a user of one copy; compiled once under each copy's EK_PREFIX. */
#include "copy.h"

#include <ek/ek.h>

#define TEXT_OF(x)     #x
#define TEXT(x)        TEXT_OF(x)
#define PASTE_OF(a, b) a##b
#define PASTE(a, b)    PASTE_OF(a, b)

int PASTE(copy_, EK_PREFIX)(struct copy *c)
{
    static _Alignas(64) unsigned char packed[1024], work[4096];

    float w[COPY_N * COPY_K], x[COPY_K];
    for (int i = 0; i < COPY_N * COPY_K; i++) w[i] = (float)((i % 16 - 8) * (i / COPY_K + 1));
    for (int i = 0; i < COPY_K; i++) x[i] = (float)i;
    const struct ek_weights        m   = {EK_FMT_q4g32, EK_LAYOUT_PANEL16, COPY_N, COPY_K, packed};
    const struct ek_linear_options opt = {.struct_size = sizeof opt,
                                          .activation  = EK_ACTIVATION_F32};
    struct ek_kernels              t;

    c->prefix   = TEXT(EK_PREFIX);
    c->registry = ek_kernel_at(0);
    return ek_kernels_default(&t) ||
           ek_weights_quantize(m.fmt, w, m.n, m.k, packed, sizeof packed) ||
           ek_linear(&t, NULL, &m, x, COPY_K, 1, c->y, COPY_N, &opt, work, sizeof work);
}
