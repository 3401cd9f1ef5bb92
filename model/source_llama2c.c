/* SPDX-License-Identifier: Apache-2.0 */
/* model/source_llama2c.c - llama2.c's files. Legacy: seven numbers, then f32 weights. Version 2: a
 * header of 256 bytes, f32 norms, then matrices of int8 codes, each with its f32 scales behind it;
 * they become floats at once, as groups that run on from row to row have no format of ours.
 * Source: karpathy/llama2.c, export.py "legacy_export" and "version2_export". */
#include "model/names.h"
#include "model/source_inner.h"

#include <stdio.h>
#include <string.h>

enum {
    MAGIC         = 0x616B3432, /* "ak42" */
    NUMBERS       = 7,
    LEGACY_HEADER = NUMBERS * sizeof(int32_t),
    HEADER_2      = 256,
};

struct walk {
    struct source       *s;
    const unsigned char *at;
    size_t               left;
    size_t               group; /* of version 2; 0: floats */
    struct error        *e;
};

/* n codes, then a scale per group. */
static float *decode(struct walk *w, size_t n)
{
    float *out = source_alloc(w->s, n * sizeof *out);
    for (size_t i = 0; out && i < n; i++) {
        float scale;
        memcpy(&scale, w->at + n + i / w->group * sizeof scale, sizeof scale);
        out[i] = scale * (float)(int8_t)w->at[i];
    }
    return out;
}

/* A block of the file: for each of count layers a matrix of n x k. */
static ek_status take(struct walk *w, const char *format, size_t count, size_t n, size_t k)
{
    const int quantized = w->group && n > 1; /* vectors have n = 1 and stay floats */
    size_t    bytes;
    if (__builtin_mul_overflow(n, k * sizeof(float), &bytes)) bytes = SIZE_MAX;
    if (quantized && n * k % w->group)
        return fail(w->e, EK_E_FORMAT, "%s: a group of %zu does not divide %zu x %zu", w->s->path,
                    w->group, n, k);
    if (quantized && bytes != SIZE_MAX) bytes = n * k + n * k / w->group * sizeof(float);
    if (bytes > w->left / count)
        return fail(w->e, EK_E_FORMAT,
                    "%s: ends before all tensors are there: not a llama2.c file?", w->s->path);
    for (size_t l = 0; l < count; l++, w->at += bytes, w->left -= bytes) {
        char name[TENSOR_NAME_MAX];
        if (!format) continue; /* tables that are computed here */
        if (strstr(format, "proj") || strstr(format, "layernorm"))
            snprintf(name, sizeof name, "model.layers.%zu.%s.weight", l, format);
        else
            snprintf(name, sizeof name, "%s.weight", format);
        const void *data = quantized ? (const void *)decode(w, n * k) : w->at;
        if (!data) return fail(w->e, EK_E_NOMEM, "%s: out of memory", w->s->path);
        const struct tensor t   = {.name  = name,
                                   .type  = TENSOR_F32,
                                   .fmt   = EK_FMT_f32,
                                   .n     = n,
                                   .k     = k,
                                   .data  = data,
                                   .bytes = n * k * sizeof(float),
                                   .file  = w->s->path};
        const ek_status     bad = source_add(w->s, &t, w->e);
        if (bad) return bad;
    }
    return EK_OK;
}

struct stretch {
    const char *name;
    size_t      count, n, k;
};
enum { STRETCHES_MAX = 13 };

