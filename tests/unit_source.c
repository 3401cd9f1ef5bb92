/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_source.c - opening models: Hugging Face directories, shards, llama2.c files, and the
 * one line that each spoilt one gets. */
#include "model/source.h"

#include "tests/model_files.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

Test(source, hugging_face)
{
    static const char *const archs[] = {"llama", "mistral", "qwen2", "qwen3"};
    for (int i = 0; i < 8; i++) {
        const struct config c = tiny_config(archs[i / 2], i % 2);
        struct source      *s;
        struct error        e = {""};
        char                dir[64];
        directory_make(dir);
        hf_directory(&c, dir);
        cr_assert_eq(source_open(&s, dir, &e), EK_OK, "%s", e.text);
        cr_assert_eq(s->kind, SOURCE_HF);
        cr_assert_eq(s->config.tied, i % 2);
        cr_assert_eq(source_find(s, "lm_head.weight") == NULL, i % 2);
        const struct tensor *t = source_find(s, "model.layers.1.self_attn.k_proj.weight");
        cr_assert(t && t->type == TENSOR_F32 && t->fmt == EK_FMT_f32 && t->n == 16 && t->k == 32);
        cr_assert_null(source_find(s, "model.layers.2.self_attn.k_proj.weight"));
        for (size_t j = 1; j < s->count; j++)
            cr_assert(strcmp(s->tensors[j - 1].name, s->tensors[j].name) < 0);
        source_close(s);
        directory_remove(dir);
    }
}

/* One spoilt header, or weights cut to data_bytes (0: whole). */
struct spoilt {
    const char *from, *to;
    ptrdiff_t   more; /* bytes of data more than there should be */
    ek_status   status;
    const char *says;
};

static const struct spoilt spoilt[] = {
    {NULL, NULL, -4, EK_E_FORMAT, "ends past the file"},
    {NULL, NULL, 4, EK_E_FORMAT, "4 bytes after the last tensor"},
    {"model.norm.weight", "model.worm.weight", 0, EK_E_FORMAT, "tensor model.norm.weight: missing"},
    {"layers.1.mlp.up_proj.weight", "layers.1.mlp.down_proj.bias", 0, EK_E_FORMAT,
     "tensor model.layers.1.mlp.up_proj.weight: missing"},
    {"\"shape\":[16,32]", "\"shape\":[32,16]", 0, EK_E_FORMAT,
     "k_proj.weight: is 32 x 16 where the config asks for 16 x 32"},
    {"\"shape\":[16,32]", "\"shape\":[16,33]", 0, EK_E_FORMAT, "shape and its bytes"},
    {"\"shape\":[16,32]", "\"shape\":[16,4611686018427387904]", 0, EK_E_FORMAT, "impossibly large"},
    {"\"shape\":[16,32]", "\"shape\":[-16,32]", 0, EK_E_FORMAT, "not a list of sizes"},
    {"\"shape\":[16,32]", "\"shape\":\"x\"", 0, EK_E_FORMAT, "not a list"},
    {"\"shape\":[16,32]", "\"shape\":[4,4,32]", 0, EK_E_FORMAT, "neither a vector nor a matrix"},
    {"\"shape\":[64,32]", "\"shape\":[2048]", 0, EK_E_FORMAT, "is 1 x 2048"},
    {"\"dtype\":\"F32\"", "\"dtype\":\"F64\"", 0, EK_E_FORMAT, "shape and its bytes"},
    {"\"dtype\":\"F32\"", "\"dtype\":\"I32\"", 0, EK_E_UNSUPPORTED, "type I32 is not supported"},
    {"\"dtype\":\"F32\"", "\"dtype\":\"Q99\"", 0, EK_E_UNSUPPORTED, "type Q99 is not supported"},
    {"\"dtype\":\"F32\"", "\"dtype\":32", 0, EK_E_FORMAT, "dtype: missing"},
    {"\"data_offsets\":[0,8192]", "\"data_offsets\":[4,8196]", 0, EK_E_FORMAT, "a gap"},
    {"\"data_offsets\":[8192,8320]", "\"data_offsets\":[8000,8128]", 0, EK_E_FORMAT, "overlaps"},
    {"\"data_offsets\":[0,8192]", "\"data_offsets\":[8192,0]", 0, EK_E_FORMAT, "data_offsets"},
    {"\"data_offsets\":[0,8192]", "\"data_offsets\":[0]", 0, EK_E_FORMAT, "data_offsets"},
    {"\"data_offsets\":[0,8192]", "\"data_offsets\":[0,99999999999]", 0, EK_E_FORMAT,
     "ends past the file"},
    {"model.layers.0.self_attn.k_proj", "model.layers.0.self_attn.q_proj", 0, EK_E_FORMAT,
     "duplicate"},
    {"{\"model", "{\"__metadata__\":[],\"model", 0, EK_E_FORMAT, "__metadata__"},
    {"{\"model", "{\"__metadata__\":{\"edgekern\":\"9\"},\"model", 0, EK_E_UNSUPPORTED, "later"},
    {"{\"model", "{\"__metadata__\":{\"edgekern\":\"1\"},\"model", 0, EK_E_FORMAT, "no checksum"},
    {"{\"model", "\"model", 0, EK_E_FORMAT, "line 1"},
};

