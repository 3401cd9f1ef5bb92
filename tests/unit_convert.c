/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_convert.c - ek convert and ek synth: round trips, formats, fused tensors, spoilt
 * directories, and what an interrupted run leaves. */
#include "model/container.h"
#include "model/convert.h"
#include "model/names.h"
#include "model/synth.h"

#include "tests/model_files.h"

#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct convert_options options(int type)
{
    return (struct convert_options){
        .type = type, .head = CONVERT_DEFAULT, .embed = CONVERT_DEFAULT};
}

/* A model of the architecture and its conversion, both open, in a directory of their own. */
struct pair {
    char           dir[64], src[80], dst[80];
    struct source *from, *to;
    struct error   e;
};

static void pair_make(struct pair *p, const struct config *c)
{
    memset(p, 0, sizeof *p);
    directory_make(p->dir);
    snprintf(p->src, sizeof p->src, "%s/src", p->dir);
    snprintf(p->dst, sizeof p->dst, "%s/dst", p->dir);
    cr_assert_eq(mkdir(p->src, 0755), 0);
    hf_directory(c, p->src);
    cr_assert_eq(source_open(&p->from, p->src, &p->e), EK_OK, "%s", p->e.text);
}

static void pair_convert(struct pair *p, const struct convert_options *o)
{
    source_close(p->to);
    p->to = NULL;
    cr_assert_eq(convert(p->src, p->dst, o, &p->e), EK_OK, "%s", p->e.text);
    cr_assert_eq(source_open(&p->to, p->dst, &p->e), EK_OK, "%s", p->e.text);
    cr_assert_eq(p->to->kind, SOURCE_EK);
}

static void pair_drop(struct pair *p)
{
    source_close(p->from);
    source_close(p->to);
    directory_remove(p->dir);
}

static const struct tensor *found(const struct source *s, const char *name)
{
    const struct tensor *t = source_find(s, name);
    cr_assert_not_null(t, "%s", name);
    return t;
}

static float *floats(const struct tensor *t)
{
    float       *x = malloc(t->n * t->k * sizeof *x);
    struct error e = {""};
    cr_assert_eq(tensor_floats(t, 0, t->n, x, &e), EK_OK, "%s", e.text);
    return x;
}

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
        int               used;
        cr_assert_eq(tensor_weights(gu, gu->fmt, NULL, &w, &used, &p.e), EK_OK);
        cr_assert(!used && w.data == gu->data && w.n == 96 && w.k == 32);
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

/* ---- what goes wrong ---- */

/* A weight that is none is named, whatever the type; nothing is left behind. */
Test(convert, not_finite)
{
    static const uint32_t bad[]   = {0x7FC00000, 0x7F800000, 0xFF800000};
    static const int      types[] = {EK_FMT_f32, EK_FMT_bf16, EK_FMT_q8g32};
    for (size_t i = 0; i < 3; i++) {
        const struct config          c = tiny_config("llama", 1);
        const struct convert_options o = options(types[i]);
        struct pair                  p;
        pair_make(&p, &c);
        struct hf_model m = hf_make(&c);
        memcpy(m.data.data + 100, &bad[i], sizeof bad[i]);
        hf_write(&m, p.src, "model.safetensors");
        cr_assert_eq(convert(p.src, p.dst, &o, &p.e), EK_E_FORMAT);
        cr_assert(strstr(p.e.text, "model.embed_tokens.weight") && strstr(p.e.text, "not finite"),
                  "%s", p.e.text);
        cr_assert(access(p.dst, F_OK) != 0);
        hf_free(&m);
        pair_drop(&p);
    }
}

