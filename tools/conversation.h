/* SPDX-License-Identifier: Apache-2.0 */
/* tools/conversation.h - the turns of a chat: what text each one adds to the cache. */
#ifndef EK_TOOLS_CONVERSATION_H
#define EK_TOOLS_CONVERSATION_H
#include "model/template.h"

#include <stddef.h>

struct conversation {
    enum chat_template template;
    const char          *system; /* or NULL */
    struct chat_message *messages;
    size_t               count, room;
};

void conversation_start(struct conversation *c, enum chat_template t, const char *system);
void conversation_drop(struct conversation *c);

/**
 * The text that a user's message adds: at first the whole opening; later what closes the reply that
 * stands in the cache, then the message and the opening of the next reply. malloc'd.
 *
 * The message counts as said only after conversation_said. */
ek_status conversation_turn(struct conversation *c, const char *user, char **text, struct error *e);
/* The turn was answered. EK_E_NOMEM. */
ek_status conversation_said(struct conversation *c, const char *user, struct error *e);
#endif
