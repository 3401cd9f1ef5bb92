/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_router.c - routers: what is written is read, others' names are taken, what does not fit
 * is refused in one line that names the file, P(rare) is what the layers say. */
#include "model/file.h"
#include "model/matrices.h"
#include "model/npy.h"
#include "model/router.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HIDDEN = 6, WIDE = 5, VOCAB = 100 };

static char dir[] = "/tmp/ek_router_XXXXXX";

static const char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static void make_dir(void)
{
    cr_assert(mkdtemp(dir));
}
static void remove_dir(void)
{
    static const char *const names[] = {"router.safetensors", "common_ids.npy", "meta.txt"};
    for (size_t i = 0; i < 3; i++) unlink(in_dir(names[i]));
    rmdir(dir);
}

static float first[WIDE * HIDDEN], second[WIDE], first_bias[WIDE], second_bias[1] = {0.25F};

static struct matrix matrix(const char *name, size_t dims, size_t n, size_t k, const void *data)
{
    struct matrix m = {.fmt = EK_FMT_f32, .dims = dims, .n = n, .k = k, .data = data};
    snprintf(m.name, sizeof m.name, "%s", name);
    return m;
}

static void write_text(const char *name, const char *text)
{
    cr_assert_eq(file_write(in_dir(name), text, strlen(text), NULL), EK_OK);
}

/* A directory as somebody else may have written it. */
static void write_theirs(void)
{
    const uint32_t ids[] = {7, 3, 99, 0};
    for (int i = 0; i < WIDE * HIDDEN; i++) first[i] = (float)(i % 7 - 3) * 0.25F;
    for (int i = 0; i < WIDE; i++)
        second[i] = (float)(i - 2) * 0.5F, first_bias[i] = 0.125F * (float)i;
    const struct matrix list[] = {
        matrix("fc2.weight", 2, 1, WIDE, second), matrix("fc1.bias", 1, 1, WIDE, first_bias),
        matrix("fc2.bias", 1, 1, 1, second_bias), matrix("fc1.weight", 2, WIDE, HIDDEN, first)};
    cr_assert_eq(matrices_write(in_dir("router.safetensors"), list, 4, NULL, NULL), EK_OK);
    cr_assert_eq(npy_write_ids(in_dir("common_ids.npy"), ids, 4, NULL), EK_OK);
    write_text("meta.txt", "step: 15000\nhidden_size: 6\r\nanything at all\nvocab_size: 100\n");
}

static double expected(const float *x)
{
    double sum = (double)second_bias[0];
    for (int i = 0; i < WIDE; i++) {
        double h = (double)first_bias[i];
        for (int c = 0; c < HIDDEN; c++) h += (double)first[i * HIDDEN + c] * (double)x[c];
        sum += h > 0 ? h * (double)second[i] : 0;
    }
    return 1 / (1 + exp(-sum));
}

static void check_runs(const struct router *r)
{
    struct ek_kernels t;
    const float       x[2 * HIDDEN] = {1, -2, 0.5F, 3, -1, 0.25F, -3, 1, 2, -0.5F, 1, 4};
    float             p[2];
    size_t            bytes;
    cr_assert_eq(ek_kernels_default(&t), EK_OK);
    cr_assert_eq(router_work_bytes(r, 2, NULL, &bytes), EK_OK);
    void *work = aligned_alloc(64, (bytes + 63) / 64 * 64);
    cr_assert_not_null(work);
    cr_assert_eq(router_run(&t, NULL, r, x, 2, p, work, bytes), EK_OK);
    for (int i = 0; i < 2; i++) cr_assert_float_eq((double)p[i], expected(x + i * HIDDEN), 1e-6);
    cr_assert_eq(router_run(&t, NULL, r, x, 2, p, work, bytes - 1), EK_E_NOMEM);
    free(work);
}

Test(router, theirs_and_ours, .init = make_dir, .fini = remove_dir)
{
    struct router r;
    struct error  e = {""};
    write_theirs();
    cr_assert_eq(router_read(&r, dir, VOCAB, HIDDEN, &e), EK_OK, "%s", e.text);
    for (int turn = 0; turn < 2; turn++) { /* as they wrote it, then as we do */
        const uint32_t want[] = {0, 3, 7, 99};
        cr_assert(r.layer_count == 2 && r.common_count == 4 && r.act == EK_ACT_RELU);
        cr_assert_eq(memcmp(r.common, want, sizeof want), 0);
        cr_assert_eq(r.checksum, turn ? 0xABC : 0);
        cr_assert_eq(router_bytes(&r), 4 * (WIDE * HIDDEN + WIDE + WIDE + 1));
        check_runs(&r);
        r.checksum = 0xABC;
        cr_assert_eq(router_write(&r, dir, VOCAB, "next", &e), EK_OK, "%s", e.text);
        router_drop(&r);
        cr_assert_eq(router_read(&r, dir, VOCAB, HIDDEN, &e), EK_OK, "%s", e.text);
    }
    router_drop(&r);
}

