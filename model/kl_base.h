/* SPDX-License-Identifier: Apache-2.0 */
/* model/kl_base.h - what a model predicted at every scored token of a text, kept in a file so that
 * another model (or the same in another format) can be held against it.
 *
 * Whole distributions of large vocabularies take gigabytes. Kept are the top most probable tokens
 * exactly and, of the rest, its probability and samples drawn in proportion to it: the divergence's
 * sum over the rest is that probability times a mean over the samples, unbiased whatever is drawn.
 * top = vocab keeps everything. Layout: docs/running.md. */
#ifndef EK_MODEL_KL_BASE_H
#define EK_MODEL_KL_BASE_H
#include "model/error.h"

#include <stddef.h>
#include <stdint.h>

struct kl_header {
    uint64_t vocab, context, stride;
    uint64_t positions; /* scored tokens                                            */
    uint64_t top;       /* <= vocab                                                 */
    uint64_t samples;   /* 0 where top = vocab                                      */
    uint64_t ids_hash;  /* checksum64 of the ids of all windows                     */
    uint64_t model;     /* checksum of the base model: told, not compared           */
    char     name[64];  /* its model_type, with a '\0'                              */
};

/** Bytes of one position; 0 where the header makes no sense. */
size_t kl_record_bytes(const struct kl_header *h);

/** The record of logits [vocab] followed by token next, at position index. scratch: [top] of struct
 * candidate. NaN logits count as impossible. */
struct candidate;
void kl_record(const struct kl_header *h, const float *logits, int32_t next, uint64_t index,
               struct candidate *scratch, void *record);

/* ---- writing: a temporary file beside path, renamed when it is whole ---- */

struct kl_writer;
ek_status kl_create(struct kl_writer **w, const char *path, const struct kl_header *h,
                    struct error *e);
ek_status kl_append(struct kl_writer *w, const void *records, size_t count, struct error *e);
/** Ends the file, which must have all its positions, and closes w; keep = 0 removes it. */
ek_status kl_finish(struct kl_writer *w, int keep, struct error *e);

/* ---- reading ---- */

struct kl_base;
ek_status               kl_open(struct kl_base **b, const char *path, struct error *e);
void                    kl_close(struct kl_base *b);
const struct kl_header *kl_header(const struct kl_base *b);
/** EK_E_ARG, naming what differs, unless b is of the same vocabulary, protocol and text. */
ek_status kl_check(const struct kl_base *b, const struct kl_header *mine, struct error *e);

/** One position of the base against logits [vocab] and the token that follows. */
struct kl_point {
    double kld;   /* of the base's distribution and this one, nats                       */
    double least; /* a lower bound: the rest taken as one token; = kld where all is kept */
    double nll, base_nll;
    double dp; /* p(next) - p_base(next) */
    int    same_top;
};
void kl_compare(const struct kl_base *b, uint64_t position, const float *logits, int32_t next,
                struct kl_point *out);
#endif
