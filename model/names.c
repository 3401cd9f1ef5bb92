/* SPDX-License-Identifier: Apache-2.0 */
/* model/names.c - tables of tensor names: Hugging Face's, fused ones, GGUF's. */
#include "model/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the parts of a layer ---- */

enum sizes { HIDDEN, Q, KV, FFN, HEAD, ONE };
enum when { ALWAYS, QKV_BIAS, O_BIAS, MLP_BIAS, QK_NORM };

static const struct layer_part {
    const char    *name, *gguf;
    enum part_role role;
    enum part_fuse fuse;
    enum when      when;
    enum sizes     n, k;
} layer_parts[] = {
    {"input_layernorm.weight", "attn_norm.weight", PART_NORM, FUSE_NONE, ALWAYS, ONE, HIDDEN},
    {"self_attn.q_proj.weight", "attn_q.weight", PART_MATRIX, FUSE_QKV, ALWAYS, Q, HIDDEN},
    {"self_attn.k_proj.weight", "attn_k.weight", PART_MATRIX, FUSE_QKV, ALWAYS, KV, HIDDEN},
    {"self_attn.v_proj.weight", "attn_v.weight", PART_MATRIX, FUSE_QKV, ALWAYS, KV, HIDDEN},
    {"self_attn.q_proj.bias", "attn_q.bias", PART_BIAS, FUSE_QKV_BIAS, QKV_BIAS, ONE, Q},
    {"self_attn.k_proj.bias", "attn_k.bias", PART_BIAS, FUSE_QKV_BIAS, QKV_BIAS, ONE, KV},
    {"self_attn.v_proj.bias", "attn_v.bias", PART_BIAS, FUSE_QKV_BIAS, QKV_BIAS, ONE, KV},
    {"self_attn.q_norm.weight", "attn_q_norm.weight", PART_NORM, FUSE_NONE, QK_NORM, ONE, HEAD},
    {"self_attn.k_norm.weight", "attn_k_norm.weight", PART_NORM, FUSE_NONE, QK_NORM, ONE, HEAD},
    {"self_attn.o_proj.weight", "attn_output.weight", PART_MATRIX, FUSE_NONE, ALWAYS, HIDDEN, Q},
    {"self_attn.o_proj.bias", "attn_output.bias", PART_BIAS, FUSE_NONE, O_BIAS, ONE, HIDDEN},
    {"post_attention_layernorm.weight", "ffn_norm.weight", PART_NORM, FUSE_NONE, ALWAYS, ONE,
     HIDDEN},
    {"mlp.gate_proj.weight", "ffn_gate.weight", PART_MATRIX, FUSE_GATE_UP, ALWAYS, FFN, HIDDEN},
    {"mlp.up_proj.weight", "ffn_up.weight", PART_MATRIX, FUSE_GATE_UP, ALWAYS, FFN, HIDDEN},
    {"mlp.gate_proj.bias", "ffn_gate.bias", PART_BIAS, FUSE_GATE_UP_BIAS, MLP_BIAS, ONE, FFN},
    {"mlp.up_proj.bias", "ffn_up.bias", PART_BIAS, FUSE_GATE_UP_BIAS, MLP_BIAS, ONE, FFN},
    {"mlp.down_proj.weight", "ffn_down.weight", PART_MATRIX, FUSE_NONE, ALWAYS, HIDDEN, FFN},
    {"mlp.down_proj.bias", "ffn_down.bias", PART_BIAS, FUSE_NONE, MLP_BIAS, ONE, HIDDEN},
};
enum { LAYER_PARTS = sizeof layer_parts / sizeof *layer_parts };

static size_t size_of(const struct config *c, enum sizes s)
{
    switch (s) {
    case HIDDEN: return c->hidden;
    case Q: return c->heads * c->head_dim;
    case KV: return c->kv_heads * c->head_dim;
    case FFN: return c->ffn;
    case HEAD: return c->head_dim;
    case ONE: break;
    }
    return 1;
}

static int is_there(const struct config *c, enum when w)
{
    switch (w) {
    case QKV_BIAS: return c->qkv_bias;
    case O_BIAS: return c->o_bias;
    case MLP_BIAS: return c->mlp_bias;
    case QK_NORM: return c->qk_norm;
    case ALWAYS: break;
    }
    return 1;
}

