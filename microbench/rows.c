/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/rows.c - presets times kernels times threads; one timed call. */
#include "microbench/rows.h"

#include "microbench/peers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct preset {
    const char             *name;
    enum ek_op              op;
    enum ek_fmt             fmt;
    const struct composite *composite; /* or NULL */
    struct ek_shape         shape;
    int                     cold, quick;
};

static const struct preset presets[] = {
#define EK_PRESET(preset, op_, fmt_, n, k, m, per_token, cold_, quick_)                            \
    {#preset, EK_OP_##op_, EK_FMT_##fmt_, NULL, {{n, k, m, per_token}}, cold_, quick_},
#define EK_COMPOSITE(preset, op_, fmt_, cold_, quick_, ...)                                        \
    {#preset, EK_OP_COUNT, EK_FMT_##fmt_, &composite_##op_, {{__VA_ARGS__}}, cold_, quick_},
#include "microbench/presets.def"
#undef EK_COMPOSITE
#undef EK_PRESET
};
enum { PRESETS = sizeof presets / sizeof *presets };

/* ---- selection ---- */

/* Is this the kernel --isa asks for? "avx512" is the best row of that level, "avx512_vnni" that
 * one. */
static int isa_matches(const struct ek_kernel *k, const char *isa)
{
    char full[64];
    snprintf(full, sizeof full, "%s%s%s", k->isa, *k->variant ? "_" : "", k->variant);
    return !strcmp(full, isa);
}

static int level_known(const char *isa)
{
    for (size_t i = 0; i < ek_kernel_count(); i++)
        if (!strcmp(ek_kernel_at(i)->isa, isa) || isa_matches(ek_kernel_at(i), isa)) return 1;
    return 0;
}

/* Best row of one level for an op and format, among those this machine can run. */
static const struct ek_kernel *best_of_level(uint64_t cpu, enum ek_op op, enum ek_fmt fmt,
                                             const char *level)
{
    const struct ek_kernel *best = NULL;
    for (size_t i = 0; i < ek_kernel_count(); i++) {
        const struct ek_kernel *k = ek_kernel_at(i);
        if (k->op == op && k->fmt == fmt && (k->needs & cpu) == k->needs &&
            !strcmp(k->isa, level) && (!best || best->prio < k->prio))
            best = k;
    }
    return best;
}

static const struct ek_kernel *dispatched(const struct ek_kernels *t, enum ek_op op,
                                          enum ek_fmt fmt)
{
    switch (op) {
#define EK_OP(name, text, act)                                                                     \
    case EK_OP_##name:                                                                             \
        return t->name[fmt];
#include "ek/ops.def"
#undef EK_OP
    case EK_OP_COUNT: break;
    }
    return NULL;
}

/* "/n:4096/k:4096/t:2/cold" */
static void name_shape(const struct row *r, const char *const *dims, char *p, const char *end)
{
    for (size_t i = 0; dims[i]; i++)
        if (i < 3 || r->shape.d[i])
            p += snprintf(p, (size_t)(end - p), "/%s:%zu", dims[i], r->shape.d[i]);
    snprintf(p, (size_t)(end - p), "/t:%zu/%s", r->threads, r->cold ? "cold" : "hot");
}

static void name_row(struct row *r)
{
    char *p = r->name, *end = r->name + sizeof r->name;
    if (r->kind == ROW_COMPOSITE) {
        p += snprintf(p, sizeof r->name, "%s/%s", r->composite->name, ek_fmt_info(r->fmt)->name);
        name_shape(r, r->composite->dims, p, end);
        return;
    }
    const struct ek_op_info *op = ek_op_info(r->k->op);
    p += snprintf(p, (size_t)(end - p), "%s/%s", op->text, ek_fmt_info(r->k->fmt)->name);
    if (r->kind == ROW_PEAK) p = r->name + snprintf(r->name, sizeof r->name, "%s", op->text);
    if (*op->act) p += snprintf(p, (size_t)(end - p), "/%s", op->act);
    if (r->kind == ROW_PEER)
        p += snprintf(p, (size_t)(end - p), "/peer:xnnpack");
    else
        p += snprintf(p, (size_t)(end - p), "/%s%s%s", r->k->isa, *r->k->variant ? "_" : "",
                      r->k->variant);
    name_shape(r, r->d->dims, p, end);
}

static int add_row(struct row_list *list, const struct row *proto, const regex_t *filter)
{
    struct row r = *proto;
    name_row(&r);
    if (filter && regexec(filter, r.name, 0, NULL, 0)) return 0;
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->rows[i].name, r.name)) return 0;
    if (list->count == list->room) {
        list->room     = list->room ? 2 * list->room : 64;
        struct row *at = realloc(list->rows, list->room * sizeof *at);
        if (!at) {
            fputs("ek bench: out of memory\n", stderr);
            return -1;
        }
        list->rows = at;
    }
    list->rows[list->count++] = r;
    return 0;
}

