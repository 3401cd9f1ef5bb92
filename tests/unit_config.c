/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_config.c - config.json: what is taken, what is refused, and back again. */
#include "model/config.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A config of the architecture with more members in front. */
static ek_status parse(struct config *c, const char *arch, const char *more, const char *generation,
                       struct error *e)
{
    char text[2048];
    snprintf(text, sizeof text,
             "{%s\"model_type\":\"%s\",\"num_hidden_layers\":4,\"hidden_size\":64,"
             "\"intermediate_size\":128,\"vocab_size\":100,\"num_attention_heads\":8,"
             "\"max_position_embeddings\":4096}",
             more, arch);
    return config_parse(c, "x/config.json", text, strlen(text), generation,
                        generation ? strlen(generation) : 0, e);
}

static struct config parsed(const char *arch, const char *more)
{
    struct config   c;
    struct error    e = {""};
    const ek_status s = parse(&c, arch, more, NULL, &e);
    cr_assert_eq(s, EK_OK, "%s", e.text);
    return c;
}

Test(config, llama_defaults)
{
    const struct config c = parsed("llama", "");
    cr_assert_str_eq(c.arch, "llama");
    cr_assert(c.layers == 4 && c.hidden == 64 && c.ffn == 128 && c.vocab == 100);
    cr_assert(c.heads == 8 && c.kv_heads == 8 && c.head_dim == 8 && c.rot == 8);
    cr_assert_eq(c.rms_eps, 1e-6F);
    cr_assert_eq(c.rope.theta, 10000);
    cr_assert_eq(c.rope.scaling, EK_ROPE_PLAIN);
    cr_assert(!c.qkv_bias && !c.o_bias && !c.mlp_bias && !c.qk_norm && !c.window);
    cr_assert_eq(c.act, EK_ACT_SILU);
    cr_assert(c.bos == -1 && c.pad == -1 && c.eos_count == 0);
    cr_assert_eq(c.tied, CONFIG_TIED_UNSAID);
}

Test(config, llama_biases)
{
    const struct config c = parsed("llama", "\"attention_bias\":true,\"mlp_bias\":true,");
    cr_assert(c.qkv_bias && c.o_bias && c.mlp_bias);
}

Test(config, qwen2_and_qwen3)
{
    struct config c = parsed("qwen2", "\"num_key_value_heads\":2,\"tie_word_embeddings\":true,"
                                      "\"use_sliding_window\":false,\"sliding_window\":1024,"
                                      "\"max_window_layers\":2,");
    cr_assert(c.qkv_bias && !c.o_bias && c.tied == 1 && c.window == 0);
    c = parsed("qwen3", "\"num_key_value_heads\":2,\"head_dim\":16,\"tie_word_embeddings\":false,");
    cr_assert(c.qk_norm && !c.qkv_bias && c.head_dim == 16 && c.tied == 0);
    c = parsed("qwen3", "\"num_key_value_heads\":2,");
    cr_assert_eq(c.head_dim, 128);
}

Test(config, windows)
{
    struct config c = parsed("mistral", "\"num_key_value_heads\":8,\"sliding_window\":null,");
    cr_assert_eq(c.window, 0);
    c = parsed("mistral", "\"num_key_value_heads\":8,"); /* transformers' default */
    cr_assert(c.window == 4096 && c.window_from == 0 && c.window_to == 4);
    c = parsed("qwen2", "\"num_key_value_heads\":8,\"use_sliding_window\":true,"
                        "\"sliding_window\":16,\"max_window_layers\":3,");
    cr_assert(c.window == 16 && c.window_from == 3 && c.window_to == 4);
    c = parsed("qwen2", "\"num_key_value_heads\":8,\"use_sliding_window\":true,"
                        "\"sliding_window\":16,\"max_window_layers\":28,");
    cr_assert_eq(c.window, 0);
    c = parsed("qwen3", "\"num_key_value_heads\":8,\"use_sliding_window\":true,"
                        "\"sliding_window\":16,\"layer_types\":[\"full_attention\","
                        "\"sliding_attention\",\"sliding_attention\",\"full_attention\"],");
    cr_assert(c.window == 16 && c.window_from == 1 && c.window_to == 3);
}

