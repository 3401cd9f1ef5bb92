/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_template.c - chat templates: what jinja2 makes of the published ones, and which is which. */
#include "model/template.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGES_MAX = 16 };

static json_t *load_cases(void)
{
    json_error_t e;
    json_t      *cases = json_load_file(EK_FIXTURES "/chat_templates.json", 0, &e);
    cr_assert_not_null(cases, "%s", e.text);
    return cases;
}

static size_t messages_of(const json_t *list, struct chat_message *m)
{
    cr_assert_leq(json_array_size(list), MESSAGES_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *v = json_array_get(list, i);
        m[i].role       = json_string_value(json_object_get(v, "role"));
        m[i].text       = json_string_value(json_object_get(v, "content"));
    }
    return json_array_size(list);
}

Test(template, renders_as_jinja_does)
{
    json_t *cases                = load_cases();
    int     seen[CHAT_TEMPLATES] = {0};
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t       *c    = json_array_get(cases, i);
        const char         *name = json_string_value(json_object_get(c, "template"));
        const char         *want = json_string_value(json_object_get(c, "text"));
        struct chat_message m[MESSAGES_MAX];
        const size_t        n = messages_of(json_object_get(c, "messages"), m);
        enum chat_template  t = CHAT_TEMPLATES;
        char               *text;
        cr_assert_eq(chat_template_from_name(name, &t, NULL), EK_OK, "%s", name);
        cr_assert_eq(chat_template_apply(t, m, 0, n, &text, NULL), EK_OK);
        cr_assert_str_eq(text, want, "%s, conversation %zu:\nhave %s\nwant %s", name, i, text,
                         want);
        free(text);
        seen[t]++;
    }
    for (int t = 0; t < CHAT_TEMPLATES; t++)
        cr_assert_geq(seen[t], 2, "%s has no cases", chat_template_name((enum chat_template)t));
    json_decref(cases);
}

/* A later turn is the end of the whole, and begins where the turn before it ended. */
Test(template, turns_add_up)
{
    static const struct chat_message m[] = {{"system", "S"},       {"user", "one"},
                                            {"assistant", "two"},  {"user", "three"},
                                            {"assistant", "four"}, {"user", "five"}};
    for (int t = 0; t < CHAT_TEMPLATES; t++) {
        char *whole, *part;
        cr_assert_eq(chat_template_apply((enum chat_template)t, m, 0, 6, &whole, NULL), EK_OK);
        for (size_t first = 2; first < 6; first++) {
            cr_assert_eq(chat_template_apply((enum chat_template)t, m, first, 6, &part, NULL),
                         EK_OK);
            const size_t a = strlen(whole), b = strlen(part);
            cr_assert_lt(b, a);
            cr_assert_str_eq(whole + a - b, part, "%s", chat_template_name((enum chat_template)t));
            cr_assert_null(strstr(part, "one"));
            free(part);
        }
        free(whole);
    }
}

Test(template, refuses_roles)
{
    static const struct chat_message late[] = {{"user", "a"}, {"system", "b"}};
    static const struct chat_message tool[] = {{"tool", "a"}};
    struct error                     e;
    char                            *text;
    cr_assert_eq(chat_template_apply(CHAT_CHATML, late, 0, 2, &text, &e), EK_E_ARG);
    cr_assert_eq(chat_template_apply(CHAT_CHATML, tool, 0, 1, &text, &e), EK_E_ARG);
    cr_assert_not_null(strstr(e.text, "tool"));
    cr_assert_eq(chat_template_apply(CHAT_TEMPLATES, tool, 0, 1, &text, &e), EK_E_ARG);
}