/* Roofs are measured whatever is filtered: every way to read, and each kind of arithmetic. */
static int add_roofs(const struct bench_options *o, const struct ek_kernels *t,
                     struct row_list *list)
{
    enum { COLD_BLOCKS = 8192, HOT_BLOCKS = 192, PEAK_STEPS = 20000 };
    for (size_t i = 0; i < o->thread_count; i++) {
        struct row r = {.threads = o->threads[i], .thread_index = i};
        r.kind = ROW_READ, r.d = ek_drivers[EK_OP_read];
        for (size_t j = 0; j < ek_kernel_count(); j++) {
            r.k = ek_kernel_at(j);
            if (r.k->op != EK_OP_read || strcmp(r.k->isa, t->read[EK_FMT_f32]->isa) != 0) continue;
            r.cold = 1, r.shape = (struct ek_shape){{COLD_BLOCKS}};
            if (add_row(list, &r, NULL)) return -1;
            r.cold = 0, r.shape = (struct ek_shape){{HOT_BLOCKS * r.threads}};
            if (add_row(list, &r, NULL)) return -1;
        }
        r.kind = ROW_PEAK, r.cold = 0, r.shape = (struct ek_shape){{r.threads, PEAK_STEPS}};
        r.k = t->peak[EK_FMT_f32], r.d = ek_drivers[EK_OP_peak];
        if (add_row(list, &r, NULL)) return -1;
        r.k = t->peak_i8[EK_FMT_f32], r.d = ek_drivers[EK_OP_peak_i8];
        if (add_row(list, &r, NULL)) return -1;
    }
    return 0;
}

/* A kernel's row and, beside it, that of a peer which can do the same: selected with ours or by its
 * own name. */
static int add_with_peer(struct row_list *list, const struct row *ours, const regex_t *filter)
{
    const size_t before = list->count;
    struct row   r      = *ours;
    if (add_row(list, ours, filter)) return -1;
    r.kind = ROW_PEER;
    if (!peer_supports(r.k->op, r.k->fmt, &r.shape)) return 0;
    return add_row(list, &r, list->count > before ? NULL : filter);
}

/* Rows of one preset line: kernels x threads x modes. */
static int add_preset(const struct bench_options *o, const struct ek_kernels *t,
                      const struct preset *p, const regex_t *filter, struct row_list *list)
{
    const int cold = o->cold || o->hot ? o->cold : p->cold;
    const int hot  = o->cold || o->hot ? o->hot : !p->cold || !ek_drivers[p->op]->stream;
    for (size_t j = 0; j < ek_kernel_count(); j++) {
        const struct ek_kernel *k = ek_kernel_at(j);
        if (k->op != p->op || k->fmt != p->fmt || (k->needs & t->cpu) != k->needs) continue;
        const int wanted =
            !o->isa                  ? k == dispatched(t, p->op, p->fmt)
            : !strcmp(o->isa, "all") ? strcmp(k->isa, "scalar") != 0
            : isa_matches(k, o->isa)
                ? 1
                : !strcmp(k->isa, o->isa) && k == best_of_level(t->cpu, p->op, p->fmt, o->isa);
        for (size_t i = 0; wanted && i < o->thread_count; i++)
            for (int mode = 0; mode < 2; mode++) {
                const struct row r = {.kind         = ROW_KERNEL,
                                      .k            = k,
                                      .d            = ek_drivers[p->op],
                                      .shape        = p->shape,
                                      .streams      = t->streams,
                                      .threads      = o->threads[i],
                                      .thread_index = i,
                                      .cold         = mode};
                if (!(mode ? cold && r.d->stream : hot)) continue;
                if (add_with_peer(list, &r, filter)) return -1;
            }
    }
    return 0;
}

/* Rows of one line of composites: what dispatch chose, threads x modes. */
static int add_composite(const struct bench_options *o, const struct preset *p,
                         const regex_t *filter, struct row_list *list)
{
    const int all = o->cold || o->hot;
    for (size_t i = 0; !o->isa && i < o->thread_count; i++)
        for (int mode = 0; mode < 2; mode++) {
            const struct row r = {.kind         = ROW_COMPOSITE,
                                  .composite    = p->composite,
                                  .fmt          = p->fmt,
                                  .shape        = p->shape,
                                  .threads      = o->threads[i],
                                  .thread_index = i,
                                  .cold         = mode};
            if (!(mode ? all ? o->cold : p->cold : all ? o->hot : !p->cold)) continue;
            if (add_row(list, &r, filter)) return -1;
        }
    return 0;
}

