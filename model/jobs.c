/* SPDX-License-Identifier: Apache-2.0 */
/* model/jobs.c - decides the tensors of a written model. */
#include "model/jobs.h"

#include "ek/sparse.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rule {
    pcre2_code *code;
    int         fmt, used;
};

struct planner {
    struct job_list              *plan;
    const struct source          *source;
    const struct convert_options *o;
    struct rule                  *rules;
    pcre2_match_data             *match;
    struct part                   group[JOB_PARTS]; /* q, k, v or gate, up so far */
    size_t                        grouped;
    int                           fused[FUSE_GATE_UP_BIAS + 1]; /* the last group of each kind */
    size_t                        room;
    struct error                 *e;
};

/* ---- formats ---- */

static ek_status compile_rules(struct planner *p)
{
    p->rules = calloc(p->o->rule_count + 1, sizeof *p->rules);
    if (!p->rules) return fail(p->e, EK_E_NOMEM, "out of memory");
    for (size_t i = 0; i < p->o->rule_count; i++) {
        const struct convert_rule *r = &p->o->rules[i];
        int                        number;
        PCRE2_SIZE                 at;
        PCRE2_UCHAR                why[120];
        p->rules[i].fmt = r->fmt;
        p->rules[i].code =
            pcre2_compile((PCRE2_SPTR)r->regex, PCRE2_ZERO_TERMINATED, 0, &number, &at, NULL);
        if (p->rules[i].code) continue;
        pcre2_get_error_message(number, why, sizeof why);
        return fail(p->e, EK_E_ARG, "keep %s: at %zu: %s", r->regex, (size_t)at, (char *)why);
    }
    p->match = pcre2_match_data_create(1, NULL);
    return p->match ? EK_OK : fail(p->e, EK_E_NOMEM, "out of memory");
}

static struct rule *rule_for(struct planner *p, const char *name)
{
    for (size_t i = 0; i < p->o->rule_count; i++)
        if (pcre2_match(p->rules[i].code, (PCRE2_SPTR)name, strlen(name), 0, 0, p->match, NULL) >=
            0)
            return &p->rules[i];
    return NULL;
}

static ek_status check_rules(const struct planner *p)
{
    for (size_t i = 0; i < p->o->rule_count; i++)
        if (!p->rules[i].used)
            return fail(p->e, EK_E_ARG, "keep %s: matches no tensor, or only what another has",
                        p->o->rules[i].regex);
    return EK_OK;
}

static int type_of(const struct convert_options *o, enum part_role role)
{
    const int head = o->head == CONVERT_DEFAULT ? o->type : o->head;
    if (role == PART_HEAD) return head;
    if (role == PART_EMBED) return o->embed == CONVERT_DEFAULT ? o->type : o->embed;
    return role == PART_MATRIX ? o->type : EK_FMT_f32;
}

/* The tensor that a part comes from: itself, or the one it is already fused into. */
static const struct tensor *tensor_of(const struct planner *p, const struct part *part)
{
    char                 name[TENSOR_NAME_MAX];
    const struct tensor *t = p->source ? source_find(p->source, part->name) : NULL;
    if (t || !p->source) return t;
    if (part->role == PART_HEAD) return source_find(p->source, "model.embed_tokens.weight");
    fuse_name(part->fuse, part->name, name);
    return source_find(p->source, name);
}

static ek_status format_of(struct planner *p, const struct part *part, enum ek_fmt *fmt)
{
    struct rule         *r    = rule_for(p, part->name);
    const struct tensor *t    = tensor_of(p, part);
    int                  type = r ? r->fmt : type_of(p->o, part->role), exact;
    if (r) r->used = 1;
    if (type == CONVERT_SAME) type = t ? (int)tensor_format(t, &exact) : EK_FMT_bf16;
    *fmt             = (enum ek_fmt)type;
    const int vector = part->role == PART_NORM || part->role == PART_BIAS;
    if (vector && ek_fmt_info(*fmt)->layout != EK_LAYOUT_ROWS)
        return fail(p->e, EK_E_ARG, "keep: %s: vectors can only be floats", part->name);
    return EK_OK;
}

