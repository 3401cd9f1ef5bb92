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

static void set_int(json_t *o, const char *key, size_t n)
{
    json_object_set_new(o, key, json_integer((json_int_t)n));
}

/* The shortest decimal that is this float: 1e-05, not 9.9999997473787516e-06. */
static void set_float(json_t *o, const char *key, float x)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x) break;
    }
    json_object_set_new(o, key, json_real(strtod(text, NULL)));
}

static void set_if(json_t *o, const char *key, double x)
{
    if (x != 0) json_object_set_new(o, key, json_real(x));
}

static json_t *scaling(const struct ek_rope_config *r)
{
    static const char *const names[] = {"default", "linear", "llama3", "yarn"};
    if (r->scaling == EK_ROPE_PLAIN) return json_null();
    json_t *o = json_object();
    json_object_set_new(o, "rope_type", json_string(names[r->scaling]));
    set_if(o, "factor", r->factor);
    if (r->scaling == EK_ROPE_LINEAR) return o;
    set_int(o, "original_max_position_embeddings", (size_t)r->original_context);
    if (r->scaling == EK_ROPE_LLAMA3) {
        json_object_set_new(o, "low_freq_factor", json_real(r->low_freq != 0 ? r->low_freq : 1));
        json_object_set_new(o, "high_freq_factor", json_real(r->high_freq != 0 ? r->high_freq : 4));
        return o;
    }
    set_if(o, "beta_fast", r->beta_fast);
    set_if(o, "beta_slow", r->beta_slow);
    set_if(o, "attention_factor", r->attention_factor);
    return o;
}

static void set_window(json_t *o, const struct config *c)
{
    const int qwen = !strncmp(c->arch, "qwen", 4);
    if (qwen) json_object_set_new(o, "use_sliding_window", json_boolean(c->window != 0));
    if (!strcmp(c->arch, "mistral") || c->window)
        json_object_set_new(o, "sliding_window",
                            c->window ? json_integer((json_int_t)c->window) : json_null());
    if (!c->window) return;
    if (qwen) set_int(o, "max_window_layers", c->window_from);
    if (c->window_to == c->layers && (qwen || !c->window_from)) return;
    json_t *types = json_array();
    for (size_t i = 0; i < c->layers; i++)
        json_array_append_new(types, json_string(i >= c->window_from && i < c->window_to
                                                     ? "sliding_attention"
                                                     : "full_attention"));
    json_object_set_new(o, "layer_types", types);
}

static void set_tokens(json_t *o, const struct config *c)
{
    if (c->bos >= 0) set_int(o, "bos_token_id", (size_t)c->bos);
    if (c->pad >= 0) set_int(o, "pad_token_id", (size_t)c->pad);
    if (c->eos_count == 1) set_int(o, "eos_token_id", (size_t)c->eos[0]);
    if (c->eos_count < 2) return;
    json_t *list = json_array();
    for (size_t i = 0; i < c->eos_count; i++) json_array_append_new(list, json_integer(c->eos[i]));
    json_object_set_new(o, "eos_token_id", list);
}

static char *text_of(json_t *o)
{
    char *text = json_dumps(o, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    json_decref(o);
    return text;
}

char *config_write(const struct config *c)
{
    json_t *o = json_object();
    json_object_set_new(o, "architectures", json_pack("[s]", class_name(c)));
    json_object_set_new(o, "model_type", json_string(c->arch));
    set_int(o, "num_hidden_layers", c->layers);
    set_int(o, "hidden_size", c->hidden);
    set_int(o, "intermediate_size", c->ffn);
    set_int(o, "vocab_size", c->vocab);
    set_int(o, "num_attention_heads", c->heads);
    set_int(o, "num_key_value_heads", c->kv_heads);
    set_int(o, "head_dim", c->head_dim);
    set_int(o, "max_position_embeddings", c->context);
    json_object_set_new(o, "hidden_act", json_string(config_act_name(c->act)));
    set_float(o, "rms_norm_eps", c->rms_eps);
    json_object_set_new(o, "rope_theta", json_real(c->rope.theta));
    json_object_set_new(o, "rope_scaling", scaling(&c->rope));
    if (strcmp(c->arch, "mistral") != 0 && strcmp(c->arch, "qwen2") != 0)
        json_object_set_new(o, "attention_bias", json_boolean(c->qkv_bias));
    if (!strcmp(c->arch, "llama")) json_object_set_new(o, "mlp_bias", json_boolean(c->mlp_bias));
    json_object_set_new(o, "tie_word_embeddings", json_boolean(c->tied));
    set_window(o, c);
    set_tokens(o, c);
    json_t *own = json_pack("{s:i, s:b, s:b}", "version", 1, "rope_interleaved",
                            c->rope_interleaved, "o_bias", c->o_bias);
    json_object_set_new(o, "edgekern", own);
    return text_of(o);
}

char *config_write_generation(const struct config *c)
{
    json_t *o = json_object();
    set_tokens(o, c);
    if (c->temperature > 0) {
        json_object_set_new(o, "do_sample", json_true());
        set_float(o, "temperature", c->temperature);
    }
    if (c->top_p > 0) set_float(o, "top_p", c->top_p);
    if (c->repetition_penalty > 0) set_float(o, "repetition_penalty", c->repetition_penalty);
    if (c->top_k) set_int(o, "top_k", c->top_k);
    return text_of(o);
}
