/* SPDX-License-Identifier: Apache-2.0 */
/* model/config_gguf.c - the config that GGUF metadata describes. Source: ggml's docs/gguf.md and
 * how llama.cpp reads the keys. */
#include "model/gguf.h"
#include "model/source_inner.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Reads "ARCH.key"; the first error sticks. */
struct keys {
    const struct gguf *g;
    const char        *path;
    char               arch[32];
    struct error      *e;
    ek_status          bad;
};

static const char *full_key(const struct keys *k, const char *key, char out[160])
{
    snprintf(out, 160, "%s.%s", k->arch, key);
    return out;
}

enum { REQUIRED = -1 };

static size_t get_size(struct keys *k, const char *key, long long def)
{
    char        text[160];
    uint64_t    n;
    const char *name = full_key(k, key, text);
    if (gguf_uint(k->g, name, &n) && n <= INT32_MAX) return (size_t)n;
    const int there = gguf_find(k->g, name) != NULL;
    if ((there || def == REQUIRED) && !k->bad)
        k->bad = fail(k->e, EK_E_FORMAT, "%s: %s: %s", k->path, name,
                      there ? "not one number in range" : "missing");
    return def < 0 ? 0 : (size_t)def;
}

static double get_real(struct keys *k, const char *key, double def)
{
    char        text[160];
    double      x;
    const char *name = full_key(k, key, text);
    if (!gguf_find(k->g, name)) return def;
    if (gguf_float(k->g, name, &x) && isfinite(x)) return x;
    if (!k->bad) k->bad = fail(k->e, EK_E_FORMAT, "%s: %s: not a finite number", k->path, name);
    return def;
}

static int has_tensor(const struct gguf *g, const char *name)
{
    for (size_t i = 0; i < g->tensor_count; i++)
        if (g->tensors[i].name.bytes == strlen(name) &&
            !memcmp(g->tensors[i].name.data, name, g->tensors[i].name.bytes))
            return 1;
    return 0;
}

/* ---- the parts ---- */

static void take_sizes(struct config *c, struct keys *k)
{
    c->layers   = get_size(k, "block_count", REQUIRED);
    c->hidden   = get_size(k, "embedding_length", REQUIRED);
    c->ffn      = get_size(k, "feed_forward_length", REQUIRED);
    c->heads    = get_size(k, "attention.head_count", REQUIRED);
    c->kv_heads = get_size(k, "attention.head_count_kv", (long long)c->heads);
    c->context  = get_size(k, "context_length", REQUIRED);
    c->rms_eps  = (float)get_real(k, "attention.layer_norm_rms_epsilon", 1e-6);
    if (k->bad) return;
    c->head_dim =
        get_size(k, "attention.key_length", c->heads ? (long long)(c->hidden / c->heads) : 0);
    c->rot = get_size(k, "rope.dimension_count", (long long)c->head_dim);
    if (get_size(k, "attention.value_length", (long long)c->head_dim) != c->head_dim && !k->bad)
        k->bad = fail(k->e, EK_E_UNSUPPORTED, "%s: keys and values of different lengths", k->path);
    if (get_size(k, "expert_count", 0) && !k->bad)
        k->bad = fail(k->e, EK_E_UNSUPPORTED, "%s: mixtures of experts are not supported", k->path);
    for (size_t i = 0; i < k->g->tensor_count; i++) {
        const struct gguf_tensor *t = &k->g->tensors[i];
        if (t->name.bytes == 17 && !memcmp(t->name.data, "token_embd.weight", 17))
            c->vocab = t->ne[1] <= INT32_MAX ? (size_t)t->ne[1] : 0;
    }
    if (!c->vocab && !k->bad)
        k->bad = fail(k->e, EK_E_FORMAT, "%s: tensor token_embd.weight: missing", k->path);
}

static void take_switches(struct config *c, struct keys *k)
{
    const int llama     = !strcmp(c->arch, "llama");
    c->qk_norm          = !strcmp(c->arch, "qwen3");
    c->qkv_bias         = !strcmp(c->arch, "qwen2") || has_tensor(k->g, "blk.0.attn_q.bias");
    c->o_bias           = has_tensor(k->g, "blk.0.attn_output.bias");
    c->mlp_bias         = llama && has_tensor(k->g, "blk.0.ffn_down.bias");
    c->rope_interleaved = llama; /* their q and k rows are stored in pairs */
    c->tied             = !has_tensor(k->g, "output.weight");
    if (!llama) return;
    c->window = get_size(k, "attention.sliding_window", 0);
    if (c->window) { /* what Hugging Face calls a llama with a window */
        c->window_to = c->layers;
        snprintf(c->arch, sizeof c->arch, "mistral");
    }
}

static int text_is(struct gguf_string s, const char *text)
{
    return s.bytes == strlen(text) && !memcmp(s.data, text, s.bytes);
}

