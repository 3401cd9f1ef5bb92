/* SPDX-License-Identifier: Apache-2.0 */
/* model/template.c - chat templates: what stands around each message, and which Jinja text says so. */
#include "model/template.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IM      "<|im_start|>"
#define IM_END  "<|im_end|>"
#define HEADER  "<|start_header_id|>"
#define BODY    "<|end_header_id|>\n\n"
#define BAR     "\xEF\xBD\x9C" /* U+FF5C */
#define LOW     "\xE2\x96\x81" /* U+2581 */
#define DS_USER "<" BAR "User" BAR ">"
#define DS_SAYS "<" BAR "Assistant" BAR ">"
#define DS_END  "<" BAR "end" LOW "of" LOW "sentence" BAR ">"
#define CHATML                                                                                     \
    .system = {IM "system\n", IM_END "\n"}, .user = {IM "user\n", IM_END "\n"},                    \
    .assistant = {IM "assistant\n", IM_END "\n"}, .open = IM "assistant\n", .end = IM_END
#define LLAMA3                                                                                     \
    .user      = {HEADER "user" BODY, "<|eot_id|>"},                                               \
    .assistant = {HEADER "assistant" BODY, "<|eot_id|>"}, .open = HEADER "assistant" BODY,         \
    .end = "<|eot_id|>", .trim = TRIM_ALL
#define MISTRAL .system = {"", "\n\n"}, .fold = 1, .open = "", .end = "</s>"
#define DEEPSEEK                                                                                   \
    .system = {"", ""}, .user = {DS_USER, ""}, .assistant = {DS_SAYS, DS_END}, .end = DS_END,      \
    .drop_thoughts = 1

enum trim { TRIM_NONE, TRIM_ALL, TRIM_REPLIES };

static const struct style {
    const char *name;
    const char *end;            /* the token that ends a reply                          */
    const char *default_system; /* NULL: none                                         */
    const char *system[2], *user[2], *assistant[2]; /* before a text and behind it    */
    const char *open;          /* begins the assistant's turn                                 */
    const char *again;         /* before every user's message but the first; NULL: nothing    */
    int         fold;          /* the system message lies inside the first user's              */
    enum trim   trim;          /* white space at the ends of texts goes                        */
    int         drop_thoughts; /* of a reply only what is behind </think>                      */
} styles[CHAT_TEMPLATES] = {
    [CHAT_CHATML]     = {.name = "chatml", CHATML},
    [CHAT_LLAMA3]     = {.name = "llama3", .system = {HEADER "system" BODY, "<|eot_id|>"}, LLAMA3},
    [CHAT_LLAMA2]     = {.name      = "llama2",
                         .system    = {"<<SYS>>\n", "\n<</SYS>>\n\n"},
                         .user      = {"[INST] ", " [/INST]"},
                         .assistant = {" ", " </s>"},
                         .open      = "",
                         .end       = "</s>",
                         .again     = "<s>",
                         .fold      = 1,
                         .trim      = TRIM_ALL},
    [CHAT_ZEPHYR]     = {.name      = "zephyr",
                         .system    = {"<|system|>\n", "</s>\n"},
                         .user      = {"<|user|>\n", "</s>\n"},
                         .assistant = {"<|assistant|>\n", "</s>\n"},
                         .open      = "<|assistant|>\n",
                         .end       = "</s>"},
    [CHAT_DEEPSEEK]   = {.name = "deepseek", DEEPSEEK, .open = DS_SAYS},
    [CHAT_QWEN2]      = {.name = "qwen2", CHATML, .default_system = "You are a helpful assistant."},
    [CHAT_QWEN25]     = {.name = "qwen2.5",
                         CHATML,
                         .default_system =
                             "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."},
    [CHAT_QWEN3]      = {.name = "qwen3", CHATML, .drop_thoughts = 1},
    [CHAT_LLAMA31]    = {.name   = "llama3.1",
                         .system = {HEADER "system" BODY "Cutting Knowledge Date: December 2023\n"
                                              "Today Date: 26 Jul 2024\n\n",
                                    "<|eot_id|>"},
                         .default_system = "",
                         LLAMA3},
    [CHAT_MISTRAL]    = {.name = "mistral",
                         MISTRAL,
                         .user      = {"[INST] ", " [/INST]"},
                         .assistant = {"", "</s>"}},
    [CHAT_MISTRAL_V1] = {.name = "mistral-v1",
                         MISTRAL,
                         .user      = {" [INST] ", " [/INST]"},
                         .assistant = {" ", "</s>"}},
    [CHAT_MISTRAL_V3] = {.name = "mistral-v3",
                         MISTRAL,
                         .user      = {"[INST] ", "[/INST]"},
                         .assistant = {" ", "</s>"},
                         .trim      = TRIM_REPLIES},
    [CHAT_MISTRAL_TEKKEN] = {.name = "mistral-tekken",
                             MISTRAL,
                             .user      = {"[INST]", "[/INST]"},
                             .assistant = {"", "</s>"}},
    [CHAT_DEEPSEEK_R1]    = {.name = "deepseek-r1", DEEPSEEK, .open = DS_SAYS "<think>\n"},
    [CHAT_DEEPSEEK_LLM]   = {.name      = "deepseek-llm",
                             .system    = {"", "\n\n"},
                             .user      = {"User: ", "\n\n"},
                             .assistant = {"Assistant: ", DS_END},
                             .open      = "Assistant:",
                             .end       = DS_END},
    [CHAT_DEEPSEEK_CODER] =
        {.name      = "deepseek-coder",
         .system    = {"", ""},
         .user      = {"### Instruction:\n", "\n"},
         .assistant = {"### Response:\n", "\n<|EOT|>\n"},
         .open      = "### Response:\n",
         .end       = "<|EOT|>",
         .default_system =
             "You are an AI programming assistant, utilizing the Deepseek Coder model, developed "
             "by "
             "Deepseek Company, and you only answer questions related to computer science. For "
             "politically sensitive questions, security and privacy issues, and other "
             "non-computer science questions, you will refuse to answer\n"},
    [CHAT_PHI3] = {.name      = "phi3",
                   .system    = {"<|system|>\n", "<|end|>\n"},
                   .user      = {"<|user|>\n", "<|end|>\n"},
                   .assistant = {"<|assistant|>\n", "<|end|>\n"},
                   .open      = "<|assistant|>\n",
                   .end       = "<|end|>"},
};