/* A directory that is not ours stays unless forced; one of ours is replaced; a file never. */
Test(convert, targets)
{
    const struct config    c = tiny_config("llama", 1);
    struct convert_options o = options(EK_FMT_q8g32);
    struct pair            p;
    struct stat            st;
    char                   path[128];
    pair_make(&p, &c);
    cr_assert_eq(mkdir(p.dst, 0755), 0);
    cr_assert_eq(convert(p.src, p.dst, &o, &p.e), EK_OK, "%s", p.e.text); /* an empty one */
    o.type = EK_FMT_q4g32;
    cr_assert_eq(convert(p.src, p.dst, &o, &p.e), EK_OK, "%s", p.e.text);
    snprintf(path, sizeof path, "%s/other", p.dir);
    cr_assert_eq(mkdir(path, 0755), 0);
    text_write("notes", path, "notes.txt");
    cr_assert_eq(convert(p.src, path, &o, &p.e), EK_E_IO);
    cr_assert(strstr(p.e.text, "--force"), "%s", p.e.text);
    o.force = 1;
    cr_assert_eq(convert(p.src, path, &o, &p.e), EK_OK, "%s", p.e.text);
    cr_assert_eq(source_open(&p.to, path, &p.e), EK_OK, "%s", p.e.text);
    snprintf(path, sizeof path, "%s/model.safetensors", p.dst);
    cr_assert_eq(convert(p.src, path, &o, &p.e), EK_E_IO);
    cr_assert(strstr(p.e.text, "no directory"), "%s", p.e.text);
    snprintf(path, sizeof path, "%s/no/where", p.dir);
    cr_assert_eq(convert(p.src, path, &o, &p.e), EK_E_IO);
    cr_assert(!stat(p.dst, &st) && (st.st_mode & 0777) == 0755);
    pair_drop(&p);
}

/* Killed at any moment, the old output is there, whole, or the new one. */
static void die(void *self, const char *what, uint64_t done, uint64_t total)
{
    (void)what, (void)total;
    if (done >= *(const uint64_t *)self) raise(SIGKILL);
}

Test(convert, killed)
{
    const struct config    c = tiny_config("llama", 1);
    struct convert_options o = options(EK_FMT_q8g32);
    struct pair            p;
    pair_make(&p, &c);
    pair_convert(&p, &o);
    const uint64_t before = found(p.to, "model.embed_tokens.weight")->checksum;
    for (uint64_t at = 0; at < 100000; at += 4000) {
        int         status;
        const pid_t child = fork();
        if (!child) {
            o.type = EK_FMT_f32, o.progress = die, o.progress_self = &at;
            convert(p.src, p.dst, &o, &p.e);
            _exit(0);
        }
        cr_assert_eq(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status)) break;
        struct source *s;
        cr_assert_eq(source_open(&s, p.dst, &p.e), EK_OK, "%s", p.e.text);
        cr_assert_eq(found(s, "model.embed_tokens.weight")->checksum, before);
        source_close(s);
        cr_assert(at < 90000, "not one run went through");
    }
    pair_drop(&p);
}

/* ---- our own directories, spoilt ---- */

/* model.safetensors of the conversion. */
static struct bytes container_bytes(const struct pair *p)
{
    char          path[128];
    struct bytes  b = {NULL, 0};
    unsigned char block[4096];
    snprintf(path, sizeof path, "%s/model.safetensors", p->dst);
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f);
    for (size_t n; (n = fread(block, 1, sizeof block, f));) bytes_add(&b, block, n);
    fclose(f);
    cr_assert(b.data && b.n > 8);
    return b;
}

static void spoil(const struct pair *p, const char *from, const char *to, ek_status status,
                  const char *says)
{
    struct bytes   b = container_bytes(p), kept = container_bytes(p);
    struct source *s;
    struct error   e  = {""};
    unsigned char *at = memmem(b.data, b.n, from, strlen(from));
    cr_assert(at && strlen(from) == strlen(to), "%s", from);
    for (size_t i = 0; to[i]; i++) at[i] = (unsigned char)to[i];
    bytes_write(&b, p->dst, "model.safetensors");
    cr_expect_eq(source_open(&s, p->dst, &e), status, "%s", e.text);
    cr_expect(strstr(e.text, says), "%s, not %s", e.text, says);
    bytes_write(&kept, p->dst, "model.safetensors");
    bytes_free(&b);
    bytes_free(&kept);
}

