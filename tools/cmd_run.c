/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_run.c - ek run: a prompt, and the model's continuation as it comes. */
#include "tools/ek.h"

#include "model/template.h"
#include "tools/generate.h"
#include "tools/results.h"
#include "tools/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct run_args {
    struct session_args  session;
    struct sampling_args sampling;
    const char          *prompt, *file, *template, *system;
    size_t               tokens;
    int                  chat, ids, no_eos, echo, json;
};

/* What was generated, for --json; and how it is shown. */
struct output {
    struct text text;
    int32_t    *ids;
    size_t      count, room;
    int         show_ids, keep, failed;
};

static int parse(struct run_args *a, int argc, char **argv)
{
    const struct arg list[] = {
        SESSION_ARGS(a->session),
        HEAD_LOG_ARGS(a->session.head),
        WEIGHT_CACHE_ARG(a->session.weight_cache),
        {.names = "-p, --prompt",
         .value = "TEXT",
         .kind  = ARG_TEXT,
         .to    = &a->prompt,
         .help  = "what to continue; default: nothing but the model's first token"},
        {.names = "-f, --file",
         .value = "FILE",
         .kind  = ARG_TEXT,
         .to    = &a->file,
         .help  = "the prompt from a file; - for standard input"},
        {.names = "-n, --n-predict",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &a->tokens,
         .help  = "tokens at most; default, and 0: to the model's end of text or of context"},
        SAMPLING_ARGS(a->sampling),
        {.names = "--chat",
         .kind  = ARG_FLAG,
         .to    = &a->chat,
         .help  = "the prompt is a user's message: wrap it in the chat template"},
        {.names = "--template",
         .value = "NAME",
         .kind  = ARG_TEXT,
         .to    = &a->template,
         .help  = "chatml, llama3, llama2, zephyr or deepseek instead of the model's own;\n"
                  "implies --chat"},
        {.names = "--system",
         .value = "TEXT",
         .kind  = ARG_TEXT,
         .to    = &a->system,
         .help  = "with --chat: a system message before it"},
        {.names = "--no-eos",
         .kind  = ARG_FLAG,
         .to    = &a->no_eos,
         .help  = "do not stop at an end-of-text token"},
        {.names = "--echo", .kind = ARG_FLAG, .to = &a->echo, .help = "print the prompt first"},
        {.names = "--ids",
         .kind  = ARG_FLAG,
         .to    = &a->ids,
         .help  = "print token ids instead of text"},
        {.names = "--json",
         .kind  = ARG_FLAG,
         .to    = &a->json,
         .help  = "print one JSON object at the end instead of text as it comes"},
    };
    const struct arg_command c      = {.name  = "ek run",
                                       .usage = "-m MODEL -p TEXT [OPTIONS]",
                                       .about = "Continues a text with a model. Ctrl-C ends the text.",
                                       .env   = "EK_"};
    const int                status = args_parse(&c, list, sizeof list / sizeof *list, argc, argv);
    if (status != ARGS_GO) return status;
    if (a->prompt && a->file) {
        fputs("ek run: -p and -f: one prompt is enough\n", stderr);
        return EXIT_USAGE;
    }
    a->chat |= a->template != NULL;
    if (a->system && !a->chat) {
        fputs("ek run: --system: needs --chat\n", stderr);
        return EXIT_USAGE;
    }
    return ARGS_GO;
}

/* ---- the prompt ---- */

static ek_status wrap(const struct run_args *a, const struct tokenizer *t, struct text *prompt,
                      struct error *e)
{
    enum chat_template        kind;
    const struct chat_message messages[] = {{"system", a->system ? a->system : ""},
                                            {"user", prompt->data}};
    const size_t              skip       = a->system ? 0 : 1;
    ek_status                 s    = a->template ? chat_template_from_name(a->template, &kind, e)
                                                 : chat_template_recognise(tokenizer_chat_template(t), &kind, e);
    char                     *text = NULL;
    if (!s) s = chat_template_apply(kind, messages + skip, 0, 2 - skip, &text, e);
    if (s) return s;
    text_drop(prompt);
    if (text_add(prompt, text, strlen(text))) s = fail(e, EK_E_NOMEM, "out of memory");
    free(text);
    return s;
}

/* The prompt's text, and its ids: malloc'd. */
static ek_status encode(const struct run_args *a, const struct tokenizer *t, struct text *prompt,
                        int32_t **ids, size_t *count, struct error *e)
{
    ek_status s = EK_OK;
    if (a->file)
        s = text_read(prompt, a->file, e);
    else if (text_add(prompt, a->prompt ? a->prompt : "", a->prompt ? strlen(a->prompt) : 0))
        s = fail(e, EK_E_NOMEM, "out of memory");
    if (!s && a->chat) s = wrap(a, t, prompt, e);
    if (!s)
        s = tokenizer_encode(t, prompt->data, prompt->bytes, TOKENIZE_BOS | TOKENIZE_SPECIAL, ids,
                             count, e);
    if (s || *count) return s;
    const int32_t bos = tokenizer_bos(t), first = bos >= 0 ? bos : tokenizer_eos(t);
    if (first < 0) return fail(e, EK_E_ARG, "the prompt is empty and the model has no first token");
    int32_t *one = malloc(sizeof *one);
    if (!one) return fail(e, EK_E_NOMEM, "out of memory");
    free(*ids);
    *one = first, *ids = one, *count = 1;
    return EK_OK;
}

/* ---- output ---- */

