/* SPDX-License-Identifier: Apache-2.0 */
/* tools/generate.c - the loop of evaluating and sampling, and its options. */
#include "tools/generate.h"

#include "tools/progress.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* ---- options ---- */

const struct sampling_args sampling_unset = {
    .temperature = -1, .top_p = -1, .min_p = -1, .penalty = -1, .top_k = SIZE_MAX};

int sampling_parse_seed(void *to, const char *text)
{
    struct sampling_args *a = to;
    if (!strcmp(text, "-1")) {
        a->seeded = 0;
        return 0;
    }
    char *end;
    errno     = 0;
    a->seed   = strtoull(text, &end, 10);
    a->seeded = 1;
    return errno || end == text || *end || strchr(text, '-') ? -1 : 0;
}

/* What was given, else the model's own, else the habit. */
static float decide(double given, float own, double habit)
{
    return (float)(given >= 0 ? given : own > 0 ? (double)own : habit);
}

struct sampler_options sampling_options(const struct sampling_args *a, const struct config *c)
{
    enum { TOP_K = 40 };
    uint64_t seed = a->seed;
    if (!a->seeded && getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        seed = (uint64_t)(seconds_now() * 1e9);
    if (!a->seeded) seed &= UINT32_MAX; /* short enough to be typed again */
    return (struct sampler_options){.temperature = decide(a->temperature, c->temperature, 0.8),
                                    .top_k       = a->top_k != SIZE_MAX ? a->top_k
                                                   : c->top_k           ? c->top_k
                                                                        : TOP_K,
                                    .top_p       = decide(a->top_p, c->top_p, 0.95),
                                    .min_p       = decide(a->min_p, 0, 0.05),
                                    .repetition_penalty =
                                        decide(a->penalty, c->repetition_penalty, 1),
                                    .penalty_window = a->window,
                                    .seed           = seed};
}

/* ---- stops ---- */

void stops_add(struct stops *s, int32_t id)
{
    if (id >= 0 && s->count < sizeof s->ids / sizeof *s->ids) s->ids[s->count++] = id;
}

void stops_init(struct stops *s, const struct config *c, const struct tokenizer *t)
{
    s->count = 0;
    for (size_t i = 0; i < c->eos_count && i < EOS_MAX; i++) stops_add(s, c->eos[i]);
    stops_add(s, tokenizer_eos(t));
}

static int stops_has(const struct stops *s, int32_t id)
{
    for (size_t i = 0; i < s->count; i++)
        if (s->ids[i] == id) return 1;
    return 0;
}

/* ---- Ctrl-C ---- */

static volatile sig_atomic_t interrupt_seen;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupt_seen = 1;
}

void interrupt_catch(int once)
{
    struct sigaction a;
    memset(&a, 0, sizeof a);
    a.sa_handler   = on_interrupt;
    a.sa_flags     = once ? (int)SA_RESETHAND : 0;
    interrupt_seen = 0;
    sigaction(SIGINT, &a, NULL);
}

void interrupt_release(void)
{
    signal(SIGINT, SIG_DFL);
}

int interrupted(void)
{
    return interrupt_seen;
}

/* ---- generation ---- */

const char *reply_end_name(enum reply_end end)
{
    static const char *const names[] = {"eos", "limit", "context", "interrupted"};
    return names[end];
}

/* In steps of batch, so that Ctrl-C and the bar are served. */
static ek_status prefill(const struct generator *g, const int32_t *ids, size_t n, struct reply *r,
                         const float **logits, struct error *e)
{
    const double start = seconds_now();
    ek_status    s     = EK_OK;
    for (size_t done = 0; done < n && !s && !interrupted();) {
        const size_t step = n - done < g->batch ? n - done : g->batch;
        const int    last = done + step == n;
        if (n > g->batch) progress_show(NULL, "prefill", done, n);
        s = session_eval(g->session, ids + done, step, last ? LOGITS_LAST : LOGITS_NONE, logits, e);
        done += step;
        if (!s) r->prompt_tokens = done;
    }
    progress_clear();
    r->prefill_s = seconds_now() - start;
    return s;
}

static void emit(const struct generator *g, struct detokenizer *d, int32_t id)
{
    char         piece[PIECE_MAX];
    const size_t n = id < 0 ? detokenize_end(d, piece) : detokenize(d, g->tokenizer, id, 0, piece);
    if (n || id >= 0) g->emit(g->self, id, piece, n);
}

ek_status generate(const struct generator *g, const int32_t *ids, size_t n, size_t limit,
                   struct reply *r, struct error *e)
{
    const float       *logits  = NULL;
    struct detokenizer decoder = {.held_bytes = 0};
    *r                         = (struct reply){.end = REPLY_INTERRUPTED, .pending = -1};
    ek_status s                = prefill(g, ids, n, r, &logits, e);
    if (s || r->prompt_tokens < n) return s;
    session_head_top(g->session, sampler_needs(g->sampler));
    for (size_t i = 0; i < n; i++) sampler_accept(g->sampler, ids[i]);
    const double start = seconds_now();
    for (;;) {
        const int32_t id = sampler_next(g->sampler, logits);
        if (stops_has(&g->stops, id)) {
            r->end = REPLY_EOS;
            break;
        }
        r->tokens++, r->pending = id;
        r->decode_s = seconds_now() - start;
        sampler_accept(g->sampler, id);
        emit(g, &decoder, id);
        if (r->tokens == limit) r->end = REPLY_LIMIT;
        if (r->tokens == limit || interrupted()) break;
        s = session_eval(g->session, &id, 1, LOGITS_LAST, &logits, e);
        if (s == EK_E_OVERFLOW) r->end = REPLY_CONTEXT, s = EK_OK;
        if (s || r->end == REPLY_CONTEXT) break;
        r->pending = -1;
    }
    emit(g, &decoder, -1);
    return s;
}

static double rate(size_t tokens, double seconds)
{
    return seconds > 0 ? (double)tokens / seconds : 0;
}

void reply_print(const struct reply *r, const struct session *s, int verbose)
{
    uint64_t used, total;
    session_kv_used(s, &used, &total);
    fprintf(stderr, "%zu tokens, %.2f tok/s", r->tokens,
            rate(r->tokens ? r->tokens - 1 : 0, r->decode_s));
    if (verbose)
        fprintf(stderr,
                "; prompt %zu tokens, %.1f ms, %.2f tok/s; KV %.2f of %.2f MiB; ended by %s",
                r->prompt_tokens, 1e3 * r->prefill_s, rate(r->prompt_tokens, r->prefill_s),
                (double)used / 0x1p20, (double)total / 0x1p20, reply_end_name(r->end));
    fputc('\n', stderr);
    if (verbose) weight_cache_print(s);
}
