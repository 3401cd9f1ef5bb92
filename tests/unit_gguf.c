/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_gguf.c - GGUF: metadata, tensor table, blocks, and models in such files. */
#include "model/gguf.h"

#include "model/ggml_blocks.h"
#include "model/names.h"
#include "tests/fixtures/ggml_blocks.h"
#include "tests/model_files.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- metadata ---- */

Test(gguf, metadata)
{
    struct gguf_file f = {.value_count = 0};
    struct gguf      g;
    struct error     e = {""};
    gguf_put_u32(&f, "a.number", 7);
    gguf_put_f32(&f, "a.real", 0.5F);
    gguf_put_text(&f, "a.text", "hello");
    gguf_put_tensor(&f, "t", 0, 2, 3, "012345678901234567890123", 24);
    gguf_finish(&f);
    cr_assert_eq(gguf_parse(&g, f.all.data, f.all.n, "x.gguf", &e), EK_OK, "%s", e.text);
    uint64_t           n = 1;
    double             x = 0;
    struct gguf_string s;
    cr_assert(gguf_uint(&g, "a.number", &n) && n == 7);
    cr_assert(gguf_float(&g, "a.real", &x) && x == 0.5);
    cr_assert(gguf_float(&g, "a.number", &x) && x == 7);
    cr_assert(gguf_text(&g, "a.text", &s) && s.bytes == 5 && !memcmp(s.data, "hello", 5));
    cr_assert(!gguf_uint(&g, "a.real", &n) && n == 7);
    cr_assert(!gguf_uint(&g, "missing", &n) && !gguf_text(&g, "a.number", &s));
    cr_assert_eq(g.tensor_count, 1);
    cr_assert(g.tensors[0].ne[0] == 3 && g.tensors[0].ne[1] == 2 && g.tensors[0].dims == 2);
    cr_assert(g.data_bytes == 24 && (g.data - f.all.data) % 32 == 0);
    gguf_release(&g);
    gguf_file_free(&f);
}

/* Every prefix of a file is refused or parsed, never read past its end; and no prefix that cuts
 * the tables is taken. */
Test(gguf, truncated_anywhere)
{
    struct gguf_file f = {.value_count = 0};
    gguf_put_text(&f, "general.architecture", "llama");
    gguf_put_u32(&f, "n", 7);
    gguf_put_tensor(&f, "t", 0, 2, 3, "012345678901234567890123", 24);
    gguf_finish(&f);
    const size_t tables = 24 + f.values.n + f.tensors.n;
    for (size_t n = 0; n < f.all.n; n++) {
        struct gguf    g;
        struct error   e    = {""};
        unsigned char *copy = malloc(n + 1); /* sanitizers see a read past n */
        memcpy(copy, f.all.data, n);
        const ek_status s = gguf_parse(&g, copy, n, "x.gguf", &e);
        cr_expect_eq(s == EK_OK, n >= tables, "%zu bytes: %s", n, e.text);
        if (!s) gguf_release(&g);
        free(copy);
    }
    gguf_file_free(&f);
}

static void expect_refused(struct gguf_file *f, ek_status status, const char *says)
{
    struct gguf  g;
    struct error e = {""};
    cr_expect_eq(gguf_parse(&g, f->all.data, f->all.n, "x.gguf", &e), status, "%s", e.text);
    cr_expect(strstr(e.text, says) && strstr(e.text, "x.gguf"), "%s, not %s", e.text, says);
    gguf_file_free(f);
}

Test(gguf, refusals)
{
    struct gguf_file f = {.value_count = 0};
    gguf_put_u32(&f, "k", 1), gguf_put_u32(&f, "k", 2), gguf_finish(&f);
    expect_refused(&f, EK_E_FORMAT, "key k: there twice");
    gguf_put_tensor(&f, "t", 0, 1, 1, "abcd", 4), gguf_put_tensor(&f, "t", 0, 1, 1, "abcd", 4);
    gguf_finish(&f);
    expect_refused(&f, EK_E_FORMAT, "tensor t: there twice");
    gguf_put_tensor(&f, "t", 0, (size_t)1 << 40, (size_t)1 << 40, "abcd", 4), gguf_finish(&f);
    expect_refused(&f, EK_E_FORMAT, "tensor t: impossible size");
    gguf_put_tensor(&f, "t", 0, 2, 0, "abcd", 4), gguf_finish(&f);
    expect_refused(&f, EK_E_FORMAT, "tensor t: impossible size");
    gguf_put_u32(&f, "general.alignment", 24), gguf_finish(&f);
    expect_refused(&f, EK_E_FORMAT, "general.alignment");
    gguf_finish(&f), f.all.data[4] = 1;
    expect_refused(&f, EK_E_UNSUPPORTED, "GGUF version 1");
    gguf_finish(&f), f.all.data[4] = 0, f.all.data[7] = 3;
    expect_refused(&f, EK_E_UNSUPPORTED, "big-endian");
    gguf_finish(&f), f.all.data[0] = 'X';
    expect_refused(&f, EK_E_FORMAT, "not a GGUF file");
    gguf_put_u32(&f, "k", 1), gguf_finish(&f), f.all.data[16] = 200;
    expect_refused(&f, EK_E_FORMAT, "counts");
    gguf_put_u32(&f, "k", 1), gguf_finish(&f), f.all.data[24 + 8 + 1] = 99;
    expect_refused(&f, EK_E_FORMAT, "k: unknown value type 99");
}

