/* SPDX-License-Identifier: Apache-2.0 */
/* model/config.c - config.json and generation_config.json, with the defaults that Hugging Face
 * transformers has for each architecture. */
#include "model/config.h"

#include "model/json.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    SIZE_LIMIT    = 1 << 24, /* hidden, ffn, vocab */
    HEADS_LIMIT   = 1 << 16,
    HEAD_LIMIT    = 1 << 12,
    CONTEXT_LIMIT = 1 << 30,
};

static const char *const architectures[] = {"llama", "mistral", "qwen2", "qwen3"};

static int is(const struct config *c, const char *arch)
{
    return !strcmp(c->arch, arch);
}

ek_status config_arch(struct config *c, const char *path, const char *name, struct error *e)
{
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (!strcmp(name, architectures[i])) {
            snprintf(c->arch, sizeof c->arch, "%s", name);
            return EK_OK;
        }
    return fail(e, EK_E_UNSUPPORTED,
                "%s: architecture %s is not supported (llama, mistral, qwen2, qwen3 are)", path,
                name);
}

/* ---- the parts of config.json ---- */

static const struct {
    const char      *name;
    enum ek_act_kind kind;
} activations[] = {{"silu", EK_ACT_SILU},          {"swish", EK_ACT_SILU},
                   {"gelu", EK_ACT_GELU_ERF},      {"gelu_pytorch_tanh", EK_ACT_GELU_TANH},
                   {"gelu_new", EK_ACT_GELU_TANH}, {"relu", EK_ACT_RELU}};
enum { ACTIVATIONS = sizeof activations / sizeof *activations };

const char *config_act_name(enum ek_act_kind kind)
{
    for (size_t i = 0; i < ACTIVATIONS; i++)
        if (activations[i].kind == kind) return activations[i].name;
    return "silu";
}

static void parse_act(struct config *c, struct json_in *in, const json_t *root)
{
    const char *name = json_in_text(in, root, "hidden_act", "silu");
    for (size_t i = 0; i < ACTIVATIONS; i++)
        if (!strcmp(name, activations[i].name)) {
            c->act = activations[i].kind;
            return;
        }
    if (!in->bad)
        in->bad =
            fail(in->e, EK_E_UNSUPPORTED, "%s: hidden_act: %s is not supported", in->path, name);
}

static void parse_sizes(struct config *c, struct json_in *in, const json_t *root)
{
    const int gqa         = is(c, "llama"); /* its number of kv heads may be left out */
    c->layers             = (size_t)json_in_int(in, root, "num_hidden_layers", 1, LAYERS_MAX, -1);
    c->hidden             = (size_t)json_in_int(in, root, "hidden_size", 1, SIZE_LIMIT, -1);
    c->ffn                = (size_t)json_in_int(in, root, "intermediate_size", 1, SIZE_LIMIT, -1);
    c->vocab              = (size_t)json_in_int(in, root, "vocab_size", 1, SIZE_LIMIT, -1);
    const long long heads = json_in_int(in, root, "num_attention_heads", 1, HEADS_LIMIT, -1);
    const int       null  = json_is_null(json_object_get(root, "num_key_value_heads"));
    c->heads              = (size_t)heads;
    c->kv_heads           = (size_t)json_in_int(in, root, "num_key_value_heads", 1, HEADS_LIMIT,
                                      gqa || null ? heads : JSON_REQUIRED);
    if (in->bad) return;
    const long long dim = is(c, "qwen3") ? 128 : (long long)(c->hidden / c->heads);
    c->head_dim         = (size_t)json_in_int(in, root, "head_dim", 1, HEAD_LIMIT, dim);
    c->context = (size_t)json_in_int(in, root, "max_position_embeddings", 1, CONTEXT_LIMIT, -1);
    c->rms_eps = (float)json_in_real(in, root, "rms_norm_eps", 0, 1, 1e-6);
    c->rot     = c->head_dim;
}

