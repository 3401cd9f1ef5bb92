/* SPDX-License-Identifier: Apache-2.0 */
/* model/predictors.h - which neurons of each MLP a token will need, guessed from the MLP's input:
 * files of ek train-predictor. Schema: docs/running.md. */
#ifndef EK_MODEL_PREDICTORS_H
#define EK_MODEL_PREDICTORS_H
#include "ek/predictor.h"
#include "model/error.h"

#include <stddef.h>
#include <stdint.h>

#define PREDICTORS_FORMAT "edgekern predictor"
enum { PREDICTORS_VERSION = 1 };

struct predictor_layer {
    struct ek_weights down, up; /* [rank][hidden], [ffn][rank]: f32, f16 or bf16 */
    double            value;    /* of the rule                                   */
};

/** Zero-initialised: none. */
struct predictors {
    struct predictor_layer *layer; /* [layers] */
    size_t                  layers;
    enum ek_rule_kind       rule; /* value: THRESHOLD the threshold; TOPK the share taken; GAUSS the
                                     share left out; SIGMA deviations above the mean */
};

/** What a file is for, checked when it is read, and told in it. */
struct predictors_for {
    const char *tap; /* whose rows are the inputs */
    size_t      layers, hidden, ffn;
    uint64_t    checksum; /* of the model */
};

/** Reads a file. EK_E_ARG for one of another model or tap; the line names the file. */
ek_status predictors_read(struct predictors *p, const char *path, const struct predictors_for *what,
                          struct error *e);
/** The same from the bytes of a file. */
ek_status predictors_parse(struct predictors *p, const void *data, size_t bytes, const char *path,
                           const struct predictors_for *what, struct error *e);
void      predictors_drop(struct predictors *p);

/** Writes it. text: checksum of the token ids it was learnt from. */
ek_status predictors_write(const struct predictors *p, const char *path,
                           const struct predictors_for *what, uint64_t text, struct error *e);

/** The rule of a layer over n neurons. */
struct ek_mask_rule predictors_rule(const struct predictors *p, size_t layer, size_t n);
#endif
