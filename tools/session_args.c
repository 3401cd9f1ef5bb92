/* SPDX-License-Identifier: Apache-2.0 */
/* tools/session_args.c - opens threads, model and session for a command. */
#include "tools/session_args.h"

#include "model/tier.h"
#include "tools/ek.h"
#include "tools/progress.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

uint64_t peak_resident(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) ? 0 : (uint64_t)u.ru_maxrss << 10;
}

enum ek_fmt kv_format(int choice)
{
    static const char *const names[] = {"f16", "bf16", "f32", "i8"}; /* KV_NAMES */
    enum ek_fmt              fmt     = EK_FMT_COUNT;
    ek_fmt_from_name(names[choice], &fmt);
    return fmt;
}

const char *act_name(int choice)
{
    static const char *const names[] = {"auto", "i8", "f32"}; /* ACT_NAMES */
    return names[choice];
}

enum ek_activation act_kind(int choice)
{
    static const enum ek_activation kinds[] = {EK_ACTIVATION_AUTO, EK_ACTIVATION_I8,
                                               EK_ACTIVATION_F32};
    return kinds[choice];
}

int runner_fail(const struct runner *r, const struct error *e)
{
    progress_clear();
    fprintf(stderr, "%s: %s\n", r->command, e->text);
    return EXIT_RUN;
}

int runner_threads(const struct runner *r, struct threads *t, size_t count)
{
    const int *cpus = count <= r->topology.perf_cores ? r->topology.cpus : NULL;
    if (!threads_start(t, count, cpus)) return 0;
    fprintf(stderr, "%s: cannot start %zu threads\n", r->command, count);
    return EXIT_RUN;
}

int runner_open_model(struct runner *r, const char *command, const struct session_args *a)
{
    struct error e;
    *r = (struct runner){.command = command};
    if (!a->model) {
        fprintf(stderr, "%s: no model: -m PATH, or EK_MODEL in the environment\n", command);
        return EXIT_USAGE;
    }
    if (topology_read(&r->topology, "", NULL)) {
        fprintf(stderr, "%s: topology: %s\n", command, strerror(errno));
        return EXIT_RUN;
    }
    const int bad = runner_threads(r, &r->threads, a->threads ? a->threads : r->topology.threads);
    if (bad) return bad;
    const struct model_options o = {.pool      = &r->threads.pool,
                                    .cuts      = a->lobotomy,
                                    .sparse    = a->sparse,
                                    .predictor = a->predictor,
                                    .head      = (enum head_mode)a->head.mode,
                                    .router    = a->head.router,
                                    .made_for  = a->made_for,
                                    .progress  = progress_show};
    return model_open(&r->model, a->model, &o, &e) ? runner_fail(r, &e) : 0;
}

int runner_open_session(struct runner *r, const struct session_args *a)
{
    struct error           e;
    const int              told = a->head.log || a->head.verify;
    struct session_options o    = {.pool             = &r->threads.pool,
                                   .kv               = kv_format(a->kv),
                                   .context          = a->context,
                                   .batch            = a->batch,
                                   .sinks            = a->sinks,
                                   .weight_cache     = (uint64_t)a->weight_cache << 20,
                                   .skip             = a->skip,
                                   .tap              = a->tap,
                                   .tap_self         = a->tap_self,
                                   .activation       = act_kind(a->act),
                                   .router_threshold = (float)a->head.threshold,
                                   .head_verify      = a->head.verify,
                                   .decided          = told ? head_log_add : NULL,
                                   .decided_self     = &r->head};
    if (a->head.log && head_log_open(&r->head, a->head.log, &e)) return runner_fail(r, &e);
    return session_open(&r->session, r->model, &o, &e) ? runner_fail(r, &e) : 0;
}

void weight_cache_print(const struct session *s)
{
    struct tier_counts c;
    if (!session_weight_cache(s, &c)) return;
    fprintf(
        stderr,
        "weight cache: %llu neurons a layer; hits %llu, read %llu (%.1f MiB in %llu requests%s), "
        "moved %.1f MiB, churn %.1f %%, stalled %.2f s\n",
        (unsigned long long)c.capacity, (unsigned long long)c.hits, (unsigned long long)c.rows_read,
        (double)c.bytes_read / 0x1p20, (unsigned long long)c.requests,
        c.direct ? "" : ", through the page cache", (double)c.bytes_moved / 0x1p20, 100 * c.churn,
        c.stall_s);
}

void runner_close(struct runner *r)
{
    struct error e;
    if (head_log_close(&r->head, &e)) runner_fail(r, &e);
    if (r->session) session_close(r->session);
    if (r->model) model_close(r->model);
    if (r->threads.tp) threads_stop(&r->threads);
}
