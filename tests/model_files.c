/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model_files.c - writes tiny model files. */
#include "tests/model_files.h"

#include "model/ggml_blocks.h"
#include "model/names.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void stop(const char *what)
{
    fprintf(stderr, "model_files: %s\n", what);
    abort();
}

/* ---- bytes and files ---- */

void bytes_add(struct bytes *b, const void *data, size_t n)
{
    if (b->n + n >= b->room) { /* one more is there for the end of a text */
        b->room = 2 * (b->n + n) + 64;
        b->data = realloc(b->data, b->room);
        if (!b->data) stop("out of memory");
    }
    if (n) memcpy(b->data + b->n, data, n);
    b->n += n;
}

void bytes_pad(struct bytes *b, size_t multiple)
{
    while (b->n % multiple) bytes_add(b, "", 1);
}

void bytes_free(struct bytes *b)
{
    free(b->data);
    *b = (struct bytes){.n = 0};
}

void bytes_write(const struct bytes *b, const char *dir, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(b->data, 1, b->n, f) != b->n || fclose(f)) stop(path);
}

void text_write(const char *text, const char *dir, const char *name)
{
    struct bytes b = {.n = 0};
    bytes_add(&b, text, strlen(text));
    bytes_write(&b, dir, name);
    bytes_free(&b);
}

void directory_make(char path[64])
{
    snprintf(path, 64, "/tmp/ek-files-XXXXXX");
    if (!mkdtemp(path)) stop(path);
}

void directory_remove(const char *path)
{
    DIR *d = opendir(path);
    for (const struct dirent *f; d && (f = readdir(d));) {
        char name[4096];
        if (!strcmp(f->d_name, ".") || !strcmp(f->d_name, "..")) continue;
        snprintf(name, sizeof name, "%s/%s", path, f->d_name);
        if (f->d_type == DT_DIR)
            directory_remove(name);
        else
            unlink(name);
    }
    if (d) closedir(d);
    rmdir(path);
}

float noise(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (float)(int32_t)(*state >> 32) / 2147483648.0F;
}

/* ---- Hugging Face ---- */

struct config tiny_config(const char *arch, int tied)
{
    struct config c;
    config_defaults(&c);
    snprintf(c.arch, sizeof c.arch, "%s", arch);
    c.layers = 2, c.hidden = 32, c.heads = 4, c.kv_heads = 2, c.head_dim = c.rot = 8;
    c.ffn = 48, c.vocab = 64, c.context = 128, c.tied = tied;
    c.bos = 1, c.eos[0] = 2, c.eos_count = 1;
    c.qkv_bias = !strcmp(arch, "qwen2");
    c.qk_norm  = !strcmp(arch, "qwen3");
    return c;
}

struct making {
    struct bytes text, data;
    uint64_t     state;
};

static ek_status add_part(void *self, const struct part *p)
{
    struct making *m = self;
    char           line[512];
    const size_t   count = p->n * p->k, begin = m->data.n;
    for (size_t i = 0; i < count; i++) {
        const float x = noise(&m->state);
        bytes_add(&m->data, &x, sizeof x);
    }
    char shape[64];
    if (p->role == PART_NORM || p->role == PART_BIAS)
        snprintf(shape, sizeof shape, "%zu", p->k);
    else
        snprintf(shape, sizeof shape, "%zu,%zu", p->n, p->k);
    const int n = snprintf(line, sizeof line,
                           "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}",
                           m->text.n > 1 ? "," : "", p->name, shape, begin, m->data.n);
    bytes_add(&m->text, line, (size_t)n);
    return EK_OK;
}

struct hf_model hf_make(const struct config *c)
{
    struct making m = {.state = 7};
    bytes_add(&m.text, "{", 1);
    parts_visit(c, add_part, &m);
    bytes_add(&m.text, "}", 2);
    return (struct hf_model){(char *)m.text.data, m.data};
}