Test(config, rope)
{
    struct config c = parsed("llama", "\"rope_theta\":500000.0,\"rope_scaling\":{\"factor\":32.0,"
                                      "\"high_freq_factor\":4.0,\"low_freq_factor\":1.0,"
                                      "\"original_max_position_embeddings\":8192,"
                                      "\"rope_type\":\"llama3\"},");
    cr_assert(c.rope.scaling == EK_ROPE_LLAMA3 && c.rope.theta == 500000 && c.rope.factor == 32);
    cr_assert(c.rope.original_context == 8192 && c.rope.low_freq == 1 && c.rope.high_freq == 4);
    c = parsed("llama", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":2},");
    cr_assert(c.rope.scaling == EK_ROPE_LINEAR && c.rope.factor == 2);
    c = parsed("llama", "\"rope_parameters\":{\"rope_theta\":1000000.0,\"rope_type\":\"yarn\","
                        "\"factor\":4.0,\"original_max_position_embeddings\":1024,"
                        "\"beta_fast\":16,\"attention_factor\":1.5},");
    cr_assert(c.rope.scaling == EK_ROPE_YARN && c.rope.theta == 1000000 && c.rope.factor == 4);
    cr_assert(c.rope.original_context == 1024 && c.rope.beta_fast == 16 && c.rope.beta_slow == 0);
    cr_assert_eq(c.rope.attention_factor, 1.5);
    c = parsed("llama", "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":2},");
    cr_assert_eq(c.rope.original_context, 4096);
    c = parsed("llama", "\"rope_parameters\":{\"rope_theta\":500.0,\"rope_type\":\"default\"},");
    cr_assert(c.rope.scaling == EK_ROPE_PLAIN && c.rope.theta == 500);
}

Test(config, generation_overrides)
{
    struct config c;
    struct error  e = {""};
    cr_assert_eq(parse(&c, "llama", "\"bos_token_id\":1,\"eos_token_id\":2,\"pad_token_id\":-1,",
                       "{\"eos_token_id\":[7,8,9],\"temperature\":0.6,\"top_p\":0.9,\"top_k\":20,"
                       "\"repetition_penalty\":1.1,\"do_sample\":true}",
                       &e),
                 EK_OK, "%s", e.text);
    cr_assert(c.bos == 1 && c.pad == -1 && c.eos_count == 3 && c.eos[0] == 7 && c.eos[2] == 9);
    cr_assert(c.temperature == 0.6F && c.top_p == 0.9F && c.top_k == 20);
    cr_assert_eq(c.repetition_penalty, 1.1F);
    cr_assert_eq(parse(&c, "llama", "", "{\"temperature\":0.6,\"do_sample\":false}", &e), EK_OK);
    cr_assert_eq(c.temperature, 0);
}

/* Each names what is wrong in one line. */
Test(config, refusals)
{
    static const struct {
        const char *arch, *more, *generation;
        ek_status   status;
        const char *says;
    } cases[] = {
        {"gemma2", "", NULL, EK_E_UNSUPPORTED, "architecture gemma2 is not supported"},
        {"llama", "\"hidden_act\":\"xielu\",", NULL, EK_E_UNSUPPORTED, "hidden_act: xielu"},
        {"llama", "\"rope_scaling\":{\"type\":\"longrope\",\"factor\":2},", NULL, EK_E_UNSUPPORTED,
         "type longrope"},
        {"llama", "\"rope_scaling\":{\"type\":\"linear\"},", NULL, EK_E_FORMAT, "no factor"},
        {"llama", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5},", NULL, EK_E_FORMAT,
         "factor: 0.5"},
        {"llama", "\"rope_scaling\":3,", NULL, EK_E_FORMAT, "rope_scaling: not an object"},
        {"llama", "\"partial_rotary_factor\":0.5,", NULL, EK_E_UNSUPPORTED,
         "partial_rotary_factor"},
        {"llama", "\"num_key_value_heads\":3,", NULL, EK_E_FORMAT, "multiple"},
        {"qwen2", "", NULL, EK_E_FORMAT, "num_key_value_heads: missing"},
        {"llama", "\"head_dim\":7,", NULL, EK_E_FORMAT, "odd"},
        {"llama", "\"head_dim\":-8,", NULL, EK_E_FORMAT, "head_dim: -8"},
        {"llama", "\"head_dim\":\"8\",", NULL, EK_E_FORMAT, "head_dim: not an integer"},
        {"llama", "\"rms_norm_eps\":-1,", NULL, EK_E_FORMAT, "rms_norm_eps"},
        {"llama", "\"rope_theta\":0,", NULL, EK_E_FORMAT, "rope_theta"},
        {"llama", "\"attention_bias\":1,", NULL, EK_E_FORMAT, "attention_bias"},
        {"llama", "\"eos_token_id\":100,", NULL, EK_E_FORMAT, "eos_token_id"},
        {"llama", "\"vocab_size\":5,", NULL, EK_E_FORMAT, "duplicate"},
        {"llama", "\"quantization_config\":{\"quant_method\":\"gptq\"},", NULL, EK_E_UNSUPPORTED,
         "gptq"},
        {"qwen2",
         "\"num_key_value_heads\":8,\"use_sliding_window\":true,\"layer_types\":["
         "\"sliding_attention\",\"full_attention\",\"sliding_attention\","
         "\"full_attention\"],\"max_window_layers\":0,",
         NULL, EK_E_UNSUPPORTED, "alternate"},
        {"qwen2",
         "\"num_key_value_heads\":8,\"use_sliding_window\":true,\"layer_types\":[],"
         "\"max_window_layers\":0,",
         NULL, EK_E_FORMAT, "layer_types"},
        {"llama", "", "[]", EK_E_FORMAT, "generation_config.json"},
        {"llama", "", "{\"top_p\":2}", EK_E_FORMAT, "top_p"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config   c;
        struct error    e = {""};
        const ek_status s = parse(&c, cases[i].arch, cases[i].more, cases[i].generation, &e);
        cr_expect_eq(s, cases[i].status, "case %zu: %d %s", i, (int)s, e.text);
        cr_expect(strstr(e.text, cases[i].says), "case %zu: %s", i, e.text);
        cr_expect(strstr(e.text, "config.json"), "case %zu: %s", i, e.text);
        cr_expect_null(strchr(e.text, '\n'));
    }
    struct config c;
    struct error  e;
    cr_assert_eq(config_parse(&c, "f", "{\"model_type\":", 14, NULL, 0, &e), EK_E_FORMAT);
    cr_assert_eq(config_parse(&c, "f", "[]", 2, NULL, 0, &e), EK_E_FORMAT);
    cr_assert_eq(config_parse(&c, "f", "{}", 2, NULL, 0, &e), EK_E_FORMAT);
}

