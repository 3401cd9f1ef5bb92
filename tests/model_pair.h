/* SPDX-License-Identifier: Apache-2.0 */
/* tests/model_pair.h - a tiny model and its conversion, for tests with Criterion. */
#ifndef EK_TESTS_MODEL_PAIR_H
#define EK_TESTS_MODEL_PAIR_H
#include "model/convert.h"
#include "tests/model_files.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static inline struct convert_options options(int type)
{
    return (struct convert_options){
        .type = type, .head = CONVERT_DEFAULT, .embed = CONVERT_DEFAULT};
}

/* A model of the architecture and its conversion, both open, in a directory of their own. */
struct pair {
    char           dir[64], src[80], dst[80];
    struct source *from, *to;
    struct error   e;
};

static inline void pair_make(struct pair *p, const struct config *c)
{
    memset(p, 0, sizeof *p);
    directory_make(p->dir);
    snprintf(p->src, sizeof p->src, "%s/src", p->dir);
    snprintf(p->dst, sizeof p->dst, "%s/dst", p->dir);
    cr_assert_eq(mkdir(p->src, 0755), 0);
    hf_directory(c, p->src);
    cr_assert_eq(source_open(&p->from, p->src, &p->e), EK_OK, "%s", p->e.text);
}

static inline void pair_convert(struct pair *p, const struct convert_options *o)
{
    source_close(p->to);
    p->to = NULL;
    cr_assert_eq(convert(p->src, p->dst, o, &p->e), EK_OK, "%s", p->e.text);
    cr_assert_eq(source_open(&p->to, p->dst, &p->e), EK_OK, "%s", p->e.text);
    cr_assert_eq(p->to->kind, SOURCE_EK);
}

static inline void pair_drop(struct pair *p)
{
    source_close(p->from);
    source_close(p->to);
    directory_remove(p->dir);
}

static inline const struct tensor *found(const struct source *s, const char *name)
{
    const struct tensor *t = source_find(s, name);
    cr_assert_not_null(t, "%s", name);
    return t;
}

static inline float *floats(const struct tensor *t)
{
    float       *x = malloc(t->n * t->k * sizeof *x);
    struct error e = {""};
    cr_assert_eq(tensor_floats(t, 0, t->n, x, &e), EK_OK, "%s", e.text);
    return x;
}
#endif