static void take_rope(struct config *c, struct keys *k)
{
    char               key[160];
    struct gguf_string type = {"none", 4};
    c->rope.theta           = get_real(k, "rope.freq_base", 10000);
    c->rope.factor = get_real(k, "rope.scaling.factor", get_real(k, "rope.scale_linear", 1));
    if (!gguf_text(k->g, full_key(k, "rope.scaling.type", key), &type) && c->rope.factor != 1)
        type = (struct gguf_string){"linear", 6};
    if (text_is(type, "none") || c->rope.factor == 0) {
        c->rope.factor = 0;
    } else if (text_is(type, "linear")) {
        c->rope.scaling = EK_ROPE_LINEAR;
    } else if (text_is(type, "yarn")) {
        c->rope.scaling = EK_ROPE_YARN;
        c->rope.original_context =
            get_real(k, "rope.scaling.original_context_length", (double)c->context);
        c->rope.beta_fast   = get_real(k, "rope.scaling.yarn_beta_fast", 0);
        c->rope.beta_slow   = get_real(k, "rope.scaling.yarn_beta_slow", 0);
        const double attend = get_real(k, "rope.scaling.attn_factor", 1);
        if (attend != 1) c->rope.attention_factor = attend * (0.1 * log(c->rope.factor) + 1);
    } else if (!k->bad) {
        k->bad = fail(k->e, EK_E_UNSUPPORTED, "%s: rope scaling %.*s is not supported", k->path,
                      (int)(type.bytes < 40 ? type.bytes : 40), type.data);
    }
}

static void add_eos(struct config *c, const struct gguf *g, const char *key)
{
    uint64_t id;
    if (!gguf_uint(g, key, &id) || id >= c->vocab || c->eos_count == EOS_MAX) return;
    for (size_t i = 0; i < c->eos_count; i++)
        if (c->eos[i] == (int32_t)id) return;
    c->eos[c->eos_count++] = (int32_t)id;
}

static void take_tokens(struct config *c, const struct gguf *g)
{
    uint64_t id;
    if (gguf_uint(g, "tokenizer.ggml.bos_token_id", &id) && id < c->vocab) c->bos = (int32_t)id;
    if (gguf_uint(g, "tokenizer.ggml.padding_token_id", &id) && id < c->vocab) c->pad = (int32_t)id;
    add_eos(c, g, "tokenizer.ggml.eos_token_id");
    add_eos(c, g, "tokenizer.ggml.eot_token_id");
    add_eos(c, g, "tokenizer.ggml.eom_token_id");
}

ek_status config_from_gguf(struct config *c, const struct gguf *g, const char *path,
                           struct error *e)
{
    struct keys        k = {.g = g, .path = path, .e = e};
    struct gguf_string arch;
    config_defaults(c);
    if (!gguf_text(g, "general.architecture", &arch) || arch.bytes >= sizeof k.arch)
        return fail(e, EK_E_FORMAT, "%s: general.architecture: missing", path);
    memcpy(k.arch, arch.data, arch.bytes);
    ek_status bad = config_arch(c, path, k.arch, e);
    if (bad) return bad;
    take_sizes(c, &k);
    if (!k.bad) take_switches(c, &k);
    if (!k.bad) take_rope(c, &k);
    if (!k.bad) take_tokens(c, g);
    return k.bad ? k.bad : config_check(c, path, e);
}

/* ---- Llama 3's factors ---- */

/* The factor by which scaling slows frequency i down. */
static double factor_of(const struct ek_rope_config *r, double freq)
{
    const double turns = r->original_context * freq / 6.283185307179586476925286766559;
    if (turns < r->low_freq) return r->factor;
    if (turns > r->high_freq) return 1;
    const double keep = (turns - r->low_freq) / (r->high_freq - r->low_freq);
    return 1 / ((1 - keep) / r->factor + keep);
}

/* llama.cpp's converter stores the factors of Llama 3.1's formula, computed in f32, and nothing
 * else about it. Every published model has low_freq 1, high_freq 4 and a context of 8192; only
 * factor differs, and the slowest frequency shows it. If all the others then agree, these are the
 * parameters; if one does not, the file means something else and must not be guessed at. */
ek_status rope_from_factors(struct ek_rope_config *r, size_t rot, const float *factors,
                            const char *path, struct error *e)
{
    const size_t n    = rot / 2;
    int          ones = 1;
    for (size_t i = 0; i < n; i++) ones = ones && factors[i] == 1;
    if (ones) return EK_OK;
    struct ek_rope_config l = *r;
    l.scaling               = EK_ROPE_LLAMA3;
    l.factor                = (double)factors[n - 1];
    l.original_context = 8192, l.low_freq = 1, l.high_freq = 4;
    int agree = r->scaling == EK_ROPE_PLAIN && l.factor >= 1;
    for (size_t i = 0; i < n && agree; i++) {
        const double want = factor_of(&l, pow(l.theta, -2.0 * (double)i / (double)rot));
        agree             = fabs((double)factors[i] - want) <= 1e-4 * want;
    }
    if (!agree)
        return fail(e, EK_E_UNSUPPORTED,
                    "%s: tensor rope_freqs.weight: factors other than Llama 3's are not supported",
                    path);
    *r = l;
    return EK_OK;
}
