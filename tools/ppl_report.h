/* SPDX-License-Identifier: Apache-2.0 */
/* tools/ppl_report.h - sums of ek ppl, and how they are printed. */
#ifndef EK_TOOLS_PPL_REPORT_H
#define EK_TOOLS_PPL_REPORT_H
#include "model/kl_base.h"
#include "model/perplexity.h"

#include <jansson.h>

/* Zero-initialised: nothing scored yet. */
struct ppl_report {
    struct likelihood mine, base;                   /* of tokens that have a probability here */
    uint64_t          impossible;                   /* tokens that have none: a sliced head  */
    double           *kld, *dp, *ratio;             /* [count] ratio: nll - base_nll */
    double            least;                        /* sum of lower bounds           */
    size_t            count, room, positions, same; /* count: of possible tokens */
};

/* One position. */
void report_nll(struct ppl_report *r, double nll);
/* One position held against the base. EK_E_NOMEM. */
ek_status report_point(struct ppl_report *r, const struct kl_point *k, struct error *e);
void      report_drop(struct ppl_report *r);

/* As llama-perplexity: "[1]4.5604,", or a row of the table. */
void report_table_head(void);
void report_chunk(const struct ppl_report *r, size_t chunk, int compared);
/* Everything, the last line being the final estimate. base: or NULL. */
void report_final(const struct ppl_report *r, const struct kl_header *base);

json_t *report_json(const struct ppl_report *r, const struct kl_header *base);
#endif