ek_status parts_visit(const struct config *c, part_visit *visit, void *self)
{
    const struct part embed = {"model.embed_tokens.weight", PART_EMBED, FUSE_NONE, c->vocab,
                               c->hidden};
    const struct part norm  = {"model.norm.weight", PART_NORM, FUSE_NONE, 1, c->hidden};
    const struct part head  = {"lm_head.weight", PART_HEAD, FUSE_NONE, c->vocab, c->hidden};
    ek_status         s     = visit(self, &embed);
    for (size_t l = 0; l < c->layers && !s; l++)
        for (size_t i = 0; i < LAYER_PARTS && !s; i++) {
            const struct layer_part *from = &layer_parts[i];
            if (!is_there(c, from->when)) continue;
            struct part p = {.role = from->role, .fuse = from->fuse};
            p.n = size_of(c, from->n), p.k = size_of(c, from->k);
            snprintf(p.name, sizeof p.name, "model.layers.%zu.%s", l, from->name);
            s = visit(self, &p);
        }
    if (!s) s = visit(self, &norm);
    if (!s && !c->tied) s = visit(self, &head);
    return s;
}

/* ---- fused ---- */

size_t fuse_parts(enum part_fuse f)
{
    switch (f) {
    case FUSE_QKV:
    case FUSE_QKV_BIAS: return 3;
    case FUSE_GATE_UP:
    case FUSE_GATE_UP_BIAS: return 2;
    case FUSE_NONE: break;
    }
    return 1;
}

void fuse_name(enum part_fuse f, const char *first, char out[TENSOR_NAME_MAX])
{
    static const char *const names[] = {NULL, "self_attn.qkv_proj.weight",
                                        "mlp.gate_up_proj.weight", "self_attn.qkv_proj.bias",
                                        "mlp.gate_up_proj.bias"};
    snprintf(out, TENSOR_NAME_MAX, "%s", first);
    if (f == FUSE_NONE) return;
    static const char before[] = "model.layers.";
    if (strncmp(first, before, sizeof before - 1) != 0) return;
    snprintf(out, TENSOR_NAME_MAX, "%s%lu.%s", before, strtoul(first + sizeof before - 1, NULL, 10),
             names[f]);
}

/* ---- neurons ---- */

int neurons_name(const char *part, char out[TENSOR_NAME_MAX])
{
    static const char *const ends[] = {".mlp.up_proj.weight", ".mlp.down_proj.weight"};
    const size_t             n      = strlen(part);
    for (size_t i = 0; i < 2; i++) {
        const size_t end = strlen(ends[i]);
        if (n < end || strcmp(part + n - end, ends[i]) != 0) continue;
        snprintf(out, TENSOR_NAME_MAX, "%.*s.mlp.neurons.weight", (int)(n - end), part);
        return 1;
    }
    return 0;
}

/* ---- GGUF ---- */

int name_from_gguf(const char *name, size_t bytes, char out[TENSOR_NAME_MAX])
{
    static const char *const outer[][2] = {{"token_embd.weight", "model.embed_tokens.weight"},
                                           {"output_norm.weight", "model.norm.weight"},
                                           {"output.weight", "lm_head.weight"}};
    char                     text[TENSOR_NAME_MAX];
    if (bytes >= sizeof text) return 0;
    memcpy(text, name, bytes);
    text[bytes] = '\0';
    for (size_t i = 0; i < sizeof outer / sizeof *outer; i++)
        if (!strcmp(text, outer[i][0])) {
            snprintf(out, TENSOR_NAME_MAX, "%s", outer[i][1]);
            return 1;
        }
    if (strncmp(text, "blk.", 4) != 0) return 0;
    char               *end;
    const unsigned long layer = strtoul(text + 4, &end, 10);
    if (text[4] < '0' || text[4] > '9' || *end != '.' || layer >= LAYERS_MAX ||
        (text[4] == '0' && end != text + 5))
        return 0;
    for (size_t i = 0; i < LAYER_PARTS; i++)
        if (!strcmp(end + 1, layer_parts[i].gguf)) {
            snprintf(out, TENSOR_NAME_MAX, "model.layers.%lu.%s", layer, layer_parts[i].name);
            return 1;
        }
    return 0;
}
