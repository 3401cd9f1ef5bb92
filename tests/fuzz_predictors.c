/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_predictors.c - any bytes as a file of predictors: refused with a line, or sound. */
#include "model/predictors.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct predictors_for what = {"mlp.in", 2, 5, 7, 0xab};
    struct predictors           p;
    struct error                e = {""};
    if (predictors_parse(&p, data, size, "fuzz", &what, &e)) {
        if (!e.text[0] || strchr(e.text, '\n') || p.layer) abort();
        return 0;
    }
    for (size_t i = 0; i < what.layers; i++) {
        const struct ek_mask_rule r = predictors_rule(&p, i, what.ffn);
        if (p.layer[i].down.k != what.hidden || p.layer[i].up.n != what.ffn ||
            p.layer[i].up.k != p.layer[i].down.n)
            abort();
        if (r.kind == EK_RULE_TOPK && (!r.k || r.k > what.ffn)) abort();
    }
    predictors_drop(&p);
    return 0;
}