/* ---- jobs ---- */

static ek_status add_job(struct planner *p, const struct part *first, size_t parts, enum ek_fmt fmt)
{
    struct job_list *plan = p->plan;
    if (plan->count == p->room) {
        const size_t room = p->room ? 2 * p->room : 64;
        struct job  *more = realloc(plan->jobs, room * sizeof *more);
        if (!more) return fail(p->e, EK_E_NOMEM, "out of memory");
        plan->jobs = more, p->room = room;
    }
    struct job *j = &plan->jobs[plan->count++];
    *j = (struct job){.role = first->role, .fmt = fmt, .n = 0, .k = first->k, .parts = parts};
    memcpy(j->name, first->name, sizeof j->name);
    if (parts > 1) fuse_name(first->fuse, first->name, j->name);
    const int bias = first->role == PART_BIAS; /* its parts lie along k */
    j->k           = bias ? 0 : first->k;
    for (size_t i = 0; i < parts; i++) {
        j->from[i] = tensor_of(p, &first[i]);
        j->rows[i] = bias ? first[i].k : first[i].n;
        j->n += bias ? 0 : first[i].n;
        j->k += bias ? first[i].k : 0;
    }
    if (bias) j->n = 1;
    return EK_OK;
}

/* The source has these parts in one tensor already: that stays so. */
static ek_status add_fused(struct planner *p, const struct part *first, enum ek_fmt fmt)
{
    const struct tensor *t     = tensor_of(p, first);
    struct part          whole = *first;
    whole.n = t->n, whole.k = t->k;
    fuse_name(first->fuse, first->name, whole.name);
    return add_job(p, &whole, 1, fmt);
}

/* ---- neurons ---- */

/* The down matrix that belongs to an up matrix. */
static void down_of(const struct planner *p, const struct part *up, struct part *down)
{
    const struct config *c    = &p->plan->config;
    const size_t         stem = strlen(up->name) - strlen("up_proj.weight");
    *down = (struct part){.role = PART_MATRIX, .fuse = FUSE_NONE, .n = c->hidden, .k = c->ffn};
    snprintf(down->name, sizeof down->name, "%.*sdown_proj.weight", (int)stem, up->name);
}

/* gate stays a matrix; up and down become one tensor. */
static ek_status add_neurons(struct planner *p)
{
    const struct part *gate = &p->group[0], *up = &p->group[1];
    struct part        down, all                = *up;
    enum ek_fmt        fmt[3] = {EK_FMT_f32};
    down_of(p, up, &down);
    ek_status bad = format_of(p, gate, &fmt[0]);
    if (!bad) bad = format_of(p, up, &fmt[1]);
    if (!bad) bad = format_of(p, &down, &fmt[2]);
    if (!bad && fmt[1] != fmt[2])
        bad = fail(p->e, EK_E_ARG, "keep: neurons: %s and %s have one format", up->name, down.name);
    if (!bad && !ek_neuron_width(fmt[1], 1))
        bad = fail(p->e, EK_E_ARG, "%s: neurons are f32, f16, bf16, q8 or q4, not %s", up->name,
                   ek_fmt_info(fmt[1])->name);
    neurons_name(up->name, all.name);
    all.role = PART_NEURONS;
    if (!bad) bad = add_job(p, gate, 1, fmt[0]);
    if (!bad) bad = add_job(p, &all, 1, fmt[1]);
    if (bad) return bad;
    struct job *j = &p->plan->jobs[p->plan->count - 1];
    j->parts      = 2;
    j->from[0] = tensor_of(p, up), j->from[1] = tensor_of(p, &down);
    j->rows[1] = down.n;
    if (j->from[0] && j->from[0]->n == 2 * up->n) j->first[0] = up->n; /* fused in the source */
    return EK_OK;
}

