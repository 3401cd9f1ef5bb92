/* SPDX-License-Identifier: Apache-2.0 */
/* model/config_write.c - config.json and generation_config.json of our own directories. */
#include "model/config.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *class_name(const struct config *c)
{
    if (!strcmp(c->arch, "mistral")) return "MistralForCausalLM";
    if (!strcmp(c->arch, "qwen2")) return "Qwen2ForCausalLM";
    if (!strcmp(c->arch, "qwen3")) return "Qwen3ForCausalLM";
    return "LlamaForCausalLM";
}

/* An object in the making; what did not fit into memory is noted, so that no key is just missing. */
struct out {
    json_t *o;
    int     bad;
};

static void set(struct out *w, const char *key, json_t *value)
{
    w->bad |= json_object_set_new(w->o, key, value);
}

static void set_int(struct out *w, const char *key, size_t n)
{
    set(w, key, json_integer((json_int_t)n));
}

/* The shortest decimal that is this float: 1e-05, not 9.9999997473787516e-06. */
static void set_float(struct out *w, const char *key, float x)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x) break;
    }
    set(w, key, json_real(strtod(text, NULL)));
}

static void set_real_if(struct out *w, const char *key, double x)
{
    if (x != 0) set(w, key, json_real(x));
}

static void set_scaling(struct out *config, const struct ek_rope_config *r)
{
    static const char *const names[] = {"default", "linear", "llama3", "yarn"};
    struct out               w       = {json_object(), 0};
    if (r->scaling != EK_ROPE_PLAIN) {
        set(&w, "rope_type", json_string(names[r->scaling]));
        set_real_if(&w, "factor", r->factor);
    }
    if (r->scaling == EK_ROPE_LLAMA3 || r->scaling == EK_ROPE_YARN)
        set_int(&w, "original_max_position_embeddings", (size_t)r->original_context);
    if (r->scaling == EK_ROPE_LLAMA3) {
        set(&w, "low_freq_factor", json_real(r->low_freq != 0 ? r->low_freq : 1));
        set(&w, "high_freq_factor", json_real(r->high_freq != 0 ? r->high_freq : 4));
    } else if (r->scaling == EK_ROPE_YARN) {
        set_real_if(&w, "beta_fast", r->beta_fast);
        set_real_if(&w, "beta_slow", r->beta_slow);
        set_real_if(&w, "attention_factor", r->attention_factor);
    }
    config->bad |= w.bad;
    if (r->scaling != EK_ROPE_PLAIN) {
        set(config, "rope_scaling", w.o);
    } else {
        json_decref(w.o);
        set(config, "rope_scaling", json_null());
    }
}

static void set_layer_types(struct out *w, const struct config *c)
{
    json_t *types = json_array();
    for (size_t i = 0; i < c->layers; i++)
        w->bad |= json_array_append_new(types, json_string(i >= c->window_from && i < c->window_to
                                                               ? "sliding_attention"
                                                               : "full_attention"));
    set(w, "layer_types", types);
}

static void set_window(struct out *w, const struct config *c)
{
    const int qwen = !strncmp(c->arch, "qwen", 4);
    if (qwen) set(w, "use_sliding_window", json_boolean(c->window != 0));
    if (!strcmp(c->arch, "mistral") || c->window)
        set(w, "sliding_window", c->window ? json_integer((json_int_t)c->window) : json_null());
    if (!c->window) return;
    if (qwen) set_int(w, "max_window_layers", c->window_from);
    if (c->window_to != c->layers || (!qwen && c->window_from)) set_layer_types(w, c);
}

static void set_tokens(struct out *w, const struct config *c)
{
    if (c->bos >= 0) set_int(w, "bos_token_id", (size_t)c->bos);
    if (c->pad >= 0) set_int(w, "pad_token_id", (size_t)c->pad);
    if (c->eos_count == 1) set_int(w, "eos_token_id", (size_t)c->eos[0]);
    if (c->eos_count < 2) return;
    json_t *list = json_array();
    for (size_t i = 0; i < c->eos_count; i++)
        w->bad |= json_array_append_new(list, json_integer(c->eos[i]));
    set(w, "eos_token_id", list);
}

static char *text_of(struct out *w)
{
    char *text = w->bad ? NULL : json_dumps(w->o, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    json_decref(w->o);
    return text;
}

static void set_sizes(struct out *w, const struct config *c)
{
    set_int(w, "num_hidden_layers", c->layers);
    set_int(w, "hidden_size", c->hidden);
    set_int(w, "intermediate_size", c->ffn);
    set_int(w, "vocab_size", c->vocab);
    set_int(w, "num_attention_heads", c->heads);
    set_int(w, "num_key_value_heads", c->kv_heads);
    set_int(w, "head_dim", c->head_dim);
    set_int(w, "max_position_embeddings", c->context);
}

char *config_write(const struct config *c)
{
    struct out w = {json_object(), 0};
    set(&w, "architectures", json_pack("[s]", class_name(c)));
    set(&w, "model_type", json_string(c->arch));
    set_sizes(&w, c);
    set(&w, "hidden_act", json_string(config_act_name(c->act)));
    set_float(&w, "rms_norm_eps", c->rms_eps);
    set(&w, "rope_theta", json_real(c->rope.theta));
    set_scaling(&w, &c->rope);
    if (strcmp(c->arch, "mistral") != 0 && strcmp(c->arch, "qwen2") != 0)
        set(&w, "attention_bias", json_boolean(c->qkv_bias));
    if (!strcmp(c->arch, "llama")) set(&w, "mlp_bias", json_boolean(c->mlp_bias));
    set(&w, "tie_word_embeddings", json_boolean(c->tied));
    set_window(&w, c);
    set_tokens(&w, c);
    set(&w, "edgekern",
        json_pack("{s:i, s:b, s:b}", "version", 1, "rope_interleaved", c->rope_interleaved,
                  "o_bias", c->o_bias));
    return text_of(&w);
}

char *config_write_generation(const struct config *c)
{
    struct out w = {json_object(), 0};
    set_tokens(&w, c);
    if (c->temperature > 0) {
        set(&w, "do_sample", json_true());
        set_float(&w, "temperature", c->temperature);
    }
    if (c->top_p > 0) set_float(&w, "top_p", c->top_p);
    if (c->repetition_penalty > 0) set_float(&w, "repetition_penalty", c->repetition_penalty);
    if (c->top_k) set_int(&w, "top_k", c->top_k);
    return text_of(&w);
}
