/* SPDX-License-Identifier: Apache-2.0 */
/* model/session.c - caches and buffers of one text. */
#include "model/file.h"
#include "model/plan.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    LINE  = 64,
    PANEL = 16, /* slots that a cache lays out together                     */
};

/* ---- rings ---- */

static size_t round_up(size_t x, size_t to)
{
    return (x + to - 1) / to * to;
}
static size_t max(size_t a, size_t b)
{
    return a > b ? a : b;
}

const struct ring *session_ring(const struct session *s, size_t window)
{
    return &s->rings[window != 0];
}

int32_t ring_slot(const struct ring *r, size_t pos)
{
    const size_t turn = r->slots - r->sinks;
    return (int32_t)(pos < r->slots ? pos : r->sinks + (pos - r->sinks) % turn);
}

/* A window's ring holds a batch more than the window: the first token of a batch still sees what
 * its last one overwrites. */
static void plan_rings(struct session *s)
{
    const struct config          *c = &s->model->config;
    const struct session_options *o = &s->o;
    s->rings[0]                     = (struct ring){.slots = round_up(o->context, PANEL)};
    s->rings[1]                     = (struct ring){.window = c->window, .sinks = o->sinks};
    s->rings[1].slots =
        round_up(at_most(o->context, at_most(c->window, o->context) + o->sinks + o->batch), PANEL);
}

static void ring_put(struct ring *r, size_t pos, size_t n)
{
    for (size_t i = pos; i < pos + n; i++) {
        const size_t slot = (size_t)ring_slot(r, i);
        r->pos[slot]      = (int32_t)i;
        r->used           = max(r->used, slot + 1);
    }
}

/* Is every position that one at length would see still there? */
static int ring_can_truncate(const struct ring *r, size_t from, size_t length)
{
    if (!r->window || from <= r->slots || length == 0) return 1;
    const size_t lost  = from - (r->slots - r->sinks); /* positions [sinks, lost) are gone */
    const size_t first = length >= r->window ? length - r->window + 1 : 0;
    return max(first, r->sinks) >= lost || lost <= r->sinks;
}

static void ring_truncate(struct ring *r, size_t length)
{
    size_t used = 0;
    for (size_t i = 0; i < r->used; i++) {
        if (r->pos[i] >= (int32_t)length) r->pos[i] = -1;
        if (r->pos[i] >= 0) used = i + 1;
    }
    r->used = used;
}

/* ---- planning ---- */

static ek_status plan_options(struct session *s, const struct model *m,
                              const struct session_options *o, struct error *e)
{
    const struct config *c = &m->config;
    s->model               = m;
    if (o) s->o = *o;
    if (!s->o.context) s->o.context = at_most(c->context ? c->context : SIZE_MAX, SESSION_CONTEXT);
    if (s->o.context > INT32_MAX / 2)
        return fail(e, EK_E_ARG, "%s: a context of %zu is too long", m->source->path, s->o.context);
    if (!s->o.batch) s->o.batch = SESSION_BATCH;
    s->o.batch = at_most(s->o.batch, s->o.context);
    s->o.sinks = at_most(s->o.sinks, s->o.context);
    plan_rings(s);
    return EK_OK;
}

static ek_status grow_linear(const struct session *s, const struct projection *p, size_t m,
                             size_t *most)
{
    const struct ek_linear_options o = session_linear_options(s);
    for (size_t i = 0; i < p->parts; i++) {
        size_t          bytes;
        const ek_status err = ek_linear_work_bytes(&p->part[i], m, s->o.pool, &o, &bytes);
        if (err) return err;
        *most = max(*most, bytes);
    }
    size_t          columns;
    const ek_status err = columns_work_bytes(p, m, &columns);
    *most               = max(*most, columns);
    return err;
}