Test(source, spoilt_headers)
{
    for (size_t i = 0; i < sizeof spoilt / sizeof *spoilt; i++) {
        const struct config c = tiny_config("llama", 1);
        struct hf_model     m = hf_make(&c);
        struct source      *s;
        struct error        e = {""};
        char                dir[64], *text = config_write(&c);
        directory_make(dir);
        text_write(text, dir, "config.json");
        if (spoilt[i].from) hf_replace(&m, spoilt[i].from, spoilt[i].to);
        if (spoilt[i].more > 0) bytes_add(&m.data, "abcdefgh", (size_t)spoilt[i].more);
        if (spoilt[i].more < 0) m.data.n -= (size_t)-spoilt[i].more;
        hf_write(&m, dir, "model.safetensors");
        cr_expect_eq(source_open(&s, dir, &e), spoilt[i].status, "%zu: %s", i, e.text);
        cr_expect(strstr(e.text, spoilt[i].says), "%zu: %s, not %s", i, e.text, spoilt[i].says);
        cr_expect(strstr(e.text, dir), "%zu: %s", i, e.text);
        cr_expect_null(strchr(e.text, '\n'));
        free(text);
        hf_free(&m);
        directory_remove(dir);
    }
}

Test(source, other_types_and_places)
{
    struct config   c = tiny_config("llama", 0);
    struct hf_model m = hf_make(&c);
    struct source  *s;
    struct error    e = {""};
    char            dir[64], path[128], *text = config_write(&c);
    struct stat     st;
    directory_make(dir);
    cr_assert_eq(source_open(&s, dir, &e), EK_E_IO);
    cr_assert(strstr(e.text, "config.json"), "%s", e.text);
    text_write(text, dir, "config.json");
    cr_assert_eq(source_open(&s, dir, &e), EK_E_IO);
    cr_assert(strstr(e.text, "neither model.safetensors nor"), "%s", e.text);
    text_write("short", dir, "model.safetensors");
    cr_assert_eq(source_open(&s, dir, &e), EK_E_FORMAT);
    text_write("123456789 a header longer than the file", dir, "model.safetensors");
    cr_assert_eq(source_open(&s, dir, &e), EK_E_FORMAT);
    snprintf(path, sizeof path, "%s/nowhere", dir);
    cr_assert_eq(source_open(&s, path, &e), EK_E_IO);
    /* buffers that no reader needs, of any type, and a second copy of a tied head */
    hf_replace(
        &m, "\"lm_head.weight\":{\"dtype\":\"F32\",\"shape\":[64,32]",
        "\"model.layers.0.self_attn.rotary_emb.inv_freq\":{\"dtype\":\"I64\",\"shape\":[1024]");
    hf_write(&m, dir, "model.safetensors");
    cr_assert_eq(source_open(&s, dir, &e), EK_E_FORMAT);
    cr_assert(strstr(e.text, "lm_head.weight: missing"), "%s", e.text);
    free(text);
    c.tied = 1, text = config_write(&c);
    text_write(text, dir, "config.json");
    cr_assert_eq(source_open(&s, dir, &e), EK_OK, "%s", e.text);
    source_close(s);
    hf_free(&m);
    c.tied = 0, m = hf_make(&c);
    hf_write(&m, dir, "model.safetensors");
    cr_assert_eq(source_open(&s, dir, &e), EK_OK, "%s", e.text);
    cr_assert_null(source_find(s, "lm_head.weight"));
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    cr_assert(!stat(path, &st) && s->bytes == (uint64_t)st.st_size);
    source_close(s);
    hf_free(&m);
    free(text);
    directory_remove(dir);
}