/* The marks by which the published templates are known, in sentences of ours. */
Test(template, recognises)
{
    static const struct {
        const char        *jinja;
        enum chat_template want;
    } cases[] = {
        {"{{ '<|im_start|>' + m.role }}{{ '<|im_end|>' }}", CHAT_CHATML},
        {"{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>' }}", CHAT_QWEN2},
        {"{{ '<|im_start|>system\\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
         "assistant.<|im_end|>' }}",
         CHAT_QWEN25},
        {"{{ '<|im_start|>' }}{% if '</think>' in c %}{{ '<|im_end|>' }}", CHAT_QWEN3},
        {"{{ '<|start_header_id|>' + r + '<|end_header_id|>' + c + '<|eot_id|>' }}", CHAT_LLAMA3},
        {"{{ '<|start_header_id|>Cutting Knowledge Date: <|eot_id|>' }}", CHAT_LLAMA31},
        {"{{ '[INST] <<SYS>>' + s + '<</SYS>>' + c + ' [/INST]' }}", CHAT_LLAMA2},
        {"{{ '[INST] ' + c + ' [/INST]' }}", CHAT_MISTRAL},
        {"{{ ' [INST] ' + c + ' [/INST]' }}", CHAT_MISTRAL_V1},
        {"{{ \"[INST] \" + c + \"[/INST]\" }}", CHAT_MISTRAL_V3},
        {"{{ \"[INST]\" + c + \"[/INST]\" }}", CHAT_MISTRAL_TEKKEN},
        {"{{ '<|user|>' + c + eos_token }}{{ '<|assistant|>' }}", CHAT_ZEPHYR},
        {"{% for message in messages %}{{ '<|user|>' + c + '<|end|>' }}{{ '<|assistant|>' }}",
         CHAT_PHI3},
        {"{{ '<\xEF\xBD\x9CUser\xEF\xBD\x9C>' + c }}{{ '<\xEF\xBD\x9C"
         "Assistant\xEF\xBD\x9C>' }}",
         CHAT_DEEPSEEK},
        {"{{ '<\xEF\xBD\x9CUser\xEF\xBD\x9C>' + c }}{{ '<\xEF\xBD\x9C"
         "Assistant\xEF\xBD\x9C><think>\\n' }}",
         CHAT_DEEPSEEK_R1},
        {"{{ 'User: ' + c }}{{ 'Assistant: ' + c + eos_token }}", CHAT_DEEPSEEK_LLM},
        {"{{ '### Instruction:' }}{{ '### Response:' }}{{ '<|EOT|>' }}", CHAT_DEEPSEEK_CODER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        enum chat_template t = CHAT_TEMPLATES;
        cr_assert_eq(chat_template_recognise(cases[i].jinja, &t, NULL), EK_OK, "%s",
                     cases[i].jinja);
        cr_assert_str_eq(chat_template_name(t), chat_template_name(cases[i].want));
    }
}

Test(template, unknown_names_the_option)
{
    static const char *const unknown[] = {NULL,
                                          "",
                                          "{{ '<start_of_turn>' + role }}",
                                          "{{ '<|im_start|>user<|im_sep|>' + c + '<|im_end|>' }}",
                                          "{{ '[SYSTEM_PROMPT] [INST] ' + c + ' [/INST]' }}",
                                          "{{ '<|user|>' + c }}{{ '<|assistant|>' }}"};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        enum chat_template t = CHAT_TEMPLATES;
        struct error       e;
        cr_assert_eq(chat_template_recognise(unknown[i], &t, &e), EK_E_UNSUPPORTED, "%zu", i);
        cr_assert_not_null(strstr(e.text, "--template"));
        cr_assert_eq(t, CHAT_TEMPLATES);
    }
}

Test(template, names)
{
    struct error       e;
    enum chat_template t = CHAT_TEMPLATES;
    for (int i = 0; i < CHAT_TEMPLATES; i++) {
        cr_assert_eq(chat_template_from_name(chat_template_name((enum chat_template)i), &t, &e),
                     EK_OK);
        cr_assert_eq((int)t, i);
        cr_assert_gt(strlen(chat_template_end(t)), 0);
    }
    cr_assert_eq(chat_template_from_name("llama9", &t, &e), EK_E_ARG);
    cr_assert_not_null(strstr(e.text, "phi3"), "the list is cut: %s", e.text);
    cr_assert_str_eq(chat_template_name(CHAT_TEMPLATES), "unknown");
}
