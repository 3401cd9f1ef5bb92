/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_npy.c - any bytes as a .npy file: refused with a line, or read whole. */
#include "model/npy.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct npy      a;
    struct error    e = {""};
    const ek_status s = npy_parse(&a, "fuzz", data, size, &e);
    if (s != EK_OK) {
        if (!e.text[0] || strchr(e.text, '\n') || a.data || a.dims || a.count) abort();
        return 0;
    }
    size_t count = 1;
    for (size_t i = 0; i < a.dims; i++) count *= a.shape[i];
    if (count != a.count || a.count > size / 4 || !a.data) abort();
    volatile double sum = 0;
    for (size_t i = 0; i < a.count; i++) sum = sum + a.data[i];
    npy_free(&a);
    return 0;
}
