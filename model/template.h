/* SPDX-License-Identifier: Apache-2.0 */
/* model/template.h - chat templates, recognised from the model's own Jinja text. */
#ifndef EK_MODEL_TEMPLATE_H
#define EK_MODEL_TEMPLATE_H
#include "model/error.h"

#include <stddef.h>

enum chat_template {
    CHAT_CHATML, /* Qwen        */
    CHAT_LLAMA3,
    CHAT_LLAMA2, /* and Mistral: [INST] */
    CHAT_ZEPHYR,
    CHAT_DEEPSEEK,
    CHAT_TEMPLATES
};

/** "chatml", "llama3", ... */
const char *chat_template_name(enum chat_template t);

/** By name; EK_E_ARG lists the known ones. */
ek_status chat_template_from_name(const char *name, enum chat_template *t, struct error *e);

/** From Jinja text (NULL: none); EK_E_UNSUPPORTED names --template. */
ek_status chat_template_recognise(const char *jinja, enum chat_template *t, struct error *e);

struct chat_message {
    const char *role; /* "system", "user", "assistant" */
    const char *text;
};

/**
 * The text of messages [first, count) as the template has it (first = 0 begins the conversation),
 * then the opening of the assistant's turn. malloc'd; special tokens as text, to be encoded with
 * TOKENIZE_SPECIAL. A beginning-of-text token is not included: TOKENIZE_BOS adds it. */
ek_status chat_template_apply(enum chat_template t, const struct chat_message *messages,
                              size_t first, size_t count, char **text, struct error *e);
#endif
