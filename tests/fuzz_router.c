/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_router.c - any bytes as each file of a router: refused with a line, or sound. */
#include "model/router_inner.h"
#include "tests/fuzz_file.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { VOCAB = 100, HIDDEN = 6 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct router r    = {.act = EK_ACT_RELU};
    struct error  e    = {""};
    char         *text = malloc(size + 1);
    fuzz_require(text != NULL);
    if (size) memcpy(text, data, size);
    text[size] = '\0';
    if (router_parse_meta(&r, text, VOCAB, HIDDEN, "fuzz", &e)) fuzz_line(&e);
    free(text);
    if (router_parse_ids(&r, data, size, VOCAB, "fuzz", &e))
        fuzz_line(&e);
    else
        for (size_t i = 0; i < r.common_count; i++)
            fuzz_require(r.common[i] < VOCAB && (!i || r.common[i] > r.common[i - 1]));
    if (router_parse_weights(&r, data, size, HIDDEN, "fuzz", &e)) {
        fuzz_line(&e);
    } else {
        fuzz_require(r.layer_count && r.layers[0].k == HIDDEN &&
                     r.layers[r.layer_count - 1].n == 1);
        for (size_t i = 1; i < r.layer_count; i++) fuzz_require(r.layers[i].k == r.layers[i - 1].n);
    }
    router_drop(&r);
    return 0;
}
