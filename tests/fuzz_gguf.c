/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_gguf.c - any bytes as a GGUF file: metadata, tensors, a model. */
#include "model/gguf.h"
#include "tests/fuzz_model.h"

/* Looks at every value as each kind; strings are walked. */
static void exercise_values(const struct gguf *g)
{
    for (size_t i = 0; i < g->value_count; i++) {
        const struct gguf_value *v = &g->values[i];
        char                     key[64];
        uint64_t                 n, bytes = 0;
        double                   x;
        struct gguf_string       s;
        const unsigned char     *at = v->data;
        for (uint64_t j = 0; v->element == GGUF_STRING && j < v->count; j++) {
            s = gguf_next_string(&at);
            for (size_t b = 0; b < s.bytes; b++) bytes += (unsigned char)s.data[b];
        }
        require(bytes < UINT64_MAX);
        if (v->key.bytes >= sizeof key) continue;
        memcpy(key, v->key.data, v->key.bytes);
        key[v->key.bytes] = '\0';
        if (strlen(key) == v->key.bytes) require(gguf_find(g, key) == v);
        (void)gguf_uint(g, key, &n), (void)gguf_float(g, key, &x), (void)gguf_text(g, key, &s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct error   e;
    unsigned char *copy = NULL;
    if (posix_memalign((void **)&copy, 64, bytes ? bytes : 1)) return 0;
    memcpy(copy, data, bytes);
    struct gguf   *g = calloc(1, sizeof *g);
    struct source *s = source_make("fuzz");
    require(s && g);
    if (gguf_parse(g, copy, bytes, "fuzz", &e)) {
        free(g);
    } else {
        exercise_values(g);
        s->gguf = g;
        if (!source_from_gguf(s, &e)) exercise_source(s);
    }
    source_close(s);
    free(copy);
    return 0;
}