/* ---- blocks ---- */

/* The fixture holds blocks and what the gguf Python package makes of them. */
Test(gguf, blocks_as_the_reference_decodes_them)
{
    for (size_t i = 0; i < sizeof ggml_fixtures / sizeof *ggml_fixtures; i++) {
        const struct ggml_fixture *f = &ggml_fixtures[i];
        enum tensor_type           type;
        float                      out[512];
        cr_assert_eq(ggml_type(f->number, &type), EK_OK);
        cr_assert(f->count <= 512 && f->count % ggml_block_columns(type) == 0);
        cr_assert_eq(f->bytes, f->count / ggml_block_columns(type) * ggml_block_bytes(type));
        ggml_decode(type, f->data, f->count, out);
        for (size_t c = 0; c < f->count; c++)
            cr_assert_eq(out[c], f->values[c], "%s, column %zu: %.9g, not %.9g",
                         tensor_type_name(type), c, (double)out[c], (double)f->values[c]);
    }
}

/* Lossless types: what the packed format gives back is what the blocks mean. */
Test(gguf, repacking_loses_nothing)
{
    static const uint32_t numbers[] = {8, 2, 3, 12};
    for (size_t i = 0; i < 4; i++) {
        enum { N = 35, K = 512 };
        struct config c = tiny_config("llama", 1);
        c.vocab = N, c.hidden = K, c.layers = 1, c.ffn = 256, c.head_dim = c.rot = 128;
        struct gguf_file f = {.value_count = 0};
        struct source   *s;
        struct error     e = {""};
        char             dir[64], path[128];
        gguf_model(&f, &c, numbers[i]), gguf_finish(&f);
        directory_make(dir);
        bytes_write(&f.all, dir, "m.gguf");
        snprintf(path, sizeof path, "%s/m.gguf", dir);
        cr_assert_eq(source_open(&s, path, &e), EK_OK, "%s", e.text);
        const struct tensor *t = source_find(s, "model.embed_tokens.weight");
        cr_assert(t && t->n == N && t->k == K);
        int               exact;
        const enum ek_fmt fmt = tensor_format(t, &exact);
        size_t            bytes;
        cr_assert(exact && !ek_weights_bytes(fmt, N, K, &bytes, NULL));
        void             *mem = aligned_alloc(64, bytes);
        struct ek_weights w;
        cr_assert_eq(tensor_weights(t, fmt, NULL, mem, &w, &e), EK_OK, "%s", e.text);
        cr_assert(tensor_packs(t, fmt) && w.data == mem);
        float *a = malloc(sizeof *a * N * K), *b = malloc(sizeof *b * N * K);
        cr_assert_eq(tensor_floats(t, 0, N, a, &e), EK_OK);
        cr_assert_eq(ek_weights_dequantize(&w, 0, N, b), EK_OK);
        for (size_t j = 0; j < (size_t)N * K; j++)
            cr_assert_eq(a[j], b[j], "%s: %zu", tensor_type_name(t->type), j);
        free(a), free(b), free(mem);
        source_close(s);
        directory_remove(dir);
        gguf_file_free(&f);
    }
}

/* A scale that is no number is named, whether packed without loss or rounded. */
static void expect_refused_scale(enum tensor_type type, size_t at, uint16_t bits)
{
    unsigned char block[256];
    void         *out = aligned_alloc(64, 8192);
    int           exact;
    struct error  e = {""};
    struct tensor t = {.name = "w", .file = "f", .type = type, .n = 1, .data = block};
    t.k = ggml_block_columns(type), t.bytes = ggml_block_bytes(type);
    memset(block, 1, sizeof block);
    cr_expect_eq(tensor_pack(&t, tensor_format(&t, &exact), 0, 1, out, &e), EK_OK);
    memcpy(block + at, &bits, sizeof bits);
    cr_expect_eq(tensor_pack(&t, tensor_format(&t, &exact), 0, 1, out, &e), EK_E_FORMAT);
    cr_expect(strstr(e.text, "f: tensor w: rows 0 to 0: not finite"), "%s", e.text);
    free(out);
}