const char *chat_template_name(enum chat_template t)
{
    return (unsigned)t < CHAT_TEMPLATES ? styles[t].name : "unknown";
}

const char *chat_template_end(enum chat_template t)
{
    return (unsigned)t < CHAT_TEMPLATES ? styles[t].end : "";
}

static void list_names(char *out, size_t size)
{
    size_t used = 0;
    for (int i = 0; i < CHAT_TEMPLATES && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", styles[i].name);
}

ek_status chat_template_from_name(const char *name, enum chat_template *t, struct error *e)
{
    char names[256];
    for (int i = 0; name && i < CHAT_TEMPLATES; i++) {
        if (strcmp(name, styles[i].name) != 0) continue;
        *t = (enum chat_template)i;
        return EK_OK;
    }
    list_names(names, sizeof names);
    return fail(e, EK_E_ARG, "chat template %s: unknown; known are %s", name ? name : "(none)",
                names);
}

/* ---- recognising ---- */

ek_status chat_template_recognise(const char *jinja, enum chat_template *t, struct error *e)
{
    /* In this order: each has all of its marks, and none before it does. */
    static const struct {
        enum chat_template kind;
        const char        *marks[3];
    } table[] = {
        {CHAT_TEMPLATES, {"<|im_sep|>"}},      /* Phi 4, which has ChatML's other marks */
        {CHAT_TEMPLATES, {"[SYSTEM_PROMPT]"}}, /* Mistral's seventh */
        {CHAT_QWEN25, {IM, "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."}},
        {CHAT_QWEN2, {IM, "You are a helpful assistant"}},
        {CHAT_QWEN3, {IM, "</think>"}},
        {CHAT_CHATML, {IM, IM_END}},
        {CHAT_LLAMA31, {HEADER, "Cutting Knowledge Date"}},
        {CHAT_LLAMA3, {HEADER, "<|eot_id|>"}},
        {CHAT_DEEPSEEK_R1, {DS_USER, DS_SAYS "<think>"}},
        {CHAT_DEEPSEEK, {DS_USER, DS_SAYS}},
        {CHAT_DEEPSEEK_CODER, {"### Instruction:", "### Response:", "<|EOT|>"}},
        {CHAT_DEEPSEEK_LLM, {"'User: ' +", "'Assistant: ' +", "eos_token"}},
        {CHAT_PHI3, {"<|end|>", "<|assistant|>", "message"}},
        {CHAT_ZEPHYR, {"<|user|>", "<|assistant|>", "eos_token"}},
        {CHAT_ZEPHYR, {"<|user|>", "<|assistant|>", "</s>"}},
        {CHAT_LLAMA2, {"[INST]", "<<SYS>>"}},
        {CHAT_MISTRAL_V1, {"' [INST] '", "' [/INST]'"}},
        {CHAT_MISTRAL, {"[INST] ", " [/INST]"}},
        {CHAT_MISTRAL_V3, {"[INST] ", "[/INST]"}},
        {CHAT_MISTRAL_TEKKEN, {"[INST]", "[/INST]"}},
    };
    char names[256];
    list_names(names, sizeof names);
    if (!jinja || !*jinja)
        return fail(e, EK_E_UNSUPPORTED,
                    "the model has no chat template; --template NAME gives one: %s", names);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        int all = 1;
        for (int m = 0; m < 3 && table[i].marks[m]; m++)
            all &= strstr(jinja, table[i].marks[m]) != NULL;
        if (!all) continue;
        if (table[i].kind == CHAT_TEMPLATES) break;
        *t = table[i].kind;
        return EK_OK;
    }
    return fail(e, EK_E_UNSUPPORTED,
                "the model's chat template is unknown; --template NAME gives one: %s", names);
}