void hf_replace(struct hf_model *m, const char *from, const char *to)
{
    char *at = strstr(m->header, from);
    if (!at) stop(from);
    const size_t head = (size_t)(at - m->header), size = strlen(m->header) + strlen(to) + 1;
    char        *text = malloc(size);
    if (!text) stop("out of memory");
    snprintf(text, size, "%.*s%s%s", (int)head, m->header, to, at + strlen(from));
    free(m->header);
    m->header = text;
}

void hf_write(const struct hf_model *m, const char *dir, const char *name)
{
    struct bytes   all = {.n = 0};
    const uint64_t n   = strlen(m->header);
    bytes_add(&all, &n, sizeof n);
    bytes_add(&all, m->header, n);
    bytes_add(&all, m->data.data, m->data.n);
    bytes_write(&all, dir, name);
    bytes_free(&all);
}

void hf_free(struct hf_model *m)
{
    free(m->header);
    bytes_free(&m->data);
}

void hf_directory(const struct config *c, const char *dir)
{
    struct hf_model m    = hf_make(c);
    char           *text = config_write(c);
    hf_write(&m, dir, "model.safetensors");
    text_write(text, dir, "config.json");
    free(text);
    hf_free(&m);
}

/* ---- GGUF ---- */

static void add_string(struct bytes *b, const char *text)
{
    const uint64_t n = strlen(text);
    bytes_add(b, &n, sizeof n);
    bytes_add(b, text, n);
}

static void add_u32(struct bytes *b, uint32_t v)
{
    bytes_add(b, &v, sizeof v);
}

static void begin_value(struct gguf_file *f, const char *key, uint32_t type)
{
    f->value_count++;
    add_string(&f->values, key);
    add_u32(&f->values, type);
}

void gguf_put_u32(struct gguf_file *f, const char *key, uint32_t v)
{
    begin_value(f, key, 4);
    add_u32(&f->values, v);
}

void gguf_put_f32(struct gguf_file *f, const char *key, float v)
{
    begin_value(f, key, 6);
    bytes_add(&f->values, &v, sizeof v);
}

void gguf_put_text(struct gguf_file *f, const char *key, const char *v)
{
    begin_value(f, key, 8);
    add_string(&f->values, v);
}

void gguf_put_tensor(struct gguf_file *f, const char *name, uint32_t type, size_t n, size_t k,
                     const void *data, size_t bytes)
{
    f->tensor_count++;
    bytes_pad(&f->data, 32);
    const uint64_t offset = f->data.n, ne[2] = {k, n};
    add_string(&f->tensors, name);
    add_u32(&f->tensors, n ? 2 : 1);
    bytes_add(&f->tensors, ne, (n ? 2 : 1) * sizeof *ne);
    add_u32(&f->tensors, type);
    bytes_add(&f->tensors, &offset, sizeof offset);
    bytes_add(&f->data, data, bytes);
}

void gguf_finish(struct gguf_file *f)
{
    bytes_add(&f->all, "GGUF", 4);
    add_u32(&f->all, 3);
    bytes_add(&f->all, &f->tensor_count, 8);
    bytes_add(&f->all, &f->value_count, 8);
    bytes_add(&f->all, f->values.data, f->values.n);
    bytes_add(&f->all, f->tensors.data, f->tensors.n);
    bytes_pad(&f->all, 32);
    bytes_add(&f->all, f->data.data, f->data.n);
}

void gguf_file_free(struct gguf_file *f)
{
    bytes_free(&f->values);
    bytes_free(&f->tensors);
    bytes_free(&f->data);
    bytes_free(&f->all);
    *f = (struct gguf_file){.value_count = 0};
}

struct gguf_making {
    struct gguf_file *f;
    uint32_t          type;
    uint64_t          state;
};

