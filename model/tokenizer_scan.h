/* SPDX-License-Identifier: Apache-2.0 */
/* model/tokenizer_scan.h - walks JSON in place. A vocabulary of 150,000 entries as a tree takes
 * longer than everything else a model does before its first token; the small rest goes to jansson. */
#ifndef EK_MODEL_TOKENIZER_SCAN_H
#define EK_MODEL_TOKENIZER_SCAN_H
#include "model/tokenizer_impl.h"

#include <jansson.h>

struct span {
    const char *data; /* NULL: absent */
    size_t      bytes;
};

struct scan {
    const char   *begin, *p, *end, *path;
    struct error *e;
    struct buffer text; /* the last string that had escapes */
    ek_status     status;
};

/** Steps over c; an error when something else is there. */
int scan_expect(struct scan *s, char c);
/** Is c next? Steps over it. */
int scan_accept(struct scan *s, char c);
/** A string, valid until the next one is read. */
int scan_string(struct scan *s, struct span *out);
int scan_integer(struct scan *s, int64_t *out);
/** Any value: where it lies; its inside is not checked. */
int scan_value(struct scan *s, struct span *out);
/** Only white space is left. */
int scan_finished(struct scan *s);
/** A span by jansson; NULL with *status set on failure, or where it is absent (status EK_OK). */
json_t *span_json(const struct span *v, const char *path, const char *what, ek_status *status,
                  struct error *e);
#endif