static void parse_switches(struct config *c, struct json_in *in, const json_t *root)
{
    const int bias = json_in_bool(in, root, "attention_bias", 0);
    c->qk_norm     = is(c, "qwen3");
    if (is(c, "llama") || is(c, "qwen3")) c->qkv_bias = c->o_bias = bias;
    if (is(c, "qwen2")) c->qkv_bias = 1;
    if (is(c, "llama")) c->mlp_bias = json_in_bool(in, root, "mlp_bias", 0);
    c->tied             = json_in_bool(in, root, "tie_word_embeddings", CONFIG_TIED_UNSAID);
    const json_t *quant = json_in_get(root, "quantization_config");
    if (quant && !in->bad)
        in->bad = fail(in->e, EK_E_UNSUPPORTED, "%s: quantization_config: %s is not supported",
                       in->path, json_in_text(in, quant, "quant_method", "this"));
    const json_t *own   = json_in_get(root, "edgekern");
    c->rope_interleaved = json_in_bool(in, own, "rope_interleaved", 0);
    c->o_bias           = json_in_bool(in, own, "o_bias", c->o_bias);
}

/* layer_types: full attention, with the window in one unbroken run of layers. */
static void parse_layer_types(struct config *c, struct json_in *in, const json_t *types)
{
    size_t from = c->layers, to = 0, count = 0;
    if (json_array_size(types) != c->layers) {
        json_in_fail(in, EK_E_FORMAT, "layer_types", "not one for each layer");
        return;
    }
    for (size_t i = 0; i < c->layers; i++) {
        const char *t    = json_string_value(json_array_get(types, i));
        const int   full = t && !strcmp(t, "full_attention");
        if (!full && (!t || strcmp(t, "sliding_attention") != 0)) {
            json_in_fail(in, EK_E_UNSUPPORTED, "layer_types",
                         "only full_attention and sliding_attention are supported");
            return;
        }
        if (full) continue;
        from = i < from ? i : from, to = i + 1, count++;
    }
    if (count && to - from != count)
        json_in_fail(in, EK_E_UNSUPPORTED, "layer_types",
                     "full and sliding layers that alternate are not supported");
    c->window_from = from, c->window_to = to > from ? to : from;
    if (!count) c->window = 0;
}

static void parse_window(struct config *c, struct json_in *in, const json_t *root)
{
    const int qwen = is(c, "qwen2") || is(c, "qwen3");
    if (is(c, "llama") || (qwen && !json_in_bool(in, root, "use_sliding_window", 0))) return;
    /* Mistral has a window unless it says null; a Qwen that uses one has a default as well. */
    const int null = json_is_null(json_object_get(root, "sliding_window"));
    c->window = (size_t)json_in_int(in, root, "sliding_window", 1, CONTEXT_LIMIT, null ? 0 : 4096);
    if (!c->window) return;
    c->window_to = c->layers;
    if (qwen) c->window_from = (size_t)json_in_int(in, root, "max_window_layers", 0, 1 << 16, 28);
    if (c->window_from > c->layers) c->window_from = c->layers;
    const json_t *types = json_in_get(root, "layer_types");
    if (types) parse_layer_types(c, in, types);
    if (c->window_from >= c->window_to) c->window = c->window_from = c->window_to = 0;
}

/* ---- rope_theta and rope_scaling, or rope_parameters of transformers 5 ---- */

static void parse_yarn(struct config *c, struct json_in *in, const json_t *o)
{
    c->rope.beta_fast        = json_in_real(in, o, "beta_fast", 0, 1e6, 0);
    c->rope.beta_slow        = json_in_real(in, o, "beta_slow", 0, 1e6, 0);
    c->rope.attention_factor = json_in_real(in, o, "attention_factor", 0, 1e6, 0);
    const double m = json_in_real(in, o, "mscale", 0, 1e6, 0), log_f = 0.1 * log(c->rope.factor);
    const double all = json_in_real(in, o, "mscale_all_dim", 0, 1e6, 0);
    if (!json_in_get(o, "attention_factor") && m != 0 && all != 0)
        c->rope.attention_factor = (m * log_f + 1) / (all * log_f + 1);
    if (!json_in_bool(in, o, "truncate", 1))
        json_in_fail(in, EK_E_UNSUPPORTED, "rope_scaling", "truncate: false is not supported");
}

