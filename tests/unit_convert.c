/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_convert.c - ek convert: round trips, formats, fused tensors, rules. */
#include "model/convert.h"

#include "ek/sparse.h"
#include "model/names.h"
#include "tests/model_pair.h"

#include <math.h>

/* ---- round trips ---- */

static ek_status same_floats(void *self, const struct part *part)
{
    const struct pair   *p = self;
    const struct tensor *a = found(p->from, part->name), *b = source_find(p->to, part->name);
    size_t               at = 0;
    char                 name[TENSOR_NAME_MAX];
    if (!b) { /* where in the fused one it begins */
        fuse_name(part->fuse, part->name, name);
        b = found(p->to, name);
        if (strstr(part->name, "k_proj")) at = 32;
        if (strstr(part->name, "v_proj")) at = 48;
        if (strstr(part->name, "up_proj")) at = 48;
        if (part->role != PART_BIAS) at *= part->k;
    }
    float *x = floats(a), *y = floats(b);
    cr_assert_arr_eq(y + at, x, a->n * a->k * sizeof *x, "%s", part->name);
    free(x);
    free(y);
    return EK_OK;
}

Test(convert, f32_is_identical)
{
    static const char *const archs[] = {"llama", "mistral", "qwen2", "qwen3"};
    for (int i = 0; i < 8; i++) {
        const struct config          c = tiny_config(archs[i / 2], i % 2);
        const struct convert_options o = options(i < 4 ? EK_FMT_f32 : CONVERT_SAME);
        struct pair                  p;
        pair_make(&p, &c);
        pair_convert(&p, &o);
        cr_assert_eq(p.to->config.tied, i % 2);
        cr_assert_str_eq(p.to->config.arch, archs[i / 2]);
        parts_visit(&c, same_floats, &p);
        cr_assert_not_null(source_find(p.to, "model.layers.1.self_attn.qkv_proj.weight"));
        cr_assert_not_null(source_find(p.to, "model.layers.0.mlp.gate_up_proj.weight"));
        cr_assert_eq(source_find(p.to, "model.layers.0.self_attn.qkv_proj.bias") != NULL,
                     i / 2 == 2);
        cr_assert_null(source_find(p.to, "model.layers.0.self_attn.q_proj.weight"));
        pair_drop(&p);
    }
}

/* Packed: the bytes of every tensor are those of quantising it alone; data lies at 64 bytes; the
 * checksum is that of the data. */
Test(convert, packed)
{
    static const int types[] = {EK_FMT_q8g32, EK_FMT_q4g32, EK_FMT_q4g64, EK_FMT_q4g128,
                                EK_FMT_q4k};
    for (size_t i = 0; i < 5; i++) {
        const struct config          c = tiny_config("qwen2", 1);
        const struct convert_options o = options(types[i]);
        struct pair                  p;
        pair_make(&p, &c);
        pair_convert(&p, &o);
        for (size_t j = 0; j < p.to->count; j++) {
            const struct tensor *t = &p.to->tensors[j];
            cr_assert_eq(t->checksum, checksum64(CHECKSUM_START, t->data, t->bytes), "%s", t->name);
            cr_assert_eq(t->type == TENSOR_PACKED,
                         !strstr(t->name, "norm") && !strstr(t->name, "bias"));
            if (t->type != TENSOR_PACKED) continue;
            cr_assert_eq((int)t->fmt, types[i]);
            cr_assert_eq((uintptr_t)t->data % 64, 0);
        }
        const struct tensor *up = found(p.from, "model.layers.1.mlp.up_proj.weight");
        const struct tensor *gu = found(p.to, "model.layers.1.mlp.gate_up_proj.weight");
        size_t               bytes;
        cr_assert_eq(ek_weights_bytes((enum ek_fmt)types[i], 48, 32, &bytes, NULL), EK_OK);
        void *want = aligned_alloc(64, bytes);
        cr_assert_eq(ek_weights_quantize((enum ek_fmt)types[i], up->data, 48, 32, want, bytes),
                     EK_OK);
        cr_assert_arr_eq((const unsigned char *)gu->data + bytes, want, bytes);
        struct ek_weights w;
        cr_assert_eq(tensor_weights(gu, gu->fmt, NULL, NULL, &w, &p.e), EK_OK);
        cr_assert(w.data == gu->data && w.n == 96 && w.k == 32);
        free(want);
        pair_drop(&p);
    }
}

