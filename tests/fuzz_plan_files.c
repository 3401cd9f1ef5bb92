/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_plan_files.c - any bytes as a list of cuts and as thresholds: refused with a line, or
 * sound. */
#include "model/cuts.h"
#include "model/thresholds.h"
#include "tests/fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LAYERS = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char              path[64];
    const int         fd = fuzz_file(data, size, path);
    struct error      e  = {""};
    struct cuts       c;
    struct thresholds t;
    if (cuts_read(&c, path, LAYERS, &e)) {
        fuzz_line(&e);
    } else {
        for (size_t i = 0; i < LAYERS; i++) fuzz_require(c.left_out[i] <= CUT_LAYER);
        cuts_drop(&c);
    }
    if (thresholds_read(&t, path, LAYERS, 0xab, &e)) {
        fuzz_line(&e);
    } else {
        for (size_t tap = 0; tap < TAP_COUNT; tap++)
            for (size_t i = 0; t.value[tap] && i < LAYERS; i++) fuzz_require(t.value[tap][i] >= 0);
        thresholds_drop(&t);
    }
    close(fd);
    return 0;
}