/* The GGUF name of a Hugging Face one: the one that is read back as it. */
static void gguf_name(const char *name, char out[TENSOR_NAME_MAX])
{
    static const char *const ends[] = {
        "attn_norm.weight",   "attn_q.weight",      "attn_k.weight",    "attn_v.weight",
        "attn_q.bias",        "attn_k.bias",        "attn_v.bias",      "attn_q_norm.weight",
        "attn_k_norm.weight", "attn_output.weight", "attn_output.bias", "ffn_norm.weight",
        "ffn_gate.weight",    "ffn_up.weight",      "ffn_down.weight"};
    static const char *const outer[] = {"token_embd.weight", "output_norm.weight", "output.weight"};
    char                     back[TENSOR_NAME_MAX];
    size_t                   layer = 0;
    for (size_t i = 0; i < 3; i++) {
        snprintf(out, TENSOR_NAME_MAX, "%s", outer[i]);
        if (name_from_gguf(out, strlen(out), back) && !strcmp(back, name)) return;
    }
    for (; layer < 8; layer++)
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
            snprintf(out, TENSOR_NAME_MAX, "blk.%zu.%s", layer, ends[i]);
            if (name_from_gguf(out, strlen(out), back) && !strcmp(back, name)) return;
        }
    stop(name);
}

/* Blocks of noise whose f16 scales are small and finite. */
static void add_blocks(struct bytes *b, enum tensor_type type, size_t count, uint64_t *state)
{
    for (size_t i = 0; i < count; i++) {
        unsigned char block[256];
        const size_t  n = ggml_block_bytes(type);
        for (size_t j = 0; j < n; j++) block[j] = (unsigned char)(int)(noise(state) * 127 + 128);
        const size_t   at = type == TENSOR_Q6_K ? 208 : 0;
        const uint16_t d = ek_f16_from_f32(noise(state) / 16), m = ek_f16_from_f32(noise(state));
        memcpy(block + at, &d, sizeof d);
        if (type == TENSOR_Q4_1 || type == TENSOR_Q4_K || type == TENSOR_Q5_K)
            memcpy(block + 2, &m, sizeof m);
        bytes_add(b, block, n);
    }
}

static ek_status add_gguf_part(void *self, const struct part *p)
{
    struct gguf_making *m     = self;
    struct bytes        data  = {.n = 0};
    const int           plain = p->role == PART_NORM || p->role == PART_BIAS || m->type == 0;
    char                name[TENSOR_NAME_MAX];
    enum tensor_type    type = TENSOR_F32;
    if (!plain && ggml_type(m->type, &type)) stop("type");
    if (plain)
        for (size_t i = 0; i < p->n * p->k; i++) {
            const float x = noise(&m->state);
            bytes_add(&data, &x, sizeof x);
        }
    else
        add_blocks(&data, type, p->n * p->k / ggml_block_columns(type), &m->state);
    gguf_name(p->name, name);
    const int vector = p->role == PART_NORM || p->role == PART_BIAS;
    gguf_put_tensor(m->f, name, plain ? 0 : m->type, vector ? 0 : p->n, p->k, data.data, data.n);
    bytes_free(&data);
    return EK_OK;
}

void gguf_model(struct gguf_file *f, const struct config *c, uint32_t type)
{
    char               key[64];
    struct gguf_making m = {.f = f, .type = type, .state = 11};
    gguf_put_text(f, "general.architecture", c->arch);
#define PUT(name, value)                                                                           \
    snprintf(key, sizeof key, "%s." name, c->arch), gguf_put_u32(f, key, (uint32_t)(value))
    PUT("block_count", c->layers);
    PUT("embedding_length", c->hidden);
    PUT("feed_forward_length", c->ffn);
    PUT("attention.head_count", c->heads);
    PUT("attention.head_count_kv", c->kv_heads);
    PUT("attention.key_length", c->head_dim);
    PUT("attention.value_length", c->head_dim);
    PUT("context_length", c->context);
#undef PUT
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", c->arch);
    gguf_put_f32(f, key, c->rms_eps);
    gguf_put_u32(f, "tokenizer.ggml.bos_token_id", 1);
    gguf_put_u32(f, "tokenizer.ggml.eos_token_id", 2);
    parts_visit(c, add_gguf_part, &m);
}
