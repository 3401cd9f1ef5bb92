/* SPDX-License-Identifier: Apache-2.0 */
/* model/blocks.c - the kinds of blocks: attention with its cache, the gated MLP. */
#include "model/plan.h"

#include "ek/attention.h"

#include <math.h>
#include <string.h>

static ek_status product(size_t a, size_t b, size_t size, size_t *bytes)
{
    return __builtin_mul_overflow(a, b, bytes) || __builtin_mul_overflow(*bytes, size, bytes)
               ? EK_E_OVERFLOW
               : EK_OK;
}

/* ---- attention ---- */

static ek_status attention_load(struct loader *l, struct block *b, struct error *e)
{
    static const char *const names[] = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
                             *const out_name[] = {"self_attn.o_proj"};
    const struct config            *c          = loader_config(l);
    struct attention_block         *a          = &b->attention;
    const size_t                    q = c->heads * c->head_dim, kv = c->kv_heads * c->head_dim;
    const size_t                    rows[] = {q, kv, kv};
    const struct projection_spec qkv = {names,       rows,       3, c->hidden, "self_attn.qkv_proj",
                                        c->qkv_bias, TAP_ATTN_IN};
    const struct projection_spec out = {out_name, &c->hidden, 1, q, NULL, c->o_bias, TAP_ATTN_OUT};
    a->window = c->window && b->layer >= c->window_from && b->layer < c->window_to ? c->window : 0;
    ek_status s = load_vector(l, b->layer, "input_layernorm.weight", c->hidden, &b->norm, e);
    if (!s) s = load_projection(l, b->layer, &qkv, &a->qkv, e);
    if (!s) s = load_projection(l, b->layer, &out, &a->out, e);
    if (!s && c->qk_norm)
        s = load_vector(l, b->layer, "self_attn.q_norm.weight", c->head_dim, &a->q_norm, e);
    if (!s && c->qk_norm)
        s = load_vector(l, b->layer, "self_attn.k_norm.weight", c->head_dim, &a->k_norm, e);
    return s;
}

static const struct projection *attention_projection(const struct block *b, size_t i)
{
    return i == 0 ? &b->attention.qkv : i == 1 ? &b->attention.out : NULL;
}

static struct ek_kv cache_of(const struct block *b, const struct session *s)
{
    const struct config *c = &s->model->config;
    return (struct ek_kv){.struct_size = sizeof(struct ek_kv),
                          .fmt         = s->o.kv,
                          .heads       = c->kv_heads,
                          .dim         = c->head_dim,
                          .slots       = session_ring(s, b->attention.window)->slots,
                          .data        = s->state ? s->state[b - s->model->blocks] : NULL};
}

static ek_status attention_state_bytes(const struct block *b, const struct session *s,
                                       size_t *bytes)
{
    const struct ek_kv kv = cache_of(b, s);
    return ek_kv_bytes(kv.fmt, kv.heads, kv.dim, kv.slots, bytes);
}

static struct ek_attention call_of(const struct block *b, const struct session *s,
                                   const struct ek_kv *kv, size_t m)
{
    const struct config *c    = &s->model->config;
    const struct ring   *ring = session_ring(s, b->attention.window);
    return (struct ek_attention){.struct_size = sizeof(struct ek_attention),
                                 .kv          = kv,
                                 .kv_pos      = ring->pos,
                                 .used        = ring->used,
                                 .m           = m,
                                 .heads       = c->heads,
                                 .ldq         = b->attention.qkv.n,
                                 .ldy         = c->heads * c->head_dim,
                                 .window      = ring->window,
                                 .sinks       = ring->sinks,
                                 .scale       = 1.0f / sqrtf((float)c->head_dim)};
}

/* [m][q and k and v], [m][heads * dim], then what ek_attention asks for. */
static ek_status attention_work_bytes(const struct block *b, const struct session *s, size_t m,
                                      size_t *bytes)
{
    const struct config *c  = &s->model->config;
    const struct ek_kv   kv = cache_of(b, s);
    struct ek_attention  a  = call_of(b, s, &kv, m);
    size_t               qkv, out, own;
    a.used        = kv.slots;
    ek_status err = product(m, b->attention.qkv.n, sizeof(float), &qkv);
    if (!err) err = product(m, c->heads * c->head_dim, sizeof(float), &out);
    if (!err) err = ek_attention_work_bytes(&s->model->kernels, &a, s->o.pool, &own);
    if (!err) *bytes = whole_lines(qkv) + whole_lines(out) + own;
    return err;
}