Test(gguf, scales_that_are_not_finite)
{
    static const uint16_t bad[] = {0x7C00, 0x7E01, 0xFC00};
    for (size_t i = 0; i < 3; i++) {
        expect_refused_scale(TENSOR_Q4_0, 0, bad[i]);
        expect_refused_scale(TENSOR_Q8_0, 0, bad[i]);
        expect_refused_scale(TENSOR_Q4_1, 2, bad[i]);
        expect_refused_scale(TENSOR_Q4_K, 2, bad[i]);
        expect_refused_scale(TENSOR_Q5_0, 0, bad[i]);
        expect_refused_scale(TENSOR_Q5_K, 2, bad[i]);
        expect_refused_scale(TENSOR_Q6_K, 208, bad[i]);
    }
}

/* ---- models ---- */

Test(gguf, names)
{
    static const char *const none[] = {"blk.01.attn_q.weight",
                                       "blk.-1.attn_q.weight",
                                       "blk..attn_q.weight",
                                       "blk.1024.attn_q.weight",
                                       "blk.1.attn_q.weight.x",
                                       "blk.1.attn_qkv.weight",
                                       "token_embd.weightx",
                                       "",
                                       "blk.1"};
    char                     out[TENSOR_NAME_MAX];
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        cr_expect_not(name_from_gguf(none[i], strlen(none[i]), out), "%s", none[i]);
    cr_assert(name_from_gguf("blk.10.ffn_norm.weight", 22, out));
    cr_assert_str_eq(out, "model.layers.10.post_attention_layernorm.weight");
    cr_assert(name_from_gguf("blk.0.attn_output.weightjunk", 24, out));
    cr_assert_str_eq(out, "model.layers.0.self_attn.o_proj.weight");
}

static ek_status open_as(struct gguf_file *f, struct source **s, struct error *e)
{
    char dir[64], path[128];
    gguf_finish(f);
    directory_make(dir);
    bytes_write(&f->all, dir, "m.gguf");
    snprintf(path, sizeof path, "%s/m.gguf", dir);
    const ek_status bad = source_open(s, path, e);
    directory_remove(dir);
    gguf_file_free(f);
    return bad;
}

Test(gguf, models_of_every_architecture)
{
    static const char *const archs[] = {"llama", "qwen2", "qwen3"};
    for (int i = 0; i < 6; i++) {
        struct config    c = tiny_config(archs[i / 2], i % 2);
        struct gguf_file f = {.value_count = 0};
        struct source   *s;
        struct error     e = {""};
        c.ffn              = 64; /* whole blocks */
        gguf_model(&f, &c, i % 2 ? 0 : 2);
        cr_assert_eq(open_as(&f, &s, &e), EK_OK, "%s", e.text);
        cr_assert_eq(s->config.rope_interleaved, i / 2 == 0);
        cr_assert_eq(s->config.tied, i % 2);
        cr_assert_eq(s->config.qkv_bias, i / 2 == 1);
        cr_assert_eq(s->config.qk_norm, i / 2 == 2);
        cr_assert(s->config.vocab == 64 && s->config.layers == 2 && s->config.kv_heads == 2);
        cr_assert(s->config.bos == 1 && s->config.eos_count == 1 && s->config.eos[0] == 2);
        cr_assert_not_null(source_find(s, "model.layers.1.mlp.down_proj.weight"));
        source_close(s);
    }
}

static ek_status with_factors(const float *factors, size_t n, struct source **s, struct error *e)
{
    struct config c = tiny_config("llama", 1);
    c.head_dim = c.rot = 64;
    struct gguf_file f = {.value_count = 0};
    gguf_model(&f, &c, 0);
    gguf_put_f32(&f, "llama.rope.freq_base", 500000);
    gguf_put_tensor(&f, "rope_freqs.weight", 0, 0, n, factors, n * sizeof *factors);
    return open_as(&f, s, e);
}

/* Llama 3's factors as its converter computes them, in f32. */
static void llama3_factors(float factor, float *out)
{
    const float low = 8192.0F / 1, high = 8192.0F / 4;
    for (int i = 0; i < 32; i++) {
        const float length = 2 * 3.14159265358979F * powf(500000, 2 * (float)i / 64);
        const float smooth = (8192 / length - 1) / (4 - 1);
        out[i] = length < high ? 1 : length > low ? factor : 1 / ((1 - smooth) / factor + smooth);
    }
}