/* Only lm_head.weight is stored of a tied pair: it is the embedding. */
Test(source, tied_under_the_other_name)
{
    const struct config c = tiny_config("llama", 1);
    struct hf_model     m = hf_make(&c);
    struct source      *s;
    struct error        e = {""};
    char                dir[64], *text = config_write(&c);
    directory_make(dir);
    text_write(text, dir, "config.json");
    hf_replace(&m, "model.embed_tokens.weight", "lm_head.weight");
    hf_write(&m, dir, "model.safetensors");
    cr_assert_eq(source_open(&s, dir, &e), EK_OK, "%s", e.text);
    cr_assert_not_null(source_find(s, "model.embed_tokens.weight"));
    cr_assert_null(source_find(s, "lm_head.weight"));
    source_close(s);
    free(text);
    hf_free(&m);
    directory_remove(dir);
}

/* A header that puts f32 data at odd addresses, as old files do: read all the same. */
Test(source, misaligned)
{
    const struct config c = tiny_config("llama", 1);
    struct hf_model     m = hf_make(&c);
    struct source      *s;
    struct error        e = {""};
    char                dir[64], *text = config_write(&c);
    directory_make(dir);
    text_write(text, dir, "config.json");
    while (strlen(m.header) % 4 != 1) hf_replace(&m, "{\"", "{ \"");
    hf_write(&m, dir, "model.safetensors");
    cr_assert_eq(source_open(&s, dir, &e), EK_OK, "%s", e.text);
    const struct tensor *t = source_find(s, "model.embed_tokens.weight");
    cr_assert_eq((uintptr_t)t->data % sizeof(float), 0);
    cr_assert_arr_eq(t->data, m.data.data, t->bytes);
    source_close(s);
    free(text);
    hf_free(&m);
    directory_remove(dir);
}

/* ---- shards ---- */

static const char two[] = "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\","
                          "\"c\":\"one.safetensors\"}}";