/* The first member that differs; NULL where none does. */
static const char *difference(const struct config *a, const struct config *b)
{
#define COMPARE(member)                                                                            \
    if (a->member != b->member) return #member
    COMPARE(layers);
    COMPARE(hidden);
    COMPARE(ffn);
    COMPARE(vocab);
    COMPARE(heads);
    COMPARE(kv_heads);
    COMPARE(head_dim);
    COMPARE(context);
    COMPARE(window);
    COMPARE(window_from);
    COMPARE(window_to);
    COMPARE(rms_eps);
    COMPARE(rot);
    COMPARE(rope_interleaved);
    COMPARE(tied);
    COMPARE(qkv_bias);
    COMPARE(o_bias);
    COMPARE(mlp_bias);
    COMPARE(qk_norm);
    COMPARE(act);
    COMPARE(bos);
    COMPARE(pad);
    COMPARE(eos_count);
    COMPARE(temperature);
    COMPARE(top_p);
    COMPARE(repetition_penalty);
    COMPARE(top_k);
    COMPARE(rope.scaling);
    COMPARE(rope.theta);
    COMPARE(rope.factor);
    COMPARE(rope.original_context);
    COMPARE(rope.low_freq);
    COMPARE(rope.high_freq);
    COMPARE(rope.beta_fast);
    COMPARE(rope.beta_slow);
    COMPARE(rope.attention_factor);
#undef COMPARE
    if (strcmp(a->arch, b->arch) != 0) return "arch";
    return memcmp(a->eos, b->eos, a->eos_count * sizeof *a->eos) ? "eos" : NULL;
}

Test(config, written_and_read_again)
{
    static const char *const more[][2] = {
        {"llama", "\"tie_word_embeddings\":true,\"attention_bias\":true,\"rms_norm_eps\":1e-05,"
                  "\"bos_token_id\":0,\"eos_token_id\":[3,4],"
                  "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8},"},
        {"qwen2", "\"tie_word_embeddings\":false,\"num_key_value_heads\":2,\"eos_token_id\":9,"
                  "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"beta_slow\":2},"},
        {"qwen2", "\"tie_word_embeddings\":false,\"num_key_value_heads\":2,"
                  "\"use_sliding_window\":true,\"sliding_window\":16,\"max_window_layers\":3,"},
        {"qwen3", "\"tie_word_embeddings\":false,\"num_key_value_heads\":2,"
                  "\"use_sliding_window\":true,\"sliding_window\":16,\"layer_types\":["
                  "\"full_attention\",\"sliding_attention\",\"sliding_attention\","
                  "\"full_attention\"],"},
        {"mistral", "\"tie_word_embeddings\":false,\"num_key_value_heads\":2,"
                    "\"sliding_window\":null,\"hidden_act\":\"gelu_pytorch_tanh\","},
        {"mistral", "\"tie_word_embeddings\":false,\"num_key_value_heads\":2,"
                    "\"edgekern\":{\"rope_interleaved\":true},"},
    };
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        struct config a = parsed(more[i][0], more[i][1]), b;
        struct error  e = {""};
        a.temperature = 0.7F, a.top_p = 0.8F, a.top_k = 20, a.repetition_penalty = 1.05F;
        char *text = config_write(&a), *generation = config_write_generation(&a);
        cr_assert_eq(
            config_parse(&b, "again", text, strlen(text), generation, strlen(generation), &e),
            EK_OK, "%zu: %s", i, e.text);
        const char *differs = difference(&a, &b);
        cr_assert_null(differs, "%zu: %s", i, differs);
        free(text);
        free(generation);
    }
}