Test(gguf, rope_factors)
{
    float          factors[32];
    struct source *s;
    struct error   e = {""};
    llama3_factors(32, factors);
    cr_assert_eq(with_factors(factors, 32, &s, &e), EK_OK, "%s", e.text);
    cr_assert(s->config.rope.scaling == EK_ROPE_LLAMA3 && s->config.rope.factor == 32);
    cr_assert_eq(s->config.rope.original_context, 8192);
    /* the table that follows is the one the factors mean */
    float table[32], sine[32], plain[32];
    cr_assert_eq(ek_rope_table(&s->config.rope, 64, 1, 1, table, sine), EK_OK);
    for (int i = 0; i < 32; i++) {
        plain[i] = powf(500000, -2 * (float)i / 64) / factors[i];
        cr_assert_float_eq(sine[i], sinf(plain[i]), 2e-5);
    }
    source_close(s);

    for (int i = 0; i < 32; i++) factors[i] = 1;
    cr_assert_eq(with_factors(factors, 32, &s, &e), EK_OK, "%s", e.text);
    cr_assert_eq(s->config.rope.scaling, EK_ROPE_PLAIN);
    source_close(s);

    llama3_factors(32, factors);
    factors[16] *= 1.01F;
    cr_assert_eq(with_factors(factors, 32, &s, &e), EK_E_UNSUPPORTED);
    cr_assert(strstr(e.text, "rope_freqs.weight"), "%s", e.text);
    factors[16] = NAN;
    cr_assert_eq(with_factors(factors, 32, &s, &e), EK_E_UNSUPPORTED);
    cr_assert_eq(with_factors(factors, 31, &s, &e), EK_E_FORMAT);
}

Test(gguf, model_refusals)
{
    struct config    c = tiny_config("llama", 1);
    struct gguf_file f = {.value_count = 0};
    struct source   *s;
    struct error     e = {""};
#define REFUSED(status, says)                                                                      \
    do {                                                                                           \
        cr_expect_eq(open_as(&f, &s, &e), status, "%s", e.text);                                   \
        cr_expect(strstr(e.text, says), "%s, not %s", e.text, says);                               \
    } while (0)
    gguf_model(&f, &c, 0), gguf_put_tensor(&f, "blk.0.odd", 0, 0, 4, "0123456789abcdef", 16);
    REFUSED(EK_E_UNSUPPORTED, "tensor blk.0.odd");
    gguf_model(&f, &c, 0), gguf_put_tensor(&f, "blk.2.attn_q.weight", 0, 0, 1, "0123", 4);
    REFUSED(EK_E_UNSUPPORTED, "tensor model.layers.2.self_attn.q_proj.weight");
    c.layers = 1, gguf_model(&f, &c, 0), c.layers = 2;
    gguf_put_u32(&f, "llama.expert_count", 8);
    REFUSED(EK_E_UNSUPPORTED, "experts");
    gguf_model(&f, &c, 0), bytes_add(&f.data, "", 1);
    f.data.n -= 9; /* the last tensor ends past the file */
    REFUSED(EK_E_FORMAT, "ends past the file");
    gguf_put_text(&f, "general.architecture", "gemma3");
    REFUSED(EK_E_UNSUPPORTED, "gemma3");
    gguf_put_u32(&f, "x", 1);
    REFUSED(EK_E_FORMAT, "general.architecture");
    gguf_model(&f, &c, 0), gguf_put_text(&f, "llama.rope.scaling.type", "longrope");
    gguf_put_f32(&f, "llama.rope.scaling.factor", 4);
    REFUSED(EK_E_UNSUPPORTED, "longrope");
    gguf_model(&f, &c, 0), gguf_put_tensor(&f, "output.weight", 10, 64, 256, "0123", 4);
    REFUSED(EK_E_UNSUPPORTED, "tensor output.weight: type Q2_K (10)");
    gguf_model(&f, &c, 0), gguf_put_tensor(&f, "output.weight", 2, 1, 33, "0123", 4);
    REFUSED(EK_E_FORMAT, "output.weight: rows are not whole blocks");
    gguf_model(&f, &c, 0);
    memset(f.tensors.data + f.tensors.n - 8, 0, 8); /* the last tensor lies where the first does */
    REFUSED(EK_E_FORMAT, "overlaps");
#undef REFUSED
}