static void parse_scaling(struct config *c, struct json_in *in, const json_t *root, const json_t *o)
{
    const char *type = json_in_text(in, o, "rope_type", NULL);
    if (!type) type = json_in_text(in, o, "type", "default");
    if (!strcmp(type, "default")) return;
    if (!strcmp(type, "linear"))
        c->rope.scaling = EK_ROPE_LINEAR;
    else if (!strcmp(type, "llama3"))
        c->rope.scaling = EK_ROPE_LLAMA3;
    else if (!strcmp(type, "yarn"))
        c->rope.scaling = EK_ROPE_YARN;
    else if (!in->bad)
        in->bad = fail(in->e, EK_E_UNSUPPORTED, "%s: rope_scaling: type %s is not supported",
                       in->path, type);
    if (!json_in_get(o, "factor")) json_in_fail(in, EK_E_FORMAT, "rope_scaling", "no factor");
    c->rope.factor = json_in_real(in, o, "factor", 1, 1e6, 1);
    if (c->rope.scaling == EK_ROPE_LINEAR || in->bad) return;
    const char  *key         = "original_max_position_embeddings";
    const double here        = json_in_real(in, root, key, 1, CONTEXT_LIMIT, (double)c->context);
    c->rope.original_context = json_in_real(in, o, key, 1, CONTEXT_LIMIT, here);
    if (c->rope.scaling == EK_ROPE_LLAMA3) {
        c->rope.low_freq  = json_in_real(in, o, "low_freq_factor", 1e-6, 1e6, 1);
        c->rope.high_freq = json_in_real(in, o, "high_freq_factor", 1e-6, 1e6, 4);
    } else {
        parse_yarn(c, in, o);
    }
}

static void parse_rope(struct config *c, struct json_in *in, const json_t *root)
{
    const json_t *o = json_in_get(root, "rope_parameters");
    if (!o) o = json_in_get(root, "rope_scaling");
    if (o && !json_is_object(o)) json_in_fail(in, EK_E_FORMAT, "rope_scaling", "not an object");
    const double theta  = json_in_real(in, root, "rope_theta", 1e-3, 1e15, 10000);
    c->rope.struct_size = sizeof c->rope;
    c->rope.theta       = json_in_real(in, o, "rope_theta", 1e-3, 1e15, theta);
    const double all    = json_in_real(in, root, "partial_rotary_factor", 0, 1, 1);
    if (json_in_real(in, o, "partial_rotary_factor", 0, 1, all) < 1)
        json_in_fail(in, EK_E_UNSUPPORTED, "partial_rotary_factor", "below 1 is not supported");
    if (o && !in->bad) parse_scaling(c, in, root, o);
}

/* ---- tokens and sampling ---- */

static int32_t token_of(struct json_in *in, const json_t *root, const char *key, size_t vocab)
{
    const json_t *v = json_in_get(root, key);
    if (json_is_array(v)) v = json_array_get(v, 0);
    if (!v) return -1;
    if (!json_is_integer(v) || json_integer_value(v) >= (json_int_t)vocab) {
        json_in_fail(in, EK_E_FORMAT, key, "not an id of the vocabulary");
        return -1;
    }
    return json_integer_value(v) < 0 ? -1 : (int32_t)json_integer_value(v);
}

static void parse_eos(struct config *c, struct json_in *in, const json_t *root)
{
    const char   *key = "eos_token_id";
    const json_t *v   = json_in_get(root, key);
    if (!v) return;
    const size_t n = json_is_array(v) ? json_array_size(v) : 1;
    if (n > EOS_MAX) json_in_fail(in, EK_E_FORMAT, key, "too many");
    c->eos_count = 0;
    for (size_t i = 0; i < n && !in->bad; i++) {
        const json_t *id = json_is_array(v) ? json_array_get(v, i) : v;
        const int     ok = json_is_integer(id) && json_integer_value(id) >= 0 &&
                       json_integer_value(id) < (json_int_t)c->vocab;
        if (ok)
            c->eos[c->eos_count++] = (int32_t)json_integer_value(id);
        else
            json_in_fail(in, EK_E_FORMAT, key, "not an id of the vocabulary");
    }
}

static void parse_tokens(struct config *c, struct json_in *in, const json_t *root)
{
    const int32_t bos = token_of(in, root, "bos_token_id", c->vocab);
    if (bos >= 0) c->bos = bos;
    /* Some files pad with an id that the model never learnt: there is no such row to look up. */
    const json_t *pad = json_in_get(root, "pad_token_id");
    if (json_is_integer(pad) && json_integer_value(pad) >= 0 &&
        json_integer_value(pad) < (json_int_t)c->vocab)
        c->pad = (int32_t)json_integer_value(pad);
    parse_eos(c, in, root);
}