/* Panels of 16 rows belong to one part each; biases follow their matrices. */
static int can_fuse(const struct planner *p, const enum ek_fmt *fmt)
{
    const struct part *g = p->group;
    for (size_t i = 1; i < p->grouped; i++)
        if (fmt[i] != fmt[0]) return 0;
    if (g->fuse == FUSE_QKV_BIAS) return p->fused[FUSE_QKV];
    if (g->fuse == FUSE_GATE_UP_BIAS) return p->fused[FUSE_GATE_UP];
    for (size_t i = 0; i + 1 < p->grouped; i++)
        if (g[i].n % EK_PANEL_ROWS) return 0;
    return 1;
}

static ek_status add_group(struct planner *p)
{
    const struct part *g              = p->group;
    enum ek_fmt        fmt[JOB_PARTS] = {EK_FMT_f32};
    ek_status          bad            = EK_OK;
    if (p->o->neurons && g->fuse == FUSE_GATE_UP) return add_neurons(p);
    for (size_t i = 0; i < p->grouped && !bad; i++) bad = format_of(p, &g[i], &fmt[i]);
    if (bad) return bad;
    const struct tensor *t = tensor_of(p, g);
    if (t && tensor_of(p, g + 1) == t) {
        for (size_t i = 1; i < p->grouped; i++)
            if (fmt[i] != fmt[0])
                return fail(p->e, EK_E_ARG, "keep: %s is part of %s", g[i].name, t->name);
        p->fused[g->fuse] = 1;
        return add_fused(p, g, fmt[0]);
    }
    p->fused[g->fuse] = can_fuse(p, fmt);
    if (p->fused[g->fuse]) return add_job(p, g, p->grouped, fmt[0]);
    for (size_t i = 0; i < p->grouped && !bad; i++) bad = add_job(p, &g[i], 1, fmt[i]);
    return bad;
}

static ek_status add_part(void *self, const struct part *part)
{
    struct planner *p = self;
    enum ek_fmt     fmt;
    char            neurons[TENSOR_NAME_MAX];
    if (p->o->neurons && part->fuse == FUSE_NONE && neurons_name(part->name, neurons))
        return EK_OK; /* down: went with up */
    if (part->fuse != FUSE_NONE) {
        p->group[p->grouped++] = *part;
        if (p->grouped < fuse_parts(part->fuse)) return EK_OK;
        const ek_status bad = add_group(p);
        p->grouped          = 0;
        return bad;
    }
    const ek_status bad = format_of(p, part, &fmt);
    return bad ? bad : add_job(p, part, 1, fmt);
}

/* A tied matrix is stored once, in the head's format, unless the embedding is to have another. */
static void settle_tied(struct job_list *p, struct convert_options *o)
{
    if (!p->config.tied) return;
    const int head = o->head == CONVERT_DEFAULT ? o->type : o->head;
    if (o->embed == CONVERT_DEFAULT) o->embed = head;
    if (o->embed != head) p->config.tied = 0;
}

ek_status jobs_plan(struct job_list *p, const struct config *c, const struct source *s,
                    const struct convert_options *o, struct error *e)
{
    *p                             = (struct job_list){.config = *c};
    struct convert_options settled = *o;
    settle_tied(p, &settled);
    struct planner work = {.plan = p, .source = s, .o = &settled, .e = e};
    ek_status      bad  = compile_rules(&work);
    if (!bad && o->neurons && c->mlp_bias)
        bad = fail(e, EK_E_UNSUPPORTED, "neurons: the MLPs of %s have biases", c->arch);
    if (!bad) bad = parts_visit(&p->config, add_part, &work);
    if (!bad) bad = check_rules(&work);
    for (size_t i = 0; work.rules && i < o->rule_count; i++) pcre2_code_free(work.rules[i].code);
    pcre2_match_data_free(work.match);
    free(work.rules);
    if (bad) jobs_free(p);
    return bad;
}

void jobs_free(struct job_list *p)
{
    free(p->jobs);
    p->jobs  = NULL;
    p->count = 0;
}
