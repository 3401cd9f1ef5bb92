/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_chat.c - ek chat: a conversation, typed or piped. */
#include "tools/ek.h"

#include "tools/conversation.h"
#include "tools/generate.h"
#include "tools/text.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* readline.h needs stdio.h before it. */
#include <readline/history.h>
#include <readline/readline.h>

struct chat_args {
    struct session_args  session;
    struct sampling_args sampling;
    const char *template, *system;
    size_t tokens;
};

struct chat {
    struct runner           r;
    struct conversation     conversation;
    struct generator        generator;
    struct sampler_options  sampling;
    const struct tokenizer *tokenizer;
    size_t                  limit, turns, tokens; /* tokens generated in all */
    double                  decode_s;
    int32_t                 pending; /* of the last reply, not in the cache yet; -1: none */
    int                     typed;   /* stdin is a terminal */
};

static int parse(struct chat_args *a, int argc, char **argv)
{
    const struct arg list[] = {
        SESSION_ARGS(a->session),
        HEAD_LOG_ARGS(a->session.head),
        WEIGHT_CACHE_ARG(a->session.weight_cache),
        {.names = "-n, --n-predict",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &a->tokens,
         .help  = "tokens of one reply at most; default, and 0: to the model's end of text"},
        SAMPLING_ARGS(a->sampling),
        {.names = "--template",
         .value = "NAME",
         .kind  = ARG_TEXT,
         .to    = &a->template,
         .help  = "chatml, llama3, llama2, zephyr or deepseek instead of the model's own"},
        {.names = "--system",
         .value = "TEXT",
         .kind  = ARG_TEXT,
         .to    = &a->system,
         .help  = "a system message at the beginning"},
    };
    const struct arg_command c = {
        .name  = "ek chat",
        .usage = "-m MODEL [OPTIONS]",
        .about = "Talks with a model, line by line; a line that ends in \\ goes on. /help lists "
                 "commands.\nCtrl-C stops a reply, Ctrl-D ends. Lines can come through a pipe.",
        .env   = "EK_"};
    return args_parse(&c, list, sizeof list / sizeof *list, argc, argv);
}

/* ---- input ---- */

/* One byte of what is typed. Ctrl-C drops the line: readline's own reader would go on waiting for a
 * key after it. */
static int get_key(FILE *in)
{
    for (;;) {
        unsigned char c;
        rl_check_signals(); /* hands a signal that readline caught on to interrupt_catch's handler */
        if (interrupted()) {
            rl_replace_line("", 0);
            return '\n';
        }
        const ssize_t n = read(fileno(in), &c, 1);
        if (n == 1) return c;
        if (n == 0 || errno != EINTR) return EOF;
    }
}

static char *type_line(const char *prompt)
{
    interrupt_catch(0);
    rl_getc_function = get_key;
    char *line       = readline(prompt);
    interrupt_release();
    return line;
}

static char *pipe_line(void)
{
    char   *line = NULL;
    size_t  room = 0;
    ssize_t n    = getline(&line, &room, stdin);
    if (n < 0) {
        free(line);
        return NULL;
    }
    if (n && line[n - 1] == '\n') line[n - 1] = '\0';
    return line;
}

/* One input: lines joined where they end in a backslash. NULL at the end. malloc'd. */
static char *read_input(const struct chat *c)
{
    struct text input = {NULL, 0, 0};
    for (int more = 1; more;) {
        char *line = c->typed ? type_line(input.bytes ? "... " : "> ") : pipe_line();
        if (!line) break;
        size_t n = strlen(line);
        more     = n && line[n - 1] == '\\';
        if (more) line[n - 1] = '\n';
        const int bad = text_add(&input, line, n);
        free(line);
        if (bad) break;
    }
    if (c->typed && input.data && *input.data) add_history(input.data);
    return input.data;
}

/* ---- turns ---- */

static void emit(void *self, int32_t id, const char *bytes, size_t n)
{
    (void)self, (void)id;
    fwrite(bytes, 1, n, stdout);
    fflush(stdout);
}

static int new_sampler(struct chat *c, struct error *e)
{
    sampler_close(c->generator.sampler);
    c->generator.sampler = NULL;
    return sampler_open(&c->generator.sampler, &c->sampling, model_config(c->r.model)->vocab, e) !=
           EK_OK;
}

/* Ids of the turn's new text, behind the last reply's last token where that is missing. */
static ek_status turn_ids(struct chat *c, const char *user, int32_t **ids, size_t *count,
                          struct error *e)
{
    char          *text;
    const unsigned bos = session_length(c->r.session) ? 0 : TOKENIZE_BOS;
    ek_status      s   = conversation_turn(&c->conversation, user, &text, e);
    if (s) return s;
    s = tokenizer_encode(c->tokenizer, text, strlen(text), bos | TOKENIZE_SPECIAL, ids, count, e);
    free(text);
    if (s || c->pending < 0) return s;
    int32_t *more = realloc(*ids, (*count + 1) * sizeof *more);
    if (!more) {
        free(*ids);
        return fail(e, EK_E_NOMEM, "chat: out of memory");
    }
    memmove(more + 1, more, *count * sizeof *more);
    more[0] = c->pending, *ids = more, ++*count;
    return EK_OK;
}

/* A turn that did not come to a reply leaves no trace. */
static void take_back(struct chat *c, size_t length)
{
    if (session_truncate(c->r.session, length))
        fputs("ek chat: the turn cannot be taken back; /reset starts anew\n", stderr);
}