/* Working memory of a step of m tokens: what linear needs, then what the neediest block needs. */
static ek_status grow_work(struct session *s, size_t m)
{
    size_t    own = 0;
    ek_status err = grow_linear(s, &s->model->head, m, &s->linear_bytes);
    if (!err) err = grow_linear(s, &s->model->short_head.slice, m, &s->linear_bytes);
    for (size_t i = 0; !err && i < s->model->block_count; i++) {
        const struct block      *b = &s->model->blocks[i];
        const struct projection *p;
        size_t                   bytes;
        for (size_t j = 0; !err && (p = b->kind->projection(b, j)); j++)
            err = grow_linear(s, p, m, &s->linear_bytes);
        if (!err) err = b->kind->work_bytes(b, s, m, &bytes);
        if (!err) own = max(own, bytes);
    }
    s->work_bytes = max(s->work_bytes, round_up(own, LINE));
    return err;
}

/* Takes bytes from the arena; adds up only while there is none. */
static void *take(struct session *s, size_t *at, size_t bytes)
{
    void *p = s->arena ? (char *)s->arena + *at : NULL;
    *at += round_up(bytes, LINE);
    return p;
}

static ek_status plan_work(struct session *s)
{
    ek_status err = EK_OK;
    for (size_t m = 1; !err && m <= at_most(s->o.batch, EK_GEMV_MAX_M); m++) err = grow_work(s, m);
    if (!err) err = grow_work(s, s->o.batch);
    size_t head = 0;
    if (!err) err = head_work_bytes(s, &head);
    s->work_bytes   = max(s->work_bytes, round_up(head, LINE));
    s->linear_bytes = round_up(s->linear_bytes, LINE);
    return err;
}

/* Lays everything but the caches out; returns the bytes. */
static size_t lay_out(struct session *s)
{
    const struct config *c    = &s->model->config;
    const size_t         rows = s->o.batch * c->hidden * sizeof(float);
    const size_t         rope = s->o.context * (c->rot / 2) * sizeof(float);
    size_t               at   = 0;
    s->x                      = take(s, &at, rows);
    s->h                      = take(s, &at, rows);
    s->y                      = take(s, &at, rows);
    s->cos = take(s, &at, rope), s->sin = take(s, &at, rope);
    s->pos  = take(s, &at, s->o.batch * sizeof(int32_t));
    s->slot = take(s, &at, s->o.batch * sizeof(int32_t));
    for (int i = 0; i < 2; i++) s->rings[i].pos = take(s, &at, s->rings[i].slots * sizeof(int32_t));
    s->work = take(s, &at, s->linear_bytes + s->work_bytes);
    return at;
}

static ek_status plan_caches(struct session *s, size_t *bytes_of, uint64_t *total)
{
    for (size_t i = 0; i < s->model->block_count; i++) {
        const struct block *b = &s->model->blocks[i];
        size_t              bytes;
        const ek_status     err = b->kind->state_bytes(b, s, &bytes);
        if (err) return err;
        if (bytes_of) bytes_of[i] = bytes;
        *total += round_up(bytes, LINE);
    }
    return EK_OK;
}

ek_status session_bytes(const struct model *m, const struct session_options *o, uint64_t *kv_bytes,
                        uint64_t *work_bytes, struct error *e)
{
    struct session s   = {0};
    uint64_t       kv  = 0;
    ek_status      err = plan_options(&s, m, o, e);
    if (err) return err;
    err = plan_caches(&s, NULL, &kv);
    if (!err) err = plan_work(&s);
    if (err) return fail(e, err, "%s: session: %s", m->source->path, ek_status_text(err));
    *kv_bytes = kv, *work_bytes = lay_out(&s) + m->config.vocab * sizeof(float);
    return EK_OK;
}

/* ---- opening ---- */

/* Zeroed, on huge pages where the system has them; untouched pages cost nothing. */
static void *map_bytes(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return NULL;
    want_huge_pages(p, bytes);
    return p;
}