/* Norms and rotates the queries and keys of tokens. */
struct rotate_task {
    const struct block *b;
    const struct pass  *p;
    float              *qkv;
};

static void rotate_tokens(void *task, size_t begin, size_t end)
{
    const struct rotate_task     *r = task;
    const struct session         *s = r->p->s;
    const struct config          *c = &s->model->config;
    const struct attention_block *a = &r->b->attention;
    const struct ek_kernels      *t = &s->model->kernels;
    for (size_t i = begin; i < end; i++) {
        float *row[] = {r->qkv + i * a->qkv.n, r->qkv + i * a->qkv.n + c->heads * c->head_dim};
        const float *norm[]  = {a->q_norm, a->k_norm};
        const size_t heads[] = {c->heads, c->kv_heads};
        for (int j = 0; j < 2; j++) {
            if (norm[j])
                t->rmsnorm[EK_FMT_f32]->fn.rmsnorm(
                    &(struct ek_rmsnorm_args){row[j], norm[j], row[j], c->head_dim, c->rms_eps}, 0,
                    heads[j]);
            t->rope[EK_FMT_f32]->fn.rope(&(struct ek_rope_args){.x           = row[j],
                                                                .y           = row[j],
                                                                .cos         = s->cos,
                                                                .sin         = s->sin,
                                                                .pos         = r->p->pos + i,
                                                                .heads       = heads[j],
                                                                .dim         = c->head_dim,
                                                                .rot         = c->rot,
                                                                .interleaved = c->rope_interleaved},
                                         0, heads[j]);
        }
    }
}

static ek_status attention_run(const struct block *b, struct pass *p, const float *x, float *y)
{
    struct session               *s  = p->s;
    const struct config          *c  = &s->model->config;
    const struct attention_block *w  = &b->attention;
    const struct ek_kernels      *t  = &s->model->kernels;
    const struct ring            *r  = session_ring(s, w->window);
    const struct ek_kv            kv = cache_of(b, s);
    const size_t                  ld = w->qkv.n, q = c->heads * c->head_dim;
    const size_t                  qkv_bytes = whole_lines(p->m * ld * sizeof(float)),
                 out_bytes                  = whole_lines(p->m * q * 4);
    float *qkv = p->work, *out = (float *)(void *)((char *)p->work + qkv_bytes);

    pass_tap(p, TAP_ATTN_IN, b->layer, x, p->m, c->hidden, c->hidden);
    ek_status err = projection_run(p, &w->qkv, x, c->hidden, qkv, ld);
    if (err) return err;
    struct rotate_task task = {b, p, qkv};
    const ek_pool     *pool = pass_pool(p, p->m * ld);
    ek_parallel(pool, p->m, 1, rotate_tokens, &task);

    int32_t *slot = s->slot;
    for (size_t i = 0; i < p->m; i++) slot[i] = ring_slot(r, (size_t)p->pos[i]);
    err = ek_kv_store(t, pool, &kv, qkv + q, qkv + q + c->kv_heads * c->head_dim, ld, p->m, slot);
    if (err) return err;
    struct ek_attention a = call_of(b, s, &kv, p->m);
    a.q = qkv, a.q_pos = p->pos, a.y = out;
    err = ek_attention(t, s->o.pool, &a, (char *)p->work + qkv_bytes + out_bytes,
                       p->work_bytes - qkv_bytes - out_bytes);
    if (err) return err;
    pass_tap(p, TAP_ATTN_OUT, b->layer, out, p->m, q, q);
    return projection_run(p, &w->out, out, q, y, c->hidden);
}

const struct block_kind block_attention = {
    .name        = "attention",
    .cut         = CUT_ATTENTION,
    .load        = attention_load,
    .projection  = attention_projection,
    .state_bytes = attention_state_bytes,
    .work_bytes  = attention_work_bytes,
    .run         = attention_run,
};

/* ---- gated MLP ---- */

/* Tokens whose gates and ups are held at once: the largest buffer of all, 4 bytes x 2 ffn each. */
enum { GATED_TOKENS = 256 };