static ek_status parse_generation(struct config *c, const char *path, const char *text,
                                  size_t bytes, struct error *e)
{
    char name[600];
    snprintf(name, sizeof name, "generation_config.json of %s", path);
    struct json_in in   = {.path = name, .e = e};
    json_t        *root = json_in_parse(&in, text, bytes);
    if (!root) return in.bad;
    parse_tokens(c, &in, root);
    c->temperature        = (float)json_in_real(&in, root, "temperature", 0, 1e6, 0);
    c->top_p              = (float)json_in_real(&in, root, "top_p", 0, 1, 0);
    c->repetition_penalty = (float)json_in_real(&in, root, "repetition_penalty", 0, 1e6, 0);
    c->top_k              = (size_t)json_in_int(&in, root, "top_k", 0, SIZE_LIMIT, 0);
    if (!json_in_bool(&in, root, "do_sample", 1)) c->temperature = 0;
    json_decref(root);
    return in.bad;
}

/* ---- the whole ---- */

void config_defaults(struct config *c)
{
    *c = (struct config){.act = EK_ACT_SILU, .bos = -1, .pad = -1, .rms_eps = 1e-6F};
    c->rope.struct_size = sizeof c->rope;
    c->rope.theta       = 10000;
}

ek_status config_parse(struct config *c, const char *path, const char *text, size_t bytes,
                       const char *generation, size_t generation_bytes, struct error *e)
{
    struct json_in in = {.path = path, .e = e};
    config_defaults(c);
    json_t *root = json_in_parse(&in, text, bytes);
    if (!root) return in.bad;
    const char *type = json_in_text(&in, root, "model_type", NULL);
    if (!type) json_in_fail(&in, EK_E_FORMAT, "model_type", "missing");
    if (type && !in.bad) in.bad = config_arch(c, path, type, e);
    if (!in.bad) {
        parse_sizes(c, &in, root);
        parse_switches(c, &in, root);
        parse_act(c, &in, root);
    }
    if (!in.bad) {
        parse_window(c, &in, root);
        parse_rope(c, &in, root);
        parse_tokens(c, &in, root);
    }
    json_decref(root);
    if (!in.bad && generation) in.bad = parse_generation(c, path, generation, generation_bytes, e);
    return in.bad ? in.bad : config_check(c, path, e);
}

static int rope_possible(const struct config *c)
{
    float           cosine, sine;
    const ek_status s = ek_rope_table(&c->rope, 2, 0, 1, &cosine, &sine);
    return !s && isfinite(c->rope.theta);
}

ek_status config_check(const struct config *c, const char *path, struct error *e)
{
#define REQUIRE(condition, what)                                                                   \
    if (!(condition)) return fail(e, EK_E_FORMAT, "%s: " what, path)
    REQUIRE(c->layers >= 1 && c->layers <= LAYERS_MAX, "number of layers out of range");
    REQUIRE(c->hidden >= 1 && c->hidden <= SIZE_LIMIT, "hidden size out of range");
    REQUIRE(c->ffn >= 1 && c->ffn <= SIZE_LIMIT, "intermediate size out of range");
    REQUIRE(c->vocab >= 1 && c->vocab <= SIZE_LIMIT, "vocabulary size out of range");
    REQUIRE(c->heads >= 1 && c->heads <= HEADS_LIMIT, "number of heads out of range");
    REQUIRE(c->kv_heads >= 1 && c->heads % c->kv_heads == 0,
            "heads are not a multiple of the key/value heads");
    REQUIRE(c->head_dim >= 2 && c->head_dim <= HEAD_LIMIT, "head_dim out of range");
    REQUIRE(c->rot >= 2 && c->rot % 2 == 0 && c->rot <= c->head_dim,
            "rotated part of a head is odd or longer than the head");
    REQUIRE(c->heads * c->head_dim <= SIZE_LIMIT, "heads times head_dim out of range");
    REQUIRE(c->context >= 1 && c->context <= CONTEXT_LIMIT, "context length out of range");
    REQUIRE(c->rms_eps >= 0 && c->rms_eps <= 1, "rms_norm_eps out of range");
    REQUIRE(c->window_from <= c->window_to && c->window_to <= c->layers,
            "layers with a window out of range");
    REQUIRE((unsigned)c->act < EK_ACT_KINDS, "no such activation");
    REQUIRE(c->eos_count <= EOS_MAX, "too many ends of text");
    REQUIRE(rope_possible(c), "impossible rope parameters");
#undef REQUIRE
    return EK_OK;
}
