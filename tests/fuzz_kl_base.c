/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_kl_base.c - any bytes as kept predictions: refused with a line, or every record can be
 * compared with. */
#include "model/kl_base.h"
#include "tests/fuzz_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char            path[64];
    const int       fd = fuzz_file(data, size, path);
    struct error    e  = {""};
    struct kl_base *b;
    if (kl_open(&b, path, &e)) {
        fuzz_line(&e);
    } else {
        const struct kl_header *h = kl_header(b);
        fuzz_require(kl_record_bytes(h) && memchr(h->name, 0, sizeof h->name));
        float *logits = h->vocab <= 1 << 16 ? calloc(h->vocab, sizeof *logits) : NULL;
        for (uint64_t i = 0; logits && i < h->positions && i < 64; i++) {
            struct kl_point point;
            kl_compare(b, i, logits, (int32_t)(h->vocab - 1), &point);
        }
        free(logits);
        kl_close(b);
    }
    close(fd);
    return 0;
}