int rows_select(const struct bench_options *o, struct row_list *list)
{
    struct ek_kernels t;
    regex_t           filter;
    int               known = !strcmp(o->preset, "all"), bad;
    *list                   = (struct row_list){NULL, 0, 0};
    if (ek_kernels_default(&t)) {
        fprintf(stderr, "ek bench: EK_ISA=%s: unknown name\n", getenv("EK_ISA"));
        return -1;
    }
    if (o->isa && strcmp(o->isa, "all") != 0 && !level_known(o->isa)) {
        fprintf(stderr, "ek bench: --isa %s: no kernel is called that\n", o->isa);
        return -1;
    }
    if (o->filter && regcomp(&filter, o->filter, REG_EXTENDED | REG_NOSUB)) {
        fprintf(stderr, "ek bench: --filter %s: not a regular expression\n", o->filter);
        return -1;
    }
    bad                = add_roofs(o, &t, list);
    const size_t roofs = list->count;
    for (size_t i = 0; !bad && i < PRESETS; i++) {
        const int mine = !strcmp(o->preset, "all") || !strcmp(o->preset, presets[i].name);
        known |= mine;
        if (!mine || (o->quick && !presets[i].quick)) continue;
        bad = presets[i].composite
                  ? add_composite(o, &presets[i], o->filter ? &filter : NULL, list)
                  : add_preset(o, &t, &presets[i], o->filter ? &filter : NULL, list);
    }
    if (!bad && known && list->count == roofs) {
        fprintf(stderr, "ek bench: --filter %s: no row of %s is called that\n", o->filter,
                o->preset);
        bad = -1;
    }
    if (o->filter) regfree(&filter);
    if (!known) fprintf(stderr, "ek bench: --shapes %s: no such preset; known are", o->preset);
    for (size_t i = 0; !known && i < PRESETS; i++)
        if (!i || strcmp(presets[i].name, presets[i - 1].name) != 0)
            fprintf(stderr, " %s", presets[i].name);
    if (!known) fputs(" all\n", stderr);
    return bad || !known ? -1 : 0;
}

void rows_drop(struct row_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        case_drop(&list->rows[i].c);
        peer_drop(list->rows[i].peer);
        if (list->rows[i].self) list->rows[i].composite->drop(list->rows[i].self);
    }
    free(list->rows);
}

/* ---- one call ---- */

double row_bytes(const struct row *r)
{
    if (r->kind == ROW_COMPOSITE) return r->composite->bytes(r->self);
    return r->kind == ROW_PEER ? peer_bytes(r->k->fmt, &r->shape)
                               : r->d->bytes(r->k->fmt, &r->shape);
}
double row_ops(const struct row *r)
{
    if (r->kind == ROW_COMPOSITE) return 0;
    return r->d->ops(r->k->fmt, &r->shape);
}

static void run_range(void *task, size_t begin, size_t end)
{
    struct row *r = task;
    r->d->run(r->k, &r->c, begin, end);
}

