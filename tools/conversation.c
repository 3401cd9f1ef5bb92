/* SPDX-License-Identifier: Apache-2.0 */
/* tools/conversation.c - the turns of a chat: what text each one adds to the cache. */
#include "tools/conversation.h"

#include <stdlib.h>
#include <string.h>

/* Stands for a reply: the cache holds the reply itself, so only what follows it is wanted. */
static const char marker[] = "\x02reply\x03";

void conversation_start(struct conversation *c, enum chat_template t, const char *system)
{
    *c = (struct conversation){.template = t, .system = system};
}

void conversation_drop(struct conversation *c)
{
    for (size_t i = 0; i < c->count; i++) {
        char *copy; /* conversation_said made it */
        memcpy(&copy, &c->messages[i].text, sizeof copy);
        if (!strcmp(c->messages[i].role, "user")) free(copy);
    }
    free(c->messages);
    conversation_start(c, c->template, c->system);
}

/* Room for a system message, a user's, and a reply. */
static ek_status make_room(struct conversation *c, struct error *e)
{
    enum { ADDED = 3, FIRST = 16 };
    if (c->count + ADDED <= c->room) return EK_OK;
    const size_t         room = 2 * c->room + FIRST;
    struct chat_message *more = realloc(c->messages, room * sizeof *more);
    if (!more) return fail(e, EK_E_NOMEM, "chat: out of memory");
    c->messages = more, c->room = room;
    return EK_OK;
}

/* What stands behind the last marker replaces text. */
static ek_status cut_behind_marker(char *text, struct error *e)
{
    char *at = NULL;
    for (char *p = text; (p = strstr(p, marker)); p += sizeof marker - 1) at = p;
    if (!at) return fail(e, EK_E_UNSUPPORTED, "chat: the template drops earlier replies");
    memmove(text, at + sizeof marker - 1, strlen(at + sizeof marker - 1) + 1);
    return EK_OK;
}

ek_status conversation_turn(struct conversation *c, const char *user, char **text, struct error *e)
{
    ek_status s = make_room(c, e);
    if (s) return s;
    const size_t before = c->count;
    if (!before && c->system) c->messages[c->count++] = (struct chat_message){"system", c->system};
    c->messages[c->count] = (struct chat_message){"user", user};
    s = chat_template_apply(c->template, c->messages, before ? before - 1 : 0, c->count + 1, text,
                            e);
    c->count = before;
    if (!s && before && (s = cut_behind_marker(*text, e))) free(*text);
    return s;
}

ek_status conversation_said(struct conversation *c, const char *user, struct error *e)
{
    ek_status s    = make_room(c, e);
    char     *copy = s ? NULL : strdup(user);
    if (!copy) return fail(e, EK_E_NOMEM, "chat: out of memory");
    if (!c->count && c->system)
        c->messages[c->count++] = (struct chat_message){"system", c->system};
    c->messages[c->count++] = (struct chat_message){"user", copy};
    c->messages[c->count++] = (struct chat_message){"assistant", marker};
    return EK_OK;
}
