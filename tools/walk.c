/* SPDX-License-Identifier: Apache-2.0 */
/* tools/walk.c - a text through a model for those who learn from its states. */
#include "tools/walk.h"

#include "tools/progress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

ek_status parts_of(size_t rows, struct parts *p, struct error *e)
{
    const size_t held = rows / 5;
    *p                = (struct parts){rows - held, held - held / 2, held / 2};
    return p->test ? EK_OK : fail(e, EK_E_ARG, "%zu tokens are too few to learn from", rows);
}

ek_status train_net(struct training *t, struct net_options *o, const struct train_args *a,
                    const struct parts *p, struct error *e)
{
    o->batch = a->batch, o->seed = a->seed, o->decay = 0.01;
    t->net            = NULL;
    t->batch          = a->batch;
    t->rows           = p->learn;
    t->held           = p->stop;
    t->epochs         = a->epochs;
    t->patience       = a->patience;
    t->rate           = a->rate;
    t->warmup         = 0.1;
    t->seed           = a->seed;
    const ek_status s = net_open(&t->net, o, e);
    return s ? s : train(t, e);
}

void *spill(const char *beside, size_t bytes, struct error *e)
{
    char      path[4096];
    const int n = snprintf(path, sizeof path, "%s.states.XXXXXX", beside);
    if (n < 0 || (size_t)n >= sizeof path) {
        (void)fail(e, EK_E_ARG, "%s: name too long", beside);
        return NULL;
    }
    const int fd = mkstemp(path);
    if (fd < 0 || unlink(path) || ftruncate(fd, (off_t)bytes)) {
        (void)fail(e, EK_E_IO, "%s: %s", path, strerror(errno));
        if (fd >= 0) close(fd);
        return NULL;
    }
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED) return p;
    (void)fail(e, EK_E_NOMEM, "%s: %zu bytes of states: %s", beside, bytes, strerror(errno));
    return NULL;
}

void spill_drop(void *p, size_t bytes)
{
    if (p) munmap(p, bytes);
}

static ek_status walk_window(const struct evaluation *v, struct window w, enum logits_wanted wanted,
                             walk_fn *after, void *self, struct error *e)
{
    struct session *session = v->runner->session;
    const size_t    batch   = session_settings(session)->batch;
    const float    *logits  = NULL;
    ek_status       s       = session_truncate(session, 0);
    if (s) return fail(e, s, "the session cannot be emptied");
    for (size_t at = w.begin; at < w.end && !s;) {
        const size_t n = w.end - at < batch ? w.end - at : batch;
        s              = session_eval(session, v->ids + at, n, wanted, &logits, e);
        if (!s && after) s = after(self, at, n, w.end, logits, e);
        at += n;
    }
    return s;
}

ek_status walk_text(const struct evaluation *v, enum logits_wanted wanted, walk_fn *after,
                    void *self, struct error *e)
{
    ek_status s = EK_OK;
    for (size_t i = 0; i < v->windows && !s; i++) {
        if (v->label) progress_show(NULL, v->label, i, v->windows);
        s = walk_window(v, window_at(&v->protocol, v->count, i), wanted, after, self, e);
    }
    if (v->label) progress_clear();
    return s;
}
