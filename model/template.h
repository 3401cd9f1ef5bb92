/* SPDX-License-Identifier: Apache-2.0 */
/* model/template.h - chat templates, recognised from the model's own Jinja text. */
#ifndef EK_MODEL_TEMPLATE_H
#define EK_MODEL_TEMPLATE_H
#include "model/error.h"

#include <stddef.h>

/** Templates that share markers but not their default system message, dates or spaces are kinds of
 * their own: what they produce differs by tokens. */
enum chat_template {
    CHAT_CHATML,         /* <|im_start|>, no default system message                              */
    CHAT_LLAMA3,         /* <|start_header_id|>                                                  */
    CHAT_LLAMA2,         /* [INST] with <<SYS>>                                                  */
    CHAT_ZEPHYR,         /* <|user|> and the end of the text                                     */
    CHAT_DEEPSEEK,       /* V3: User and Assistant between fullwidth bars                        */
    CHAT_QWEN2,          /* ChatML, "You are a helpful assistant." where there is no system       */
    CHAT_QWEN25,         /* ChatML, "You are Qwen, created by Alibaba Cloud. You are ..."         */
    CHAT_QWEN3,          /* ChatML, earlier replies without their thoughts                        */
    CHAT_LLAMA31,        /* Llama 3 with a system message of dates (26 Jul 2024, its default)     */
    CHAT_MISTRAL,        /* "[INST] x [/INST]reply"; 0.1 and 0.2                                  */
    CHAT_MISTRAL_V1,     /* " [INST] x [/INST] reply"                                       */
    CHAT_MISTRAL_V3,     /* "[INST] x[/INST] reply"                                         */
    CHAT_MISTRAL_TEKKEN, /* "[INST]x[/INST]reply"                                           */
    CHAT_DEEPSEEK_R1,    /* V3 with "<think>" opening the reply                             */
    CHAT_DEEPSEEK_LLM,   /* "User: x", "Assistant: reply"                                   */
    CHAT_DEEPSEEK_CODER, /* "### Instruction:"                                              */
    CHAT_PHI3,           /* <|user|> and <|end|>                                            */
    CHAT_TEMPLATES
};

/** "chatml", "llama3", ... */
const char *chat_template_name(enum chat_template t);

/** The token that ends a reply, as text; models name others in generation_config.json too. */
const char *chat_template_end(enum chat_template t);

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
 * TOKENIZE_SPECIAL. A beginning-of-text token is not included: TOKENIZE_BOS adds it.
 *
 * Where a template has no system message of its own (Llama 2, Mistral), it is part of the first
 * user's message. EK_E_ARG for another role, or a system message that is not the first. */
ek_status chat_template_apply(enum chat_template t, const struct chat_message *messages,
                              size_t first, size_t count, char **text, struct error *e);
#endif