Test(source, shards)
{
    const struct config c   = tiny_config("qwen2", 0);
    struct hf_model     all = hf_make(&c), rest = {.header = NULL};
    struct source      *s;
    struct error        e = {""};
    char                dir[64], *text = config_write(&c), line[128];
    directory_make(dir);
    text_write(text, dir, "config.json");
    /* the last tensor, lm_head.weight, goes into a shard of its own */
    const size_t bytes = (size_t)64 * 32 * 4;
    snprintf(line, sizeof line,
             ",\"lm_head.weight\":{\"dtype\":\"F32\",\"shape\":[64,32],\"data_offsets\":[%zu,%zu]}",
             all.data.n - bytes, all.data.n);
    hf_replace(&all, line, "");
    rest.header = strdup(
        "{\"lm_head.weight\":{\"dtype\":\"F32\",\"shape\":[64,32],\"data_offsets\":[0,8192]}}");
    bytes_add(&rest.data, all.data.data + all.data.n - bytes, bytes);
    all.data.n -= bytes;
    hf_write(&all, dir, "one.safetensors");
    text_write(two, dir, "model.safetensors.index.json");
    cr_assert_eq(source_open(&s, dir, &e), EK_E_IO);
    cr_assert(strstr(e.text, "two.safetensors"), "%s", e.text);
    hf_write(&rest, dir, "two.safetensors");
    cr_assert_eq(source_open(&s, dir, &e), EK_OK, "%s", e.text);
    cr_assert_not_null(source_find(s, "lm_head.weight"));
    source_close(s);
    hf_write(&all, dir, "two.safetensors"); /* the same tensors twice */
    cr_assert_eq(source_open(&s, dir, &e), EK_E_FORMAT);
    cr_assert(strstr(e.text, "there twice"), "%s", e.text);
    text_write("{\"weight_map\":{\"a\":\"../one.safetensors\"}}", dir,
               "model.safetensors.index.json");
    cr_assert_eq(source_open(&s, dir, &e), EK_E_FORMAT);
    text_write("{\"weight_map\":{\"a\":7}}", dir, "model.safetensors.index.json");
    cr_assert_eq(source_open(&s, dir, &e), EK_E_FORMAT);
    text_write("{}", dir, "model.safetensors.index.json");
    cr_assert_eq(source_open(&s, dir, &e), EK_E_FORMAT);
    cr_assert(strstr(e.text, "weight_map"), "%s", e.text);
    free(text);
    hf_free(&all);
    hf_free(&rest);
    directory_remove(dir);
}

/* ---- llama2.c ---- */

static struct bytes llama2c(const int32_t header[7])
{
    struct bytes b     = {.n = 0};
    uint64_t     state = 3;
    const size_t h = (size_t)header[0], f = (size_t)header[1], l = (size_t)header[2];
    const size_t heads = (size_t)header[3], kv = (size_t)header[4], seq = (size_t)header[6];
    const size_t vocab = (size_t)abs(header[5]), kvd = kv * (h / heads);
    size_t       n = vocab * h + l * (2 * h + 2 * h * h + 2 * kvd * h + 3 * h * f) + h;
    n += seq * (h / heads) + (header[5] < 0 ? vocab * h : 0);
    bytes_add(&b, header, 28);
    for (size_t i = 0; i < n; i++) {
        const float x = noise(&state);
        bytes_add(&b, &x, sizeof x);
    }
    return b;
}

static ek_status open_llama2c(const struct bytes *b, struct source **s, struct error *e)
{
    char dir[64], path[128];
    directory_make(dir);
    bytes_write(b, dir, "m.bin");
    snprintf(path, sizeof path, "%s/m.bin", dir);
    const ek_status bad = source_open(s, path, e);
    directory_remove(dir);
    return bad;
}

Test(source, llama2c)
{
    for (int untied = 0; untied < 2; untied++) {
        const int32_t  header[] = {32, 48, 2, 4, 2, untied ? -64 : 64, 16};
        struct bytes   b        = llama2c(header);
        struct source *s;
        struct error   e = {""};
        cr_assert_eq(open_llama2c(&b, &s, &e), EK_OK, "%s", e.text);
        cr_assert(s->kind == SOURCE_LLAMA2C && s->config.rope_interleaved);
        cr_assert(s->config.tied == !untied && s->config.context == 16 && s->config.vocab == 64);
        const struct tensor *t = source_find(s, "model.layers.1.input_layernorm.weight");
        cr_assert_arr_eq(t->data, b.data + 28 + (size_t)4 * (64 * 32 + 32), (size_t)4 * 32);
        t = source_find(s, "model.layers.0.mlp.up_proj.weight");
        cr_assert(t->n == 48 && t->k == 32);
        source_close(s);
        b.n -= 4;
        cr_assert_eq(open_llama2c(&b, &s, &e), EK_E_FORMAT);
        b.n += 4;
        bytes_add(&b, "abcd", 4);
        cr_assert_eq(open_llama2c(&b, &s, &e), EK_E_FORMAT);
        cr_assert(strstr(e.text, "4 bytes after the last tensor"), "%s", e.text);
        b.data[0] = 31; /* not a multiple of the heads */
        cr_assert_eq(open_llama2c(&b, &s, &e), EK_E_FORMAT);
        memcpy(b.data, "24ka", 4);
        cr_assert_eq(open_llama2c(&b, &s, &e), EK_E_UNSUPPORTED);
        bytes_free(&b);
    }
}