Test(convert, spoilt_container)
{
    const struct config          c = tiny_config("llama", 1);
    const struct convert_options o = options(EK_FMT_q8g32);
    struct pair                  p;
    pair_make(&p, &c);
    pair_convert(&p, &o);
    spoil(&p, "format=q8g32", "format=q9g32", EK_E_FORMAT, "not understood");
    spoil(&p, "format=q8g32", "format=q4g32", EK_E_FORMAT, "shape and its bytes");
    spoil(&p, "rows=64", "rows=99", EK_E_FORMAT, "shape and its bytes");
    spoil(&p, "rows=64", "rows= 4", EK_E_FORMAT, "not understood");
    spoil(&p, "columns=32", "columns=-2", EK_E_FORMAT, "not understood");
    spoil(&p, "layout=2", "layout=1", EK_E_UNSUPPORTED, "another layout");
    spoil(&p, "version=1", "version=2", EK_E_UNSUPPORTED, "another layout");
    spoil(&p, "checksum=", "checksun=", EK_E_FORMAT, "no checksum");
    spoil(&p, "\"edgekern\":\"1\"", "\"edgekern\":\"2\"", EK_E_UNSUPPORTED, "later version");
    spoil(&p, "\"dtype\":\"U8\"", "\"dtype\":\"I8\"", EK_E_UNSUPPORTED, "type I8");
    spoil(&p, "edgekern", "edgekorn", EK_E_UNSUPPORTED, "type U8");
    pair_drop(&p);
}

/* A file whose data does not start on 64 bytes. */
Test(convert, misaligned_container)
{
    const struct config          c = tiny_config("llama", 1);
    const struct convert_options o = options(EK_FMT_q8g32);
    struct pair                  p;
    pair_make(&p, &c);
    pair_convert(&p, &o);
    struct bytes b = container_bytes(&p), shifted = {NULL, 0};
    uint64_t     header;
    memcpy(&header, b.data, 8);
    const uint64_t longer = header + 8;
    bytes_add(&shifted, &longer, 8);
    bytes_add(&shifted, b.data + 8, header);
    bytes_add(&shifted, "        ", 8);
    bytes_add(&shifted, b.data + 8 + header, b.n - 8 - header);
    bytes_write(&shifted, p.dst, "model.safetensors");
    struct source *s;
    cr_assert_eq(source_open(&s, p.dst, &p.e), EK_E_FORMAT);
    cr_assert(strstr(p.e.text, "misaligned"), "%s", p.e.text);
    bytes_free(&b);
    bytes_free(&shifted);
    pair_drop(&p);
}

/* ---- GGUF and random models ---- */

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

/* Weights of about N(0, 0.02) in every format, the same for a seed, and other for another. */
Test(synth, weights)
{
    for (int type = EK_FMT_f32; type <= EK_FMT_q4k; type++) {
        struct config c = tiny_config("qwen3", 1);
        c.vocab = 500, c.hidden = 256;
        const struct convert_options o = options(type);
        struct source               *s[3];
        struct error                 e = {""};
        char                         dir[64], path[80];
        directory_make(dir);
        for (int i = 0; i < 3; i++) {
            snprintf(path, sizeof path, "%s/%d", dir, i);
            cr_assert_eq(synth_write(&c, i < 2 ? 1 : 2, path, &o, &e), EK_OK, "%s", e.text);
            cr_assert_eq(source_open(&s[i], path, &e), EK_OK, "%s", e.text);
        }
        const struct tensor *t = found(s[0], "model.embed_tokens.weight");
        cr_assert_eq(t->checksum, found(s[1], t->name)->checksum);
        cr_assert_neq(t->checksum, found(s[2], t->name)->checksum);
        float *x   = floats(t);
        double sum = 0, square = 0;
        for (size_t i = 0; i < t->n * t->k; i++) {
            sum += (double)x[i], square += (double)x[i] * (double)x[i];
        }
        const double count = (double)t->n * (double)t->k;
        cr_assert(fabs(sum / count) < 0.004, "%d: mean %g", type, sum / count);
        const double deviation = sqrt(square / count);
        cr_assert(deviation > 0.014 && deviation < 0.032, "%d: %g", type, deviation);
        free(x);
        x = floats(found(s[0], "model.norm.weight"));
        cr_assert_eq(x[17], 1);
        free(x);
        for (int i = 0; i < 3; i++) source_close(s[i]);
        directory_remove(dir);
    }
}

Test(synth, presets)
{
    struct config c;
    struct error  e = {""};
    size_t        n = 0;
    for (; synth_preset(n); n++) {
        cr_assert_eq(synth_config(synth_preset(n), &c, &e), EK_OK);
        cr_assert_eq(config_check(&c, synth_preset(n), &e), EK_OK, "%s", e.text);
    }
    cr_assert_eq(n, 10);
    cr_assert_eq(synth_config("llama-9", &c, &e), EK_E_ARG);
    cr_assert(strstr(e.text, "llama-3.2-1b") && strstr(e.text, "qwen3-4b"), "%s", e.text);
}