static ek_status open_caches(struct session *s)
{
    const size_t n        = s->model->block_count;
    size_t      *bytes_of = calloc(n + 1, sizeof *bytes_of);
    s->state              = calloc(n + 1, sizeof *s->state); /* the last: the whole mapping */
    if (!bytes_of || !s->state) {
        free(bytes_of);
        return EK_E_NOMEM;
    }
    ek_status err = plan_caches(s, bytes_of, &s->kv_bytes);
    char     *p   = err ? NULL : map_bytes(s->kv_bytes ? s->kv_bytes : 1);
    if (!err && !p) err = EK_E_NOMEM;
    s->state[n] = p;
    for (size_t i = 0; !err && i < n; i++) {
        s->state[i] = p;
        p += round_up(bytes_of[i], LINE);
    }
    free(bytes_of);
    return err;
}

static ek_status open_buffers(struct session *s)
{
    ek_status err = plan_work(s);
    if (err) return err;
    s->arena = map_bytes(lay_out(s));
    if (!s->arena) return EK_E_NOMEM;
    lay_out(s);
    for (int i = 0; i < 2; i++) memset(s->rings[i].pos, 0xFF, s->rings[i].slots * sizeof(int32_t));
    return ek_rope_table(&s->model->config.rope, s->model->config.rot, 0, s->o.context, s->cos,
                         s->sin);
}

/* A file tier for all MLPs that are sparse. */
static ek_status open_tier(struct session *s, struct error *e)
{
    const struct model *m      = s->model;
    const char         *path   = m->source->path;
    struct tier_layer  *layers = calloc(m->block_count + 1, sizeof *layers);
    struct tier_options o      = {.budget = s->o.weight_cache, .layers = layers};
    if (!layers) return fail(e, EK_E_NOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < m->block_count; i++) {
        const struct block *b = &m->blocks[i];
        if (b->kind == &block_sparse && b->gated.stored)
            layers[o.count++] = (struct tier_layer){b->layer, b->gated.stored};
    }
    ek_status err = EK_OK;
    if (!m->thresholds.value[TAP_MLP_GATE])
        err = fail(e, EK_E_ARG, "%s: a weight cache is for sparse MLPs: --sparse", path);
    else if (!o.count)
        err = fail(e, EK_E_ARG, "%s: a weight cache needs stored neurons: ek convert --neurons",
                   path);
    if (!err) {
        o.path = layers[0].neurons->file;
        err    = tier_open(&s->tier, &o, e);
    }
    free(layers);
    return err;
}

ek_status session_open(struct session **out, const struct model *m, const struct session_options *o,
                       struct error *e)
{
    struct session *s = calloc(1, sizeof *s);
    if (!s) return fail(e, EK_E_NOMEM, "%s: out of memory", m->source->path);
    ek_status err = plan_options(s, m, o, e);
    if (!err) {
        err = open_caches(s);
        if (!err) err = open_buffers(s);
        if (err) fail(e, err, "%s: session: %s", m->source->path, ek_status_text(err));
    }
    if (!err && s->o.weight_cache) err = open_tier(s, e);
    if (err) {
        session_close(s);
        return err;
    }
    *out = s;
    return EK_OK;
}

void session_close(struct session *s)
{
    if (!s) return;
    tier_close(s->tier);
    if (s->arena) {
        void *arena = s->arena;
        s->arena    = NULL;
        munmap(arena, lay_out(s));
    }
    if (s->state && s->state[s->model->block_count])
        munmap(s->state[s->model->block_count], s->kv_bytes ? s->kv_bytes : 1);
    free(s->state);
    free(s->logits);
    free(s);
}

static ek_status run_step(struct session *s, const int32_t *ids, size_t m, size_t rows,
                          float *logits)
{
    struct pass p = {.s          = s,
                     .m          = m,
                     .pos        = s->pos,
                     .work       = (char *)s->work + s->linear_bytes,
                     .work_bytes = s->work_bytes};
    for (size_t i = 0; i < m; i++) s->pos[i] = (int32_t)(s->length + i);
    ring_put(&s->rings[0], s->length, m);
    ring_put(&s->rings[1], s->length, m);
    const ek_status err = forward(&p, ids, rows, logits);
    if (!err) s->length += m;
    return err;
}

