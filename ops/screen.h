/* SPDX-License-Identifier: Apache-2.0 */
/* ops/screen.h - the bound of a screened head (docs/numerics.md has the proof). */
#ifndef EK_SCREEN_H
#define EK_SCREEN_H
#include "ek/head.h"
#include "ops/product.h"

#define ek_screen_limits EK_SYM(ek_screen_limits)
#define ek_screen_sound  EK_SYM(ek_screen_sound)

/* Of a call: |exact logit - screened logit| <= error_r * e + norm_r * n + rest for every row. */
struct ek_limits {
    float e, n, rest;
};

/* The factors for the activations of these two products. 0 where no bound holds: the state is not
 * finite, or so large that a sum may overflow. */
int ek_screen_limits(const struct ek_head_screen *s, const struct ek_product *exact,
                     const struct ek_product *screened, struct ek_limits *out);

/* Is s a screen that can stand for w? */
ek_status ek_screen_sound(const struct ek_head_screen *s, const struct ek_weights *w);

#endif