void row_call(void *row)
{
    struct row *r = row;
    if (r->kind == ROW_PEER) {
        peer_call(r->peer);
        return;
    }
    if (r->kind == ROW_COMPOSITE) {
        r->composite->call(r->self);
        return;
    }
    if (r->cold) {
        r->offset += r->stream;
        if (r->offset + r->stream > r->arena->bytes) r->offset = 0;
        r->d->bind(&r->c, r->arena->data + r->offset);
    }
    if (r->threads > 1)
        r->pool->pool.run(r->pool->pool.self, r->items, r->grain, run_range, r);
    else
        run_range(r, 0, r->items);
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double row_roof(void *row)
{
    const struct row *r      = row;
    const double      enough = 6e-3, start = seconds_now();
    double            taken, calls         = 0;
    do {
        row_call(r->roof);
        calls++;
        taken = seconds_now() - start;
    } while (taken < enough);
    const int reads = r->roof->kind == ROW_READ;
    return (reads ? row_bytes(r) / row_bytes(r->roof) : row_ops(r) / row_ops(r->roof)) * taken /
           calls;
}

/* ---- correctness before timing ---- */

/* The reference computes a few stretches of items; where it wrote, the kernel must have written the
 * same, to rounding. */
static int agrees(struct row *r)
{
    enum { STRETCHES = 3, LENGTH = 4, FILL = 0xAA };
    const struct ek_kernel *ref = NULL;
    for (size_t i = 0; i < ek_kernel_count() && !ref; i++)
        if (ek_kernel_at(i)->op == r->k->op && ek_kernel_at(i)->fmt == r->k->fmt &&
            !ek_kernel_at(i)->needs)
            ref = ek_kernel_at(i);

    struct ek_buffer *y = NULL;
    for (size_t i = 0; i < r->c.bufs && !y; i++)
        if (r->c.buf[i].role == ROLE_OUT || r->c.buf[i].role == ROLE_OUT_EXACT) y = &r->c.buf[i];
    if (!y || !ref) return 0;
    unsigned char *got = malloc(y->bytes);
    if (!got) return 0;
    case_reset(&r->c);
    const size_t offset = r->offset;
    row_call(r);
    memcpy(got, y->p, y->bytes);
    case_reset(&r->c);
    const size_t length = r->items < LENGTH ? r->items : LENGTH;
    for (size_t s = 0; s < STRETCHES; s++) {
        const size_t begin = (r->items - length) * s / (STRETCHES - 1);
        r->d->run(ref, &r->c, begin, begin + length);
    }
    r->offset = offset;

    double   most = 0;
    int      ok   = 1;
    uint32_t fill;
    memset(&fill, FILL, sizeof fill);
    const size_t n = y->bytes / sizeof(float);
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < n; i++) {
            uint32_t w, g;
            float    want, have;
            memcpy(&w, (unsigned char *)y->p + 4 * i, 4), memcpy(&g, got + 4 * i, 4);
            if (w == fill) continue;
            memcpy(&want, &w, 4), memcpy(&have, &g, 4);
            if (y->role == ROLE_OUT_EXACT)
                ok &= w == g;
            else if (pass == 0)
                most = fmax(most, fabs((double)want));
            else
                ok &= fabs((double)want - (double)have) <= 1e-4 * most;
        }
    free(got);
    return ok;
}

static int prepare_composite(struct row_list *list, struct row *r, const struct ek_kernels *t)
{
    struct composite_setup s = {.t     = t,
                                .fmt   = r->fmt,
                                .shape = &r->shape,
                                .pool  = r->threads > 1 ? &r->pool->pool : NULL,
                                .arena = r->arena,
                                .cold  = r->cold};
    for (const struct row *o = list->rows; o < r && !s.sibling; o++)
        if (o->composite == r->composite && o->fmt == r->fmt && o->cold == r->cold &&
            !memcmp(&o->shape, &r->shape, sizeof r->shape))
            s.sibling = o->self;
    r->self = r->composite->make(&s);
    if (r->self && r->composite->check(r->self)) return 0;
    if (r->self)
        fprintf(stderr, "ek bench: %s differs from the reference: not timed\n", r->name);
    else
        fprintf(stderr, "ek bench: %s: cannot be made\n", r->name);
    return -1;
}

int row_prepare(struct row_list *list, size_t i, const struct ek_kernels *t, struct threads *pool,
                struct arena *arena)
{
    enum { TASKS_PER_THREAD = 4 };
    struct row *r = &list->rows[i];
    r->pool = pool, r->arena = arena;
    if (r->kind == ROW_COMPOSITE) return prepare_composite(list, r, t);
    if (r->kind == ROW_PEER) {
        r->peer = peer_make(r->k->fmt, &r->shape, r->cold ? arena->bytes : 0, pool);
        if (!r->peer) fprintf(stderr, "ek bench: %s: the peer's operator failed\n", r->name);
        return r->peer ? 0 : -1;
    }
    r->stream = r->d->stream ? r->d->stream(r->k->fmt, &r->shape) : 0;
    if (r->stream > arena->bytes) {
        fprintf(stderr, "ek bench: %s needs --memory of %zu MiB at least\n", r->name,
                (r->stream >> 20) + 1);
        return -1;
    }
    r->c = (struct ek_case){.fmt     = r->k->fmt,
                            .s       = r->shape,
                            .rng     = 2,
                            .stream  = arena->data,
                            .streams = r->streams,
                            .slots   = r->threads * TASKS_PER_THREAD};
    case_make(&r->c, r->d);
    r->items = r->d->items(&r->shape);
    r->grain = case_grain(&r->c, r->d);
    if (agrees(r)) return 0;
    fprintf(stderr, "ek bench: %s differs from the reference: not timed\n", r->name);
    return -1;
}
