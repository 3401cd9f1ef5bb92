/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_ppl.c - ek ppl: perplexity of a text, and divergence from another model's predictions. */
#include "tools/ek.h"

#include "tools/evaluate.h"
#include "tools/results.h"

#include <stdio.h>
#include <unistd.h>

struct ppl_args {
    struct evaluation_args text;
    const char            *save, *base;
    size_t                 stride, top;
};

static int parse(struct ppl_args *a, int argc, char **argv)
{
    const struct arg list[] = {
        EVALUATION_ARGS(a->text, "only the first N windows", "also write the results as JSON"),
        WEIGHT_CACHE_ARG(a->text.session.weight_cache),
        {.names = "--stride",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &a->stride,
         .least = 1,
         .most  = 1 << 30,
         .help  = "sliding windows N apart that score only new tokens (Hugging Face);\n"
                  "default: disjoint chunks whose second half is scored (llama.cpp)"},
        {.names = "--kl-base-save",
         .value = "FILE",
         .kind  = ARG_TEXT,
         .to    = &a->save,
         .help  = "keep the predictions for --kl-base"},
        {.names = "--kl-base",
         .value = "FILE",
         .kind  = ARG_TEXT,
         .to    = &a->base,
         .help  = "compare with predictions kept by --kl-base-save"},
        {.names = "--kl-top",
         .value = "K",
         .kind  = ARG_SIZE,
         .to    = &a->top,
         .least = 1,
         .most  = INT32_MAX,
         .help  = "tokens of each prediction kept exactly; the rest is sampled. Default: 128,\n"
                  "all where the vocabulary is no larger than 4096"},
        HEAD_LOG_ARGS(a->text.session.head),
    };
    const struct arg_command c = {
        .name  = "ek ppl",
        .usage = "-m MODEL -f FILE [OPTIONS]",
        .about = "Perplexity of a text: how surprised the model is, per token. --ctx is 512 here "
                 "unless given.",
        .env   = "EK_"};
    const int status = evaluation_parse(&a->text, &c, list, sizeof list / sizeof *list, argc, argv);
    if (status != ARGS_GO) return status;
    /* Probabilities need all logits: a certified head computes them as a full one does. */
    if (a->text.session.head.mode == HEAD_CERTIFIED) a->text.session.head.mode = HEAD_FULL;
    if (!a->save || !a->base) return ARGS_GO;
    fputs("ek ppl: --kl-base-save and --kl-base exclude each other\n", stderr);
    return EXIT_USAGE;
}

static void print_protocol(const struct evaluation *p)
{
    char how[96];
    if (p->protocol.stride)
        snprintf(how, sizeof how, "sliding windows, stride %zu, new tokens scored",
                 p->protocol.stride);
    else
        snprintf(how, sizeof how, "disjoint chunks, second halves scored");
    printf("ek ppl: %zu tokens, %zu chunks, n_ctx=%zu, batch %zu: %s; %llu tokens scored; %s\n",
           p->count, p->windows, p->protocol.context, session_settings(p->runner->session)->batch,
           how, (unsigned long long)p->header.positions,
           !p->bos              ? "no BOS"
           : p->protocol.stride ? "BOS at the beginning of the text"
                                : "BOS at the beginning of each chunk");
    fflush(stdout);
}

static void after_chunk(const struct evaluation *p, size_t done)
{
    report_chunk(&p->report, done, p->base != NULL);
}

static ek_status open_base(struct evaluation *p, const struct ppl_args *a, struct error *e)
{
    ek_status s = a->save ? kl_create(&p->writer, a->save, &p->header, e) : EK_OK;
    if (a->base && !s) s = kl_open(&p->base, a->base, e);
    if (a->base && !s) s = kl_check(p->base, &p->header, e);
    return s;
}

static ek_status write_results(const struct evaluation *p, const struct ppl_args *a, double seconds,
                               struct error *e)
{
    json_t *root = results_new("ppl", &p->runner->topology, p->runner->model);
    json_t *how  = json_pack(
         "{s:s, s:I, s:I, s:I, s:I, s:I, s:b, s:s, s:s, s:I, s:f}", "protocol",
        p->protocol.stride ? "sliding" : "chunks", "n_ctx", (json_int_t)p->protocol.context,
         "stride", (json_int_t)p->protocol.stride, "chunks", (json_int_t)p->windows, "tokens",
         (json_int_t)p->count, "scored", (json_int_t)p->header.positions, "bos", p->bos, "type_kv",
         ek_fmt_info(kv_format(a->text.session.kv))->name, "file", a->text.file, "n_threads",
         (json_int_t)p->runner->threads.count, "seconds", seconds);
    json_t *numbers = report_json(&p->report, p->base ? kl_header(p->base) : NULL);
    if (!root || !how || !numbers || json_object_update(how, numbers)) {
        json_decref(root), json_decref(how), json_decref(numbers);
        return fail(e, EK_E_NOMEM, "%s: results: out of memory", a->text.out);
    }
    json_decref(numbers);
    json_object_set_new(root, "results", how);
    return results_write(root, a->text.out, e);
}

static void report_neurons(const struct runner *r)
{
    uint64_t of, taken;
    session_neurons(r->session, &of, &taken);
    if (of) printf("Sparse weights read: %.2f%%\n", 100 * (double)taken / (double)of);
    session_gates(r->session, &of, &taken);
    if (of) printf("Gates computed: %.2f%%\n", 100 * (double)taken / (double)of);
}

static int run(struct evaluation *p, struct runner *r, const struct ppl_args *a)
{
    struct error e;
    p->protocol = (struct protocol){.context = a->text.session.context, .stride = a->stride};
    if (evaluation_open(p, r, a->text.file, a->text.chunks, a->top, &e) || open_base(p, a, &e))
        return runner_fail(r, &e);
    const int bad = runner_open_session(r, &a->text.session);
    if (bad) return bad;
    print_protocol(p);
    if (!isatty(STDOUT_FILENO)) p->label = "perplexity"; /* else the values show how far it is */
    if (p->base) report_table_head();
    const double start   = seconds_now();
    ek_status    s       = evaluation_run(p, after_chunk, &e);
    const double seconds = seconds_now() - start;
    if (!s && a->text.session.verbose)
        fprintf(stderr, "%.1f s, %.1f tokens/s\n", seconds,
                (double)(p->windows * p->protocol.context) / seconds);
    if (!s && a->text.out) s = write_results(p, a, seconds, &e);
    if (s) return runner_fail(r, &e);
    report_neurons(r);
    if (a->text.session.verbose) weight_cache_print(r->session);
    report_final(&p->report, p->base ? kl_header(p->base) : NULL);
    head_log_print(&r->head, r->session, stdout);
    if (head_log_close(&r->head, &e)) return runner_fail(r, &e);
    return ferror(stdout) ? EXIT_RUN : EXIT_OK;
}

int cmd_ppl(int argc, char **argv)
{
    struct ppl_args   a = {.text.session.head = HEAD_ARGS_DEFAULT};
    struct runner     r;
    struct evaluation p      = {.runner = NULL};
    int               status = parse(&a, argc, argv);
    if (status != ARGS_GO) return status;
    status = runner_open_model(&r, "ek ppl", &a.text.session);
    if (!status) status = run(&p, &r, &a);
    evaluation_drop(&p);
    runner_close(&r);
    return status;
}