/* From our own directory, fused as it is, to another type and back to the same. */
Test(convert, from_our_own)
{
    const struct config    c = tiny_config("qwen2", 0);
    struct convert_options o = options(EK_FMT_f32);
    struct pair            p;
    char                   again[96];
    pair_make(&p, &c);
    pair_convert(&p, &o);
    snprintf(again, sizeof again, "%s/again", p.dir);
    o.type = EK_FMT_q8g32;
    cr_assert_eq(convert(p.dst, again, &o, &p.e), EK_OK, "%s", p.e.text);
    struct source *direct, *through;
    pair_convert(&p, &o);
    direct = p.to;
    cr_assert_eq(source_open(&through, again, &p.e), EK_OK, "%s", p.e.text);
    cr_assert_eq(direct->count, through->count);
    for (size_t i = 0; i < direct->count; i++) {
        cr_assert_str_eq(direct->tensors[i].name, through->tensors[i].name);
        cr_assert_eq(direct->tensors[i].checksum, through->tensors[i].checksum);
    }
    source_close(through);
    pair_drop(&p);
}

/* ---- choices ---- */

Test(convert, heads_embeddings_and_rules)
{
    const struct config    c = tiny_config("llama", 1);
    struct convert_options o = options(EK_FMT_q4g32);
    struct pair            p;
    pair_make(&p, &c);
    o.head = EK_FMT_q8g32; /* tied: one matrix in the head's format */
    pair_convert(&p, &o);
    cr_assert(p.to->config.tied == 1 && !source_find(p.to, "lm_head.weight"));
    cr_assert_eq(found(p.to, "model.embed_tokens.weight")->fmt, EK_FMT_q8g32);
    o.embed = EK_FMT_f16; /* now they are two */
    pair_convert(&p, &o);
    cr_assert_eq(p.to->config.tied, 0);
    cr_assert_eq(found(p.to, "model.embed_tokens.weight")->fmt, EK_FMT_f16);
    cr_assert_eq(found(p.to, "lm_head.weight")->fmt, EK_FMT_q8g32);

    const struct convert_rule rules[] = {{"layers\\.1\\..*v_proj", EK_FMT_q8g32},
                                         {"down_proj", EK_FMT_bf16}};
    o.rules = rules, o.rule_count = 2;
    pair_convert(&p, &o);
    cr_assert_eq(found(p.to, "model.layers.1.self_attn.v_proj.weight")->fmt, EK_FMT_q8g32);
    cr_assert_eq(found(p.to, "model.layers.1.self_attn.q_proj.weight")->fmt, EK_FMT_q4g32);
    cr_assert_eq(found(p.to, "model.layers.0.self_attn.qkv_proj.weight")->fmt, EK_FMT_q4g32);
    cr_assert_eq(found(p.to, "model.layers.0.mlp.down_proj.weight")->fmt, EK_FMT_bf16);

    static const struct {
        struct convert_rule rule;
        const char         *says;
    } wrong[] = {{{"nothing_like_it", EK_FMT_q8g32}, "keep nothing_like_it: matches no tensor"},
                 {{"(", EK_FMT_q8g32}, "keep (: at 1"},
                 {{"input_layernorm", EK_FMT_q8g32}, "vectors can only be floats"}};
    for (size_t i = 0; i < 3; i++) {
        o.rules = &wrong[i].rule, o.rule_count = 1;
        cr_expect_eq(convert(p.src, p.dst, &o, &p.e), EK_E_ARG);
        cr_expect(strstr(p.e.text, wrong[i].says), "%s", p.e.text);
    }
    pair_drop(&p);
}