/* 0, or the exit status when the chat cannot go on. */
static int turn(struct chat *c, const char *user)
{
    struct error e;
    struct reply reply;
    int32_t     *ids;
    size_t       count;
    const size_t before = session_length(c->r.session);
    if (turn_ids(c, user, &ids, &count, &e)) return runner_fail(&c->r, &e);
    interrupt_catch(0);
    const ek_status s = generate(&c->generator, ids, count, c->limit, &reply, &e);
    interrupt_release();
    free(ids);
    if (s == EK_E_OVERFLOW && !reply.tokens) {
        fprintf(stderr,
                "ek chat: context full: %zu of %zu tokens used, this turn needs %zu more; "
                "/reset starts anew\n",
                before, session_settings(c->r.session)->context, count);
        take_back(c, before);
        return 0;
    }
    if (s) return runner_fail(&c->r, &e);
    if (!reply.tokens && reply.end == REPLY_INTERRUPTED) {
        take_back(c, before);
        return 0;
    }
    putchar('\n');
    fflush(stdout);
    c->pending = reply.pending;
    c->turns++, c->tokens += reply.tokens, c->decode_s += reply.decode_s;
    reply_print(&reply, c->r.session, 0);
    if (reply.end == REPLY_CONTEXT)
        fprintf(stderr, "ek chat: context full: %zu tokens; /reset starts anew\n",
                session_settings(c->r.session)->context);
    return conversation_said(&c->conversation, user, &e) ? runner_fail(&c->r, &e) : 0;
}

/* ---- commands ---- */

static void print_stats(const struct chat *c)
{
    uint64_t used, total;
    session_kv_used(c->r.session, &used, &total);
    fprintf(stderr,
            "%zu turns, %zu tokens generated, %.2f tok/s; context %zu of %zu tokens; KV %.2f of "
            "%.2f MiB; %zu threads; peak memory %.1f MiB; seed %llu\n",
            c->turns, c->tokens,
            c->decode_s > 0 ? (double)(c->tokens - (c->tokens ? c->turns : 0)) / c->decode_s : 0,
            session_length(c->r.session), session_settings(c->r.session)->context,
            (double)used / 0x1p20, (double)total / 0x1p20, c->r.threads.count,
            (double)peak_resident() / 0x1p20, (unsigned long long)c->sampling.seed);
}

static int reset(struct chat *c)
{
    struct error e;
    conversation_drop(&c->conversation);
    c->pending = -1;
    if (session_truncate(c->r.session, 0)) {
        fputs("ek chat: the session cannot be emptied\n", stderr);
        return EXIT_RUN;
    }
    return new_sampler(c, &e) ? runner_fail(&c->r, &e) : 0;
}

/* 0 to go on, else the exit status; *quit is set by /quit. */
static int answer(struct chat *c, const char *input, int *quit)
{
    if (!*input) return 0;
    if (*input != '/') return turn(c, input);
    if (!strcmp(input, "/quit") || !strcmp(input, "/exit")) {
        *quit = 1;
        return 0;
    }
    if (!strcmp(input, "/reset")) return reset(c);
    if (!strcmp(input, "/stats")) {
        print_stats(c);
        return 0;
    }
    if (strcmp(input, "/help") != 0) fprintf(stderr, "ek chat: %s: no such command\n", input);
    fputs("/reset  forget the conversation\n/stats  speed, context and memory\n/quit   end\n"
          "Ctrl-C  stops a reply; a line that ends in \\ goes on\n",
          stderr);
    return 0;
}

/* ---- the chat ---- */

static int prepare(struct chat *c, const struct chat_args *a)
{
    struct error         e;
    enum chat_template   kind;
    const struct config *config = model_config(c->r.model);
    if (!(c->tokenizer = model_tokenizer(c->r.model, &e))) return runner_fail(&c->r, &e);
    const ek_status s =
        a->template ? chat_template_from_name(a->template, &kind, &e)
                    : chat_template_recognise(tokenizer_chat_template(c->tokenizer), &kind, &e);
    if (s) return runner_fail(&c->r, &e);
    const int bad = runner_open_session(&c->r, &a->session);
    if (bad) return bad;
    conversation_start(&c->conversation, kind, a->system);
    c->sampling  = sampling_options(&a->sampling, config);
    c->generator = (struct generator){.session   = c->r.session,
                                      .tokenizer = c->tokenizer,
                                      .batch     = session_settings(c->r.session)->batch,
                                      .emit      = emit};
    stops_init(&c->generator.stops, config, c->tokenizer);
    stops_add(&c->generator.stops, tokenizer_find(c->tokenizer, chat_template_end(kind)));
    c->limit = a->tokens, c->pending = -1, c->typed = isatty(STDIN_FILENO);
    return new_sampler(c, &e) ? runner_fail(&c->r, &e) : 0;
}

static int converse(struct chat *c)
{
    int status = 0, quit = 0;
    if (c->typed) {
        setlocale(LC_CTYPE, ""); /* readline counts the columns of UTF-8 */
        rl_bind_key('\t', rl_insert);
        fputs("/help lists commands; Ctrl-D ends\n", stderr);
    }
    while (!status && !quit) {
        char *input = read_input(c);
        if (!input) break;
        status = answer(c, input, &quit);
        free(input);
    }
    if (c->typed && !quit) putchar('\n');
    return status;
}

int cmd_chat(int argc, char **argv)
{
    struct chat_args a      = {.sampling = sampling_unset, .session = {.head = HEAD_ARGS_DEFAULT}};
    struct chat      c      = {.pending = -1};
    int              status = parse(&a, argc, argv);
    if (status != ARGS_GO) return status;
    status = runner_open_model(&c.r, "ek chat", &a.session);
    if (!status) status = prepare(&c, &a);
    if (!status) status = converse(&c);
    if (!status && a.session.head.verify) head_log_print(&c.r.head, c.r.session, stderr);
    conversation_drop(&c.conversation);
    sampler_close(c.generator.sampler);
    runner_close(&c.r);
    return status;
}
