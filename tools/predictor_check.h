/* SPDX-License-Identifier: Apache-2.0 */
/* tools/predictor_check.h - states of a layer's MLP, and what a predictor makes of them. */
#ifndef EK_TOOLS_PREDICTOR_CHECK_H
#define EK_TOOLS_PREDICTOR_CHECK_H
#include "model/predictors.h"
#include "tools/walk.h"

struct layer_states {
    uint16_t *x;      /* [rows][hidden] bf16: what the MLP read */
    uint64_t *active; /* [rows][words]: which neurons were      */
    size_t    rows, hidden, ffn, words;
};

/* A train_fill_fn. self: struct layer_states. */
void layer_fill(void *self, const uint32_t *rows, size_t m, float *inputs, float *answers);

/* Share of neurons that are active in rows [first, first + count). */
double layer_density(const struct layer_states *x, size_t first, size_t count);

struct layer_check {
    const struct ek_kernels   *kernels;
    const ek_pool             *pool;
    const struct layer_states *x;
    const struct predictors   *p;
    size_t                     layer;
};

/* The threshold from which on scores find the share `recall` of the active neurons of some rows. */
ek_status layer_threshold(const struct layer_check *c, size_t first, size_t count, double recall,
                          double *threshold);

/* All are shares, over rows and neurons: of neurons active, of the active those found, of neurons
 * predicted, of the predicted those active. */
struct layer_report {
    double active, recall, density, precision;
};

/* By the rule that the runner applies. */
ek_status layer_measure(const struct layer_check *c, size_t first, size_t count,
                        struct layer_report *r);

/* Runs the last `windows` of v's text with thresholds alone, then with the predictors of a file
 * too, and prints how they differ. a: of the first run; v is of no use afterwards. */
int predictor_check(struct evaluation *v, struct session_args *a, const char *file, size_t windows);
#endif