/* Boundaries off the panels: q, k, v stay apart, and so do their biases. */
Test(convert, odd_heads_stay_apart)
{
    struct config c = tiny_config("qwen2", 1);
    c.head_dim = c.rot             = 6;
    c.ffn                          = 40;
    const struct convert_options o = options(EK_FMT_q8g32);
    struct pair                  p;
    pair_make(&p, &c);
    pair_convert(&p, &o);
    found(p.to, "model.layers.0.self_attn.q_proj.weight");
    found(p.to, "model.layers.0.self_attn.v_proj.bias");
    found(p.to, "model.layers.0.mlp.up_proj.weight");
    cr_assert_null(source_find(p.to, "model.layers.0.mlp.gate_up_proj.weight"));
    pair_drop(&p);
}

Test(convert, types_by_name)
{
    int type = -1;
    cr_assert(!convert_type_from_name("q4:g128", &type) && type == EK_FMT_q4g128);
    cr_assert(!convert_type_from_name("q4", &type) && type == EK_FMT_q4g32);
    cr_assert(!convert_type_from_name("q8", &type) && type == EK_FMT_q8g32);
    cr_assert(!convert_type_from_name("bf16", &type) && type == EK_FMT_bf16);
    cr_assert(!convert_type_from_name("same", &type) && type == CONVERT_SAME);
    cr_assert_eq(convert_type_from_name("q5", &type), EK_E_ARG);
}

/* ---- GGUF ---- */

/* Types without loss keep their codes through a conversion; others are rounded to 8 bit. */
Test(convert, gguf)
{
    static const struct {
        uint32_t    number;
        enum ek_fmt fmt;
    } cases[] = {{8, EK_FMT_q8g32}, {2, EK_FMT_q4g32},  {3, EK_FMT_q4g32m}, {12, EK_FMT_q4k},
                 {6, EK_FMT_q8g32}, {13, EK_FMT_q8g32}, {14, EK_FMT_q8g32}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config c = tiny_config("llama", 1);
        c.hidden = 256, c.ffn = 512, c.head_dim = c.rot = 64;
        const struct convert_options o = options(CONVERT_SAME);
        struct gguf_file             f = {.value_count = 0};
        struct source               *a, *b;
        struct error                 e = {""};
        char                         dir[64], src[80], dst[80];
        gguf_model(&f, &c, cases[i].number), gguf_finish(&f);
        directory_make(dir);
        bytes_write(&f.all, dir, "m.gguf");
        snprintf(src, sizeof src, "%s/m.gguf", dir);
        snprintf(dst, sizeof dst, "%s/out", dir);
        cr_assert_eq(convert(src, dst, &o, &e), EK_OK, "%s", e.text);
        cr_assert_eq(source_open(&a, src, &e), EK_OK, "%s", e.text);
        cr_assert_eq(source_open(&b, dst, &e), EK_OK, "%s", e.text);
        cr_assert(b->config.rope_interleaved && b->config.tied);
        const struct tensor *t = found(a, "model.layers.1.mlp.up_proj.weight");
        const struct tensor *u = found(b, "model.layers.1.mlp.gate_up_proj.weight");
        cr_assert_eq(u->fmt, cases[i].fmt);
        float *x = floats(t), *y = floats(u);
        int    exact;
        cr_assert_eq(tensor_format(t, &exact), cases[i].fmt);
        float most = 0;
        for (size_t j = 0; j < t->n * t->k; j++) most = fmaxf(most, fabsf(x[j]));
        for (size_t j = 0; j < t->n * t->k; j++)
            cr_assert(fabsf(y[t->n * t->k + j] - x[j]) <= (exact ? 0 : most / 127), "%zu", j);
        free(x), free(y);
        source_close(a), source_close(b);
        directory_remove(dir);
        gguf_file_free(&f);
    }
}