/* Not read: one line, which names the file and says this. */
static void refused(const char *name, const char *said, size_t vocab, size_t hidden)
{
    struct router r;
    struct error  e = {""};
    cr_assert_neq(router_read(&r, dir, vocab, hidden, &e), EK_OK, "%s: %s", name, said);
    cr_assert(strstr(e.text, name) && strstr(e.text, said) && !strchr(e.text, '\n'),
              "wanted %s: %s; had %s", name, said, e.text);
    cr_assert(!r.common && !r.layer_count && !r.layers[0].data);
}

Test(router, wrong_models_and_meta, .init = make_dir, .fini = remove_dir)
{
    write_theirs();
    refused("meta.txt", "made for 100, not 99", 99, HIDDEN);
    refused("meta.txt", "made for 6, not 8", VOCAB, 8);
    write_text("meta.txt", "");
    refused("common_ids.npy", "id 99 is not in [0, 99)", 99, HIDDEN);
    refused("router.safetensors", "takes the 8 numbers", VOCAB, 8);
    static const char *const metas[][2] = {{"tap: mlp.in", "made for mlp.in, not head.in"},
                                           {"activation: swish9", "swish9 is not supported"},
                                           {"hidden_size: six", "six is no number"},
                                           {"model_checksum: xyz", "xyz"}};
    for (size_t i = 0; i < sizeof metas / sizeof *metas; i++) {
        write_text("meta.txt", metas[i][0]);
        refused("meta.txt", metas[i][1], VOCAB, HIDDEN);
    }
}

Test(router, wrong_ids, .init = make_dir, .fini = remove_dir)
{
    const uint32_t twice[] = {5, 1, 5}, past[] = {100};
    write_theirs();
    cr_assert_eq(npy_write_ids(in_dir("common_ids.npy"), twice, 3, NULL), EK_OK);
    refused("common_ids.npy", "id 5 is there twice", VOCAB, HIDDEN);
    cr_assert_eq(npy_write_ids(in_dir("common_ids.npy"), past, 1, NULL), EK_OK);
    refused("common_ids.npy", "id 100", VOCAB, HIDDEN);
    cr_assert_eq(npy_write_ids(in_dir("common_ids.npy"), past, 0, NULL), EK_OK);
    refused("common_ids.npy", "not a list", VOCAB, HIDDEN);
}

Test(router, wrong_layers, .init = make_dir, .fini = remove_dir)
{
    const float         bad[WIDE] = {0, NAN};
    const struct matrix w1        = matrix("a.weight", 2, WIDE, HIDDEN, first),
                        w2        = matrix("b.weight", 2, 1, WIDE, second);
    const struct {
        struct matrix list[3];
        size_t        count;
        const char   *said;
    } files[] = {
        {{w1}, 1, "gives 5 numbers, not 1"},
        {{w1, w2, matrix("c.weight", 2, 1, WIDE, second)}, 3, "takes the 1 numbers"},
        {{w1, w2, matrix("c.bias", 1, 1, WIDE, first_bias)}, 3, "without its weight"},
        {{w1, w2, matrix("a.bias", 1, 1, 3, first_bias)}, 3, "3 values, not 5"},
        {{w1, w2, matrix("a.bias", 1, 1, WIDE, bad)}, 3, "not finite"},
        {{w1, w2, matrix("scale", 1, 1, WIDE, first_bias)}, 3, "neither weight nor bias"},
        {{matrix("b.bias", 1, 1, 1, second_bias)}, 0, "no layers"},
    };
    write_theirs();
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        cr_assert_eq(
            matrices_write(in_dir("router.safetensors"), files[i].list, files[i].count, NULL, NULL),
            EK_OK);
        refused("router.safetensors", files[i].said, VOCAB, HIDDEN);
    }
}

/* Every shorter file is refused, and so is a missing one. */
Test(router, cuts_and_missing_files, .init = make_dir, .fini = remove_dir)
{
    static const char *const names[] = {"router.safetensors", "common_ids.npy"};
    for (size_t i = 0; i < 2; i++) {
        char  *data;
        size_t bytes;
        write_theirs();
        cr_assert_eq(file_read(in_dir(names[i]), 1 << 20, &data, &bytes, NULL), EK_OK);
        for (size_t cut = 0; cut < bytes; cut += cut + 8 < bytes ? 3 : 1) {
            cr_assert_eq(file_write(in_dir(names[i]), data, cut, NULL), EK_OK);
            refused(names[i], "", VOCAB, HIDDEN);
        }
        free(data);
        unlink(in_dir(names[i]));
        refused(names[i], "No such file", VOCAB, HIDDEN);
    }
    write_theirs();
    unlink(in_dir("meta.txt"));
    refused("meta.txt", "No such file", VOCAB, HIDDEN);
}