static ek_status gated_load(struct loader *l, struct block *b, struct error *e)
{
    static const char *const     names[]     = {"mlp.gate_proj", "mlp.up_proj"};
    static const char *const     down_name[] = {"mlp.down_proj"};
    const struct config         *c           = loader_config(l);
    const size_t                 rows[]      = {c->ffn, c->ffn};
    const struct projection_spec gate_up     = {
            names, rows, 2, c->hidden, "mlp.gate_up_proj", c->mlp_bias, TAP_MLP_IN};
    const struct projection_spec down = {down_name,   &c->hidden,    1, c->ffn, NULL,
                                         c->mlp_bias, TAP_MLP_HIDDEN};
    ek_status                    s =
        load_vector(l, b->layer, "post_attention_layernorm.weight", c->hidden, &b->norm, e);
    if (!s) s = load_projection(l, b->layer, &gate_up, &b->gated.gate_up, e);
    if (!s) s = load_projection(l, b->layer, &down, &b->gated.down, e);
    return s;
}

const struct projection *gated_projection(const struct block *b, size_t i)
{
    return i == 0 ? &b->gated.gate_up : i == 1 ? &b->gated.down : NULL;
}

ek_status gated_state_bytes(const struct block *b, const struct session *s, size_t *bytes)
{
    (void)b, (void)s;
    *bytes = 0;
    return EK_OK;
}

static ek_status gated_work_bytes(const struct block *b, const struct session *s, size_t m,
                                  size_t *bytes)
{
    (void)s;
    return product(m < GATED_TOKENS ? m : GATED_TOKENS, b->gated.gate_up.n, sizeof(float), bytes);
}

/* Items: groups of GATE_ITEM elements of all tokens' gates. */
enum { GATE_ITEM = 256 };

struct gate_task {
    const struct ek_kernel  *k;
    const struct gated_rows *g;
    enum ek_act_kind         act;
};

static void gate_range(void *task, size_t begin, size_t end)
{
    const struct gate_task  *t   = task;
    const struct gated_rows *g   = t->g;
    const size_t             per = (g->n + GATE_ITEM - 1) / GATE_ITEM;
    while (begin < end) {
        const size_t token = begin / per, first = begin % per;
        const size_t count = at_most(end - begin, per - first);
        const float *up    = g->up ? g->up + token * g->ld_up : NULL;
        t->k->fn.act(
            &(struct ek_act_args){g->gate + token * g->ld_gate, up, g->y + token * g->ld_y, t->act},
            first * GATE_ITEM, at_most((first + count) * GATE_ITEM, g->n));
        begin += count;
    }
}

void gated_activate(const struct pass *p, const struct gated_rows *g)
{
    const struct model *m     = p->s->model;
    struct gate_task    task  = {m->kernels.act[EK_FMT_f32], g, m->config.act};
    const size_t        items = g->m * ((g->n + GATE_ITEM - 1) / GATE_ITEM);
    const ek_pool      *pool  = pass_pool(p, g->m * g->n * 4); /* an exponential costs four adds */
    ek_parallel(pool, items, 8, gate_range, &task);
}

static ek_status gated_tokens(const struct block *b, struct pass *p, const float *x, float *y)
{
    const struct config *c  = &p->s->model->config;
    const size_t         ld = 2 * c->ffn;
    float               *gu = p->work;
    pass_tap(p, TAP_MLP_IN, b->layer, x, p->m, c->hidden, c->hidden);
    ek_status err = projection_run(p, &b->gated.gate_up, x, c->hidden, gu, ld);
    if (err) return err;
    pass_tap(p, TAP_MLP_GATE, b->layer, gu, p->m, c->ffn, ld);
    gated_activate(p, &(struct gated_rows){gu, gu + c->ffn, gu, p->m, c->ffn, ld, ld, ld});
    pass_tap(p, TAP_MLP_HIDDEN, b->layer, gu, p->m, c->ffn, ld);
    return projection_run(p, &b->gated.down, gu, ld, y, c->hidden);
}

ek_status gated_pieces(const struct block *b, struct pass *p, const float *x, float *y, size_t most,
                       gated_run_fn *run)
{
    const size_t hidden = p->s->model->config.hidden;
    ek_status    err    = EK_OK;
    struct pass  part   = *p;
    for (size_t t = 0; !err && t < p->m; t += part.m) {
        part.m = at_most(p->m - t, most);
        err    = run(b, &part, x + t * hidden, y + t * hidden);
    }
    return err;
}

static ek_status gated_run(const struct block *b, struct pass *p, const float *x, float *y)
{
    return gated_pieces(b, p, x, y, GATED_TOKENS, gated_tokens);
}

const struct block_kind block_gated = {
    .name        = "gated MLP",
    .cut         = CUT_MLP,
    .load        = gated_load,
    .projection  = gated_projection,
    .state_bytes = gated_state_bytes,
    .work_bytes  = gated_work_bytes,
    .run         = gated_run,
};