static void emit(void *self, int32_t id, const char *bytes, size_t n)
{
    struct output *o = self;
    if (o->keep && id >= 0 && o->count == o->room) {
        const size_t room = 2 * o->room + 64;
        int32_t     *more = realloc(o->ids, room * sizeof *more);
        if (!more) {
            o->failed = 1;
            return;
        }
        o->ids = more, o->room = room;
    }
    if (o->keep) {
        if (id >= 0) o->ids[o->count++] = id;
        o->failed |= text_add(&o->text, bytes, n);
    } else if (o->show_ids) {
        if (id >= 0) printf("%s%d", o->count++ ? " " : "", (int)id);
    } else {
        fwrite(bytes, 1, n, stdout);
    }
    fflush(stdout);
}

static json_t *ids_json(const int32_t *ids, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) json_array_append_new(list, json_integer(ids[i]));
    return list;
}

static int print_json(const struct runner *r, const struct text *prompt, const int32_t *ids,
                      const struct output *o, const struct reply *reply,
                      const struct sampler_options *sampling)
{
    struct model_facts f;
    uint64_t           used, total;
    model_facts(r->model, &f);
    session_kv_used(r->session, &used, &total);
    json_t *root = json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:o, s:I, s:I, s:I}", "model",
        f.type, "prompt", results_text(prompt->data, prompt->bytes), "prompt_ids",
        ids_json(ids, reply->prompt_tokens), "text", results_text(o->text.data, o->text.bytes),
        "ids", ids_json(o->ids, o->count), "end", reply_end_name(reply->end), "seed",
        (json_int_t)sampling->seed, "prompt_tokens", (json_int_t)reply->prompt_tokens, "tokens",
        (json_int_t)reply->tokens, "load_ms", f.load_ms, "prefill_ms", 1e3 * reply->prefill_s,
        "decode_ms", 1e3 * reply->decode_s, "decode_ts",
        reply->tokens > 1 && reply->decode_s > 0
            ? json_real((double)(reply->tokens - 1) / reply->decode_s)
            : json_null(),
        "kv_used_bytes", (json_int_t)used, "kv_bytes", (json_int_t)total, "peak_rss",
        (json_int_t)peak_resident());
    const int bad =
        o->failed || !root || json_dumpf(root, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(10));
    json_decref(root);
    putchar('\n');
    return bad ? EXIT_RUN : EXIT_OK;
}

static void print_load(const struct runner *r, const struct sampler_options *o)
{
    struct model_facts f;
    model_facts(r->model, &f);
    fprintf(stderr,
            "%s, %.1f MiB of weights, load %.1f ms, %zu threads, context %zu, temperature %g, "
            "seed %llu\n",
            f.type, (double)f.weight_bytes / 0x1p20, f.load_ms, r->threads.count,
            session_settings(r->session)->context, (double)o->temperature,
            (unsigned long long)o->seed);
}

/* ---- the run ---- */

static int generate_and_show(struct runner *r, const struct run_args *a, const struct tokenizer *t,
                             const struct text *prompt, const int32_t *ids, size_t count)
{
    struct error                 e;
    const struct config         *c        = model_config(r->model);
    const struct sampler_options sampling = sampling_options(&a->sampling, c);
    struct sampler              *sampler;
    struct reply                 reply;
    struct output                out = {.show_ids = a->ids, .keep = a->json};
    struct generator             g   = {.session   = r->session,
                                        .tokenizer = t,
                                        .batch     = session_settings(r->session)->batch,
                                        .emit      = emit,
                                        .self      = &out};
    if (!a->no_eos) stops_init(&g.stops, c, t);
    if (sampler_open(&sampler, &sampling, c->vocab, &e)) return runner_fail(r, &e);
    g.sampler = sampler;
    if (a->session.verbose) print_load(r, &sampling);
    if (a->echo && !a->json && !a->ids) fwrite(prompt->data, 1, prompt->bytes, stdout);
    interrupt_catch(1);
    const ek_status s = generate(&g, ids, count, a->tokens, &reply, &e);
    interrupt_release();
    int status = EXIT_OK;
    if (!a->json && reply.tokens) putchar('\n'), fflush(stdout);
    if (s)
        status = runner_fail(r, &e);
    else if (a->json)
        status = print_json(r, prompt, ids, &out, &reply, &sampling);
    if (!s && a->session.verbose) reply_print(&reply, r->session, 1);
    if (!s && (a->session.verbose || a->session.head.verify))
        head_log_print(&r->head, r->session, stderr);
    if (status == EXIT_OK && head_log_close(&r->head, &e)) status = runner_fail(r, &e);
    if (status == EXIT_OK && ferror(stdout)) status = EXIT_RUN;
    text_drop(&out.text), free(out.ids);
    sampler_close(sampler);
    return status;
}

int cmd_run(int argc, char **argv)
{
    struct run_args a      = {.sampling = sampling_unset, .session = {.head = HEAD_ARGS_DEFAULT}};
    int             status = parse(&a, argc, argv);
    struct runner   r;
    struct error    e;
    struct text     prompt = {NULL, 0, 0};
    int32_t        *ids    = NULL;
    size_t          count  = 0;
    if (status != ARGS_GO) return status;
    status                    = runner_open_model(&r, "ek run", &a.session);
    const struct tokenizer *t = status ? NULL : model_tokenizer(r.model, &e);
    if (!status && (!t || encode(&a, t, &prompt, &ids, &count, &e))) status = runner_fail(&r, &e);
    if (!status) status = runner_open_session(&r, &a.session);
    if (!status) status = generate_and_show(&r, &a, t, &prompt, ids, count);
    free(ids);
    text_drop(&prompt);
    runner_close(&r);
    return status;
}