/* What follows the header, in order. */
static size_t legacy_stretches(const struct config *c, struct stretch out[STRETCHES_MAX])
{
    const size_t         l = c->layers, h = c->hidden, kv = c->kv_heads * c->head_dim;
    const struct stretch all[] = {
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
    memcpy(out, all, sizeof all);
    return sizeof all / sizeof *all - (c->tied ? 1 : 0);
}

static size_t version2_stretches(const struct config *c, struct stretch out[STRETCHES_MAX])
{
    const size_t         l = c->layers, h = c->hidden, kv = c->kv_heads * c->head_dim;
    const struct stretch all[] = {
        {"input_layernorm", l, 1, h},    {"post_attention_layernorm", l, 1, h},
        {"model.norm", 1, 1, h},         {"model.embed_tokens", 1, c->vocab, h},
        {"self_attn.q_proj", l, h, h},   {"self_attn.k_proj", l, kv, h},
        {"self_attn.v_proj", l, kv, h},  {"self_attn.o_proj", l, h, h},
        {"mlp.gate_proj", l, c->ffn, h}, {"mlp.down_proj", l, h, c->ffn},
        {"mlp.up_proj", l, c->ffn, h},   {"lm_head", 1, c->vocab, h},
    };
    memcpy(out, all, sizeof all);
    return sizeof all / sizeof *all - (c->tied ? 1 : 0);
}

static ek_status take_tensors(struct walk *w, const struct config *c)
{
    struct stretch s[STRETCHES_MAX];
    const size_t   n = w->group ? version2_stretches(c, s) : legacy_stretches(c, s);
    for (size_t i = 0; i < n; i++) {
        const ek_status bad = take(w, s[i].name, s[i].count, s[i].n, s[i].k);
        if (bad) return bad;
    }
    if (w->left)
        return fail(w->e, EK_E_FORMAT, "%s: %zu bytes after the last tensor: not a llama2.c file?",
                    w->s->path, w->left);
    return EK_OK;
}

static ek_status take_numbers(struct config *c, const int32_t n[NUMBERS], const char *path,
                              struct error *e)
{
    for (int i = 0; i < NUMBERS; i++)
        if (n[i] <= 0 && (i != 5 || n[i] == INT32_MIN || !n[i]))
            return fail(e, EK_E_FORMAT, "%s: neither GGUF nor a llama2.c file", path);
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
        return fail(e, EK_E_FORMAT, "%s: neither GGUF nor a llama2.c file", path);
    if (c->vocab > 2) c->bos = 1, c->eos[c->eos_count++] = 2; /* SentencePiece's, as run.c has it */
    return EK_OK;
}

/* Magic, version, seven numbers, a byte for the tied head, the group size. */
static ek_status parse_header_2(struct walk *w, const struct file *f, struct config *c)
{
    int32_t n[NUMBERS], version, group;
    memcpy(&version, f->data + 4, sizeof version);
    if (version != 2)
        return fail(w->e, EK_E_UNSUPPORTED,
                    "%s: llama2.c export of version %d; the legacy one and 2 are read", w->s->path,
                    (int)version);
    if (f->bytes < HEADER_2)
        return fail(w->e, EK_E_FORMAT, "%s: ends inside its header", w->s->path);
    memcpy(n, f->data + 8, sizeof n);
    memcpy(&group, f->data + 8 + sizeof n + 1, sizeof group);
    const ek_status bad = take_numbers(c, n, w->s->path, w->e);
    if (bad) return bad;
    if (group <= 0) return fail(w->e, EK_E_FORMAT, "%s: a group of %d", w->s->path, (int)group);
    c->tied  = f->data[8 + sizeof n] != 0;
    w->group = (size_t)group;
    w->at += HEADER_2, w->left -= HEADER_2;
    return EK_OK;
}

static ek_status parse_header(struct walk *w, const struct file *f, struct config *c)
{
    int32_t n[NUMBERS];
    if (f->bytes < LEGACY_HEADER)
        return fail(w->e, EK_E_FORMAT, "%s: neither GGUF nor llama2.c: too short", w->s->path);
    memcpy(n, f->data, sizeof n);
    if (n[0] == MAGIC) return parse_header_2(w, f, c);
    w->at += LEGACY_HEADER, w->left -= LEGACY_HEADER;
    return take_numbers(c, n, w->s->path, w->e);
}

ek_status source_from_llama2c(struct source *s, const struct file *f, struct error *e)
{
    struct walk w   = {.s = s, .at = f->data, .left = f->bytes, .e = e};
    ek_status   bad = parse_header(&w, f, &s->config);
    if (!bad) bad = config_check(&s->config, s->path, e);
    return bad ? bad : take_tensors(&w, &s->config);
}

ek_status source_read_llama2c(struct source *s, struct error *e)
{
    struct file     f;
    const ek_status bad = source_map(s, s->path, &f, e);
    return bad ? bad : source_from_llama2c(s, &f, e);
}
