/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_memory.c - opening and converting with one allocation after the other refused: a status
 * each time, nothing left behind. Linked with --wrap for the allocators. */
#include "model/convert.h"
#include "model/source.h"
#include "tests/model_files.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker's names */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

/* NOLINTEND(bugprone-reserved-identifier) */

static long before_refusal = -1; /* allocations that still succeed; -1: all */

static int refused(void)
{
    if (before_refusal < 0) return 0;
    if (before_refusal == 0) return 1; /* from then on nothing succeeds */
    before_refusal--;
    return 0;
}

void *__wrap_malloc(size_t n)
{
    return refused() ? NULL : __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size)
{
    return refused() ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n)
{
    return refused() ? NULL : __real_realloc(p, n);
}

/* Runs with 0, step, 2 step, ... allocations until it goes through; how many that took. */
static long until_it_works(ek_status (*run)(const char *dir, struct error *e), const char *dir,
                           long step)
{
    for (long n = 0; n < 100000; n += step) {
        struct error e    = {""};
        before_refusal    = n;
        const ek_status s = run(dir, &e);
        before_refusal    = -1;
        if (!s) return n;
        /* jansson does not tell running out of memory from bad JSON everywhere */
        const int sound = s == EK_E_NOMEM || s == EK_E_FORMAT || s == EK_E_IO;
        if (sound && *e.text) continue;
        fprintf(stderr, "%ld allocations: status %d, %s\n", n, (int)s, e.text);
        break;
    }
    return -1;
}

static ek_status run_open(const char *dir, struct error *e)
{
    struct source  *s;
    const ek_status bad = source_open(&s, dir, e);
    if (!bad) source_close(s);
    return bad;
}

static ek_status run_convert(const char *dir, struct error *e)
{
    char                         out[96];
    const struct convert_options o = {
        .type = EK_FMT_q8g32, .head = CONVERT_DEFAULT, .embed = CONVERT_DEFAULT};
    snprintf(out, sizeof out, "%s/out", dir);
    return convert(dir, out, &o, e);
}

Test(memory, runs_out)
{
    const struct config c = tiny_config("qwen2", 1);
    char                dir[64], out[96];
    struct source      *s;
    struct error        e = {""};
    json_set_alloc_funcs(__wrap_malloc, free);
    directory_make(dir);
    hf_directory(&c, dir);
    cr_assert_gt(until_it_works(run_open, dir, 1), 30);
    cr_assert_gt(until_it_works(run_convert, dir, 11), 100);
    snprintf(out, sizeof out, "%s/out", dir);
    cr_assert_eq(source_open(&s, out, &e), EK_OK, "%s", e.text);
    cr_assert_eq(s->config.qkv_bias, 1);
    source_close(s);
    directory_remove(dir);
}