/* ---- applying ---- */

struct text {
    char  *data;
    size_t bytes, capacity;
    int    failed;
};

static void put(struct text *o, const char *data, size_t bytes)
{
    if (o->failed) return;
    if (o->capacity - o->bytes <= bytes) {
        const size_t capacity = (o->bytes + bytes) * 2 + 64;
        char        *p        = capacity > bytes ? realloc(o->data, capacity) : NULL;
        if (!p) {
            o->failed = 1;
            return;
        }
        o->data = p, o->capacity = capacity;
    }
    memcpy(o->data + o->bytes, data, bytes);
    o->bytes += bytes;
    o->data[o->bytes] = '\0';
}

static void put_text(struct text *o, const char *text)
{
    put(o, text, strlen(text));
}

/* A message's text as its style wants it; from: does the text begin with it, so that its own
 * beginning is trimmed? */
static void put_message(struct text *o, const struct style *s, const char *text, int reply,
                        int from)
{
    static const char space[] = " \t\n\v\f\r";
    const int         trim    = s->trim == TRIM_ALL || (reply && s->trim == TRIM_REPLIES);
    if (reply && s->drop_thoughts) {
        const char *whole = text;
        for (const char *p; (p = strstr(text, "</think>"));) text = p + strlen("</think>");
        if (s == &styles[CHAT_QWEN3] && text != whole) text += strspn(text, "\n");
    }
    if (trim && from) text += strspn(text, space);
    size_t n = strlen(text);
    while (trim && n && strchr(space, text[n - 1])) n--;
    put(o, text, n);
}

static void put_system(struct text *o, const struct style *s, const char *text)
{
    put_text(o, s->system[0]);
    put_message(o, s, text, 0, 1);
    put_text(o, s->system[1]);
}

static int has_role(const struct chat_message *m, const char *role)
{
    return !strcmp(m->role, role);
}

static ek_status check_roles(const struct chat_message *m, size_t count, struct error *e)
{
    for (size_t i = 0; i < count; i++) {
        if (!m[i].role || !m[i].text) return fail(e, EK_E_ARG, "chat: message %zu: empty", i);
        if (has_role(&m[i], "user") || has_role(&m[i], "assistant")) continue;
        if (!has_role(&m[i], "system"))
            return fail(e, EK_E_ARG, "chat: message %zu: role %s: unknown", i, m[i].role);
        if (i) return fail(e, EK_E_ARG, "chat: message %zu: only the first can be system", i);
    }
    return EK_OK;
}

static void put_user(struct text *o, const struct style *s, const struct chat_message *m, size_t i)
{
    const size_t begin = has_role(&m[0], "system") ? 1 : 0;
    const int    fold  = i == begin && begin && s->fold;
    if (i > begin && s->again) put_text(o, s->again);
    put_text(o, s->user[0]);
    if (fold) { /* Llama 2 trims the whole of both */
        put_text(o, s->system[0]);
        put_text(o, m[0].text);
        put_text(o, s->system[1]);
    }
    put_message(o, s, m[i].text, 0, !fold);
    put_text(o, s->user[1]);
}

ek_status chat_template_apply(enum chat_template t, const struct chat_message *messages,
                              size_t first, size_t count, char **text, struct error *e)
{
    if ((unsigned)t >= CHAT_TEMPLATES || !messages || !text || first > count)
        return fail(e, EK_E_ARG, "chat: bad argument");
    const struct style *s = &styles[t];
    struct text         o = {NULL, 0, 0, 0};
    ek_status           r = check_roles(messages, count, e);
    if (r) return r;
    put_text(&o, "");
    if (!first && s->default_system && !(count && has_role(messages, "system")))
        put_system(&o, s, s->default_system);
    for (size_t i = first; i < count; i++) {
        const struct chat_message *m = &messages[i];
        if (has_role(m, "user")) {
            put_user(&o, s, messages, i);
        } else if (has_role(m, "assistant")) {
            put_text(&o, s->assistant[0]);
            put_message(&o, s, m->text, 1, 1);
            put_text(&o, s->assistant[1]);
        } else if (!s->fold) {
            put_system(&o, s, m->text);
        }
    }
    put_text(&o, s->open);
    if (o.failed) {
        free(o.data);
        return fail(e, EK_E_NOMEM, "chat: out of memory");
    }
    *text = o.data;
    return EK_OK;
}
