/* SPDX-License-Identifier: Apache-2.0 */
/* tests/fuzz_model.h - what a source that was accepted must stand. */
#ifndef EK_TESTS_FUZZ_MODEL_H
#define EK_TESTS_FUZZ_MODEL_H
#include "ek/sparse.h"
#include "model/source_inner.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static inline void require(int held)
{
    if (!held) abort();
}

/* Both rows of the last neuron decode. */
static inline void exercise_neurons(const struct tensor *t)
{
    const struct ek_neurons w = {t->fmt, t->n, t->k, 2, t->data};
    float                  *x = malloc(t->k * sizeof *x);
    require(x != NULL);
    for (size_t row = 0; row < 2; row++)
        require(!ek_neurons_dequantize(&w, row, t->n - 1, t->n, x));
    free(x);
}

/* Every byte of a tensor is there; its rows decode; its first panel packs or says why not. */
static inline void exercise_tensor(const struct tensor *t)
{
    enum { LIMIT = 1 << 22 }; /* weights: larger ones only cost time */
    struct error e;
    int          exact;
    require(t->n >= 1 && t->k >= 1 && t->bytes >= 1);
    (void)checksum64(CHECKSUM_START, t->data, t->bytes);
    if (t->k > LIMIT / EK_PANEL_ROWS) return;
    if (t->type == TENSOR_NEURONS) {
        exercise_neurons(t);
        return;
    }
    const size_t        rows  = t->n < EK_PANEL_ROWS ? t->n : EK_PANEL_ROWS;
    const enum ek_fmt   fmt   = tensor_format(t, &exact);
    const struct tensor first = tensor_rows(t, 0, rows);
    float              *x     = malloc(rows * t->k * sizeof *x);
    size_t              bytes;
    require(x && !tensor_floats(t, t->n - 1, t->n, x, &e) && !tensor_floats(t, 0, rows, x, &e));
    require(!ek_weights_bytes(fmt, rows, t->k, &bytes, NULL));
    void *mem = aligned_alloc(64, (bytes + 63) / 64 * 64);
    require(mem != NULL);
    const ek_status s = tensor_pack(&first, fmt, 0, rows, mem, &e);
    require(!s || s == EK_E_FORMAT);
    free(mem);
    free(x);
}

static inline void exercise_source(struct source *s)
{
    struct error e;
    if (source_check(s, &e)) return;
    require(!config_check(&s->config, "fuzz", &e));
    for (size_t i = 0; i < s->count; i++) {
        require(source_find(s, s->tensors[i].name) == &s->tensors[i]);
        exercise_tensor(&s->tensors[i]);
    }
}

/* The config that the seeds of safetensors files have. */
static inline void seed_config(struct config *c)
{
    config_defaults(c);
    strcpy(c->arch, "llama");
    c->layers = 1, c->hidden = 32, c->heads = 2, c->kv_heads = 1, c->head_dim = c->rot = 16;
    c->ffn = 32, c->vocab = 16, c->context = 64, c->tied = CONFIG_TIED_UNSAID;
}

/* As a safetensors file for that config, ours or Hugging Face's, at a 64-byte boundary as mapped
 * files are. */
static inline void exercise_safetensors(const uint8_t *data, size_t bytes)
{
    struct safetensors st;
    struct error       e;
    unsigned char     *copy = NULL;
    if (posix_memalign((void **)&copy, 64, bytes ? bytes : 1)) return;
    memcpy(copy, data, bytes);
    struct source *s = source_make("fuzz");
    require(s != NULL);
    seed_config(&s->config);
    if (!safetensors_parse(&st, copy, bytes, "fuzz", &e)) {
        const ek_status bad = source_add_safetensors(s, &st, "fuzz", &e);
        safetensors_free(&st);
        if (!bad) exercise_source(s);
    }
    source_close(s);
    free(copy);
}
#endif
