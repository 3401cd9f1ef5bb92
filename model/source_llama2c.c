/* SPDX-License-Identifier: Apache-2.0 */
/* model/source_llama2c.c - llama2.c's legacy float files: seven numbers, then f32 weights.
 * Source: karpathy/llama2.c, export.py "legacy_export". */
#include "model/names.h"
#include "model/source_inner.h"

#include <stdio.h>
#include <string.h>

enum { HEADER_BYTES = 7 * sizeof(int32_t) };

struct walk {
    struct source       *s;
    const unsigned char *at;
    size_t               left;
    struct error        *e;
};

/* A block of the file: for each of count layers a matrix of n x k. */
static ek_status take(struct walk *w, const char *format, size_t count, size_t n, size_t k)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, k * sizeof(float), &bytes) || bytes > w->left / count)
        return fail(w->e, EK_E_FORMAT,
                    "%s: ends before all tensors are there: not a llama2.c file?", w->s->path);
    for (size_t l = 0; l < count; l++, w->at += bytes, w->left -= bytes) {
        char name[TENSOR_NAME_MAX];
        if (!format) continue; /* tables that are computed here */
        if (strstr(format, "proj") || strstr(format, "layernorm"))
            snprintf(name, sizeof name, "model.layers.%zu.%s.weight", l, format);
        else
            snprintf(name, sizeof name, "%s.weight", format);
        const struct tensor t   = {.name  = name,
                                   .type  = TENSOR_F32,
                                   .fmt   = EK_FMT_f32,
                                   .n     = n,
                                   .k     = k,
                                   .data  = w->at,
                                   .bytes = bytes,
                                   .file  = w->s->path};
        const ek_status     bad = source_add(w->s, &t, w->e);
        if (bad) return bad;
    }
    return EK_OK;
}

static ek_status take_tensors(struct walk *w, const struct config *c)
{
    const size_t l = c->layers, h = c->hidden, kv = c->kv_heads * c->head_dim;
    const struct {
        const char *name;
        size_t      count, n, k;
    } blocks[] = {
        {"model.embed_tokens", 1, c->vocab, h},
        {"input_layernorm", l, 1, h},
        {"self_attn.q_proj", l, h, h},
        {"self_attn.k_proj", l, kv, h},
        {"self_attn.v_proj", l, kv, h},
        {"self_attn.o_proj", l, h, h},
        {"post_attention_layernorm", l, 1, h},
        {"mlp.gate_proj", l, c->ffn, h},
        {"mlp.down_proj", l, h, c->ffn},
        {"mlp.up_proj", l, c->ffn, h},
        {"model.norm", 1, 1, h},
        {NULL, 1, c->context, c->head_dim}, /* cos and sin of half a head each */
        {"lm_head", 1, c->vocab, h},
    };
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        if (c->tied && i == sizeof blocks / sizeof *blocks - 1) break;
        const ek_status bad = take(w, blocks[i].name, blocks[i].count, blocks[i].n, blocks[i].k);
        if (bad) return bad;
    }
    if (w->left)
        return fail(w->e, EK_E_FORMAT, "%s: %zu bytes after the last tensor: not a llama2.c file?",
                    w->s->path, w->left);
    return EK_OK;
}

static ek_status parse_header(struct config *c, const struct file *f, const char *path,
                              struct error *e)
{
    int32_t  n[7] = {0};
    uint32_t magic;
    if (f->bytes < HEADER_BYTES)
        return fail(e, EK_E_FORMAT, "%s: neither GGUF nor llama2.c: too short", path);
    memcpy(n, f->data, sizeof n);
    memcpy(&magic, n, sizeof magic);
    if (magic == 0x616B3432) /* "ak42" */
        return fail(e, EK_E_UNSUPPORTED,
                    "%s: llama2.c export of version %d; the legacy float one is read", path, n[1]);
    for (int i = 0; i < 7; i++)
        if (n[i] <= 0 && (i != 5 || n[i] == INT32_MIN || !n[i]))
            return fail(e, EK_E_FORMAT, "%s: neither GGUF nor a legacy llama2.c file", path);
    config_defaults(c);
    snprintf(c->arch, sizeof c->arch, "llama");
    c->hidden = (size_t)n[0], c->ffn = (size_t)n[1], c->layers = (size_t)n[2];
    c->heads = (size_t)n[3], c->kv_heads = (size_t)n[4], c->context = (size_t)n[6];
    c->tied             = n[5] > 0;
    c->vocab            = (size_t)(n[5] > 0 ? n[5] : -n[5]);
    c->head_dim         = c->hidden / c->heads;
    c->rot              = c->head_dim;
    c->rms_eps          = 1e-5F;
    c->rope_interleaved = 1;
    if (c->hidden % c->heads)
        return fail(e, EK_E_FORMAT, "%s: neither GGUF nor a legacy llama2.c file", path);
    if (c->vocab > 2) c->bos = 1, c->eos[c->eos_count++] = 2; /* SentencePiece's, as run.c has it */
    return config_check(c, path, e);
}

ek_status source_from_llama2c(struct source *s, const struct file *f, struct error *e)
{
    const ek_status bad = parse_header(&s->config, f, s->path, e);
    if (bad) return bad;
    struct walk w = {s, f->data + HEADER_BYTES, f->bytes - HEADER_BYTES, e};
    return take_tensors(&w, &s->config);
}

ek_status source_read_llama2c(struct source *s, struct error *e)
{
    struct file     f;
    const ek_status bad = source_map(s, s->path, &f, e);
    return bad ? bad : source_from_llama2c(s, &f, e);
}