/* ---- tensors ---- */

Test(source, checksum)
{
    /* FNV-1a over words: the offset basis and prime are those of the 64-bit FNV */
    static const unsigned char words[16] = {1};
    cr_assert_eq(checksum64(CHECKSUM_START, words, 0), UINT64_C(0xCBF29CE484222325));
    cr_assert_eq(checksum64(CHECKSUM_START, words, 8),
                 (UINT64_C(0xCBF29CE484222325) ^ 1) * UINT64_C(0x100000001B3));
    cr_assert_eq(checksum64(CHECKSUM_START, words, 1), checksum64(CHECKSUM_START, words, 8));
    cr_assert_eq(checksum64(checksum64(CHECKSUM_START, words, 8), words + 8, 8),
                 checksum64(CHECKSUM_START, words, 16));
}

Test(source, rows_and_pieces)
{
    enum { N = 50, K = 70 };
    float         x[N * K], y[N * K];
    uint64_t      state = 1;
    struct error  e     = {""};
    struct tensor t     = {.name = "t", .file = "f", .type = TENSOR_F32, .n = N, .k = K, .data = x};
    for (size_t i = 0; i < (size_t)N * K; i++) x[i] = noise(&state);
    t.bytes = sizeof x;
    for (int fmt = EK_FMT_f32; fmt <= EK_FMT_q4k; fmt++) {
        size_t bytes;
        cr_assert_eq(ek_weights_bytes((enum ek_fmt)fmt, N, K, &bytes, NULL), EK_OK);
        unsigned char *a = aligned_alloc(64, (bytes + 63) / 64 * 64);
        unsigned char *b = aligned_alloc(64, (bytes + 63) / 64 * 64);
        cr_assert_eq(ek_weights_quantize((enum ek_fmt)fmt, x, N, K, a, bytes), EK_OK);
        cr_assert_eq(tensor_pack(&t, (enum ek_fmt)fmt, 32, N, b, &e), EK_OK);
        cr_assert_eq(tensor_pack(&t, (enum ek_fmt)fmt, 0, 32, b, &e), EK_OK);
        cr_assert_arr_eq(a, b, bytes, "%s", ek_fmt_info((enum ek_fmt)fmt)->name);
        cr_assert_eq(tensor_pack(&t, (enum ek_fmt)fmt, 8, N, b, &e), EK_E_ARG);
        if (fmt >= EK_FMT_q8g32) { /* packed, cut, and the piece as floats */
            struct tensor p = t;
            p.type = TENSOR_PACKED, p.fmt = (enum ek_fmt)fmt, p.data = a, p.bytes = bytes;
            const struct tensor piece = tensor_rows(&p, 16, 40);
            cr_assert_eq(piece.n, 24);
            cr_assert_eq(tensor_floats(&p, 0, N, x, &e), EK_OK);
            cr_assert_eq(tensor_floats(&piece, 0, 24, y, &e), EK_OK);
            cr_assert_arr_eq(y, x + (size_t)16 * K, (size_t)24 * K * sizeof *y);
        }
        cr_assert_eq(tensor_floats(&t, 0, N + 1, y, &e), EK_E_ARG);
        free(a);
        free(b);
    }
}