static ek_status grow_logits(struct session *s, size_t rows)
{
    if (rows <= s->logits_rows) return EK_OK;
    size_t bytes;
    if (__builtin_mul_overflow(rows, s->model->config.vocab * sizeof(float), &bytes))
        return EK_E_OVERFLOW;
    float *p = realloc(s->logits, bytes);
    if (!p) return EK_E_NOMEM;
    s->logits = p, s->logits_rows = rows;
    return EK_OK;
}

static ek_status check_ids(const struct session *s, const int32_t *ids, size_t n, struct error *e)
{
    const char *path = s->model->source->path;
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= s->model->config.vocab)
            return fail(e, EK_E_ARG, "%s: token id %d is not in [0, %zu)", path, (int)ids[i],
                        s->model->config.vocab);
    if (n > s->o.context - s->length)
        return fail(e, EK_E_OVERFLOW, "%s: %zu tokens do not fit: %zu of %zu are in use", path, n,
                    s->length, s->o.context);
    return EK_OK;
}

ek_status session_eval(struct session *s, const int32_t *ids, size_t n, enum logits_wanted wanted,
                       const float **logits, struct error *e)
{
    const char  *path = s->model->source->path;
    const size_t rows = wanted == LOGITS_ALL ? n : wanted == LOGITS_LAST;
    if (!n || (wanted == LOGITS_ALL && n > s->o.batch))
        return fail(e, EK_E_ARG, "%s: logits of %zu tokens at once; the batch is %zu", path, n,
                    s->o.batch);
    ek_status err = check_ids(s, ids, n, e);
    if (err) return err;
    const size_t before = s->length;
    err                 = grow_logits(s, rows);
    for (size_t at = 0; !err && at < n;) {
        const size_t m = at_most(n - at, s->o.batch);
        err            = run_step(s, ids + at, m, at + m == n ? rows : 0, s->logits);
        at += m;
    }
    if (err) {
        (void)session_truncate(s, before);
        if (s->tier && err == EK_E_IO) return fail(e, err, "%s", tier_error(s->tier)->text);
        return fail(e, err, "%s: %s", path, ek_status_text(err));
    }
    if (logits) *logits = s->logits;
    return EK_OK;
}

const struct session_options *session_settings(const struct session *s)
{
    return &s->o;
}

void session_head_top(struct session *s, size_t top)
{
    s->head_top = top <= EK_HEAD_TOP_MAX ? top : 0;
}

struct head_reading session_head_read(const struct session *s)
{
    return (struct head_reading){s->head_calls, s->head_full, s->head_counts.bytes,
                                 s->head_seconds};
}

void session_neurons(const struct session *s, uint64_t *of, uint64_t *taken)
{
    *of = s->neurons, *taken = s->neurons_taken;
}

void session_gates(const struct session *s, uint64_t *of, uint64_t *read)
{
    *of = s->gates, *read = s->gates_read;
}

int session_weight_cache(const struct session *s, struct tier_counts *counts)
{
    if (s->tier) tier_count(s->tier, counts);
    return s->tier != NULL;
}

size_t session_length(const struct session *s)
{
    return s->length;
}

ek_status session_truncate(struct session *s, size_t length)
{
    if (length > s->length || !ring_can_truncate(&s->rings[1], s->length, length)) return EK_E_ARG;
    ring_truncate(&s->rings[0], length);
    ring_truncate(&s->rings[1], length);
    s->length = length;
    return EK_OK;
}

void session_kv_used(const struct session *s, uint64_t *used, uint64_t *total)
{
    *total       = s->kv_bytes;
    uint64_t sum = 0;
    for (size_t i = 0; i < s->model->block_count; i++) {
        const struct block *b = &s->model->blocks[i];
        size_t              bytes;
        if (b->kind->state_bytes(b, s, &bytes) || !bytes) continue;
        const struct ring *r = session_ring(s, b->attention.window);
        sum += (uint64_t)((double)bytes * (double)r->used / (double)r->slots);
    }
    *used = sum;
}