/* ---- neurons ---- */

/* Up and down as neurons: what quantising their rows and columns gives; from matrices of their own
 * or from gate and up in one. */
Test(convert, neurons)
{
    static const int types[] = {EK_FMT_f32, EK_FMT_bf16, EK_FMT_q8g32, EK_FMT_q4g32};
    for (size_t i = 0; i < 4; i++) {
        const struct config    c = tiny_config("qwen2", 1);
        struct convert_options o = options(types[i]);
        const enum ek_fmt      f = (enum ek_fmt)types[i];
        struct pair            p;
        struct source         *again;
        char                   path[96];
        size_t                 bytes;
        pair_make(&p, &c);
        o.neurons = 1;
        pair_convert(&p, &o);
        const struct tensor *t    = found(p.to, "model.layers.1.mlp.neurons.weight");
        float               *up   = floats(found(p.from, "model.layers.1.mlp.up_proj.weight"));
        float               *down = floats(found(p.from, "model.layers.1.mlp.down_proj.weight"));
        cr_assert(t->type == TENSOR_NEURONS && t->fmt == f && t->n == 48 && t->k == 32);
        cr_assert_eq(t->checksum, checksum64(CHECKSUM_START, t->data, t->bytes));
        cr_assert_eq(ek_neurons_bytes(f, 48, 32, 2, &bytes, NULL), EK_OK);
        cr_assert_eq(bytes, t->bytes);
        void *want = aligned_alloc(64, bytes);
        memset(want, 0, bytes);
        cr_assert_eq(ek_neurons_quantize(f, up, 32, 1, 48, 32, 2, 0, want, bytes), EK_OK);
        cr_assert_eq(ek_neurons_quantize(f, down, 1, 48, 48, 32, 2, 1, want, bytes), EK_OK);
        cr_assert_arr_eq(t->data, want, bytes);
        cr_assert_not_null(source_find(p.to, "model.layers.1.mlp.gate_proj.weight"));
        cr_assert_null(source_find(p.to, "model.layers.1.mlp.down_proj.weight"));
        free(up), free(down), free(want);

        snprintf(path, sizeof path, "%s/again", p.dir);
        cr_assert_eq(convert(p.dst, path, &o, &p.e), EK_E_UNSUPPORTED);
        cr_assert(strstr(p.e.text, "holds neurons"), "%s", p.e.text);
        const uint64_t sum = t->checksum;
        o.neurons = 0, o.type = EK_FMT_f32; /* gate and up in one, then neurons of that */
        pair_convert(&p, &o);
        o.neurons = 1, o.type = types[i];
        cr_assert_eq(convert(p.dst, path, &o, &p.e), EK_OK, "%s", p.e.text);
        cr_assert_eq(source_open(&again, path, &p.e), EK_OK, "%s", p.e.text);
        cr_assert_eq(found(again, "model.layers.1.mlp.neurons.weight")->checksum, sum);
        source_close(again);
        pair_drop(&p);
    }
}

Test(convert, neurons_refused)
{
    const struct config       c     = tiny_config("llama", 1);
    const struct convert_rule other = {"down_proj", EK_FMT_q8g32};
    struct convert_options    o     = options(EK_FMT_q4k);
    struct pair               p;
    pair_make(&p, &c);
    o.neurons = 1;
    cr_assert_eq(convert(p.src, p.dst, &o, &p.e), EK_E_ARG);
    cr_assert(strstr(p.e.text, "not q4k"), "%s", p.e.text);
    o       = options(EK_FMT_q4g32);
    o.rules = &other, o.rule_count = 1, o.neurons = 1;
    cr_assert_eq(convert(p.src, p.dst, &o, &p.e), EK_E_ARG);
    cr_assert(strstr(p.e.text, "one format"), "%s", p.e.text);
    pair_drop(&p);
}
