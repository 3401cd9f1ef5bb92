/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_plan_files.c - files that change what a model computes: blocks left out, thresholds. */
#include "model/cuts.h"
#include "model/file.h"
#include "model/thresholds.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/ek_plan_XXXXXX";

static void make_path(void)
{
    const int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
}
static void remove_path(void)
{
    unlink(path);
}

static void write_text(const char *text)
{
    struct error e;
    cr_assert_eq(file_write(path, text, strlen(text), &e), EK_OK);
}

struct refusal {
    const char *text, *said;
};

/* Each text: not read, one line that names the file and what is wrong, nothing left behind. */
static void refused(const struct refusal *list, size_t count, ek_status (*read)(struct error *))
{
    for (size_t i = 0; i < count; i++) {
        struct error e = {0};
        write_text(list[i].text);
        cr_assert_neq(read(&e), EK_OK, "%s", list[i].text);
        cr_assert(strstr(e.text, list[i].said), "%s: %s", list[i].text, e.text);
        cr_assert(strstr(e.text, path) && !strchr(e.text, '\n'), "%s", e.text);
    }
}

/* ---- blocks left out: those of ek ablate and of others ---- */

Test(cuts, entries, .init = make_path, .fini = remove_path)
{
    static const struct {
        const char   *text;
        unsigned char want[4];
    } lists[] = {
        {"{\"cut\":[]}", {0, 0, 0, 0}},
        {"{\"cut\":[1,3]}", {0, CUT_MLP, 0, CUT_MLP}},
        {"{\"what\":\"attention\",\"cut\":[0]}", {CUT_ATTENTION, 0, 0, 0}},
        {"{\"cut\":[{\"layer\":2,\"what\":\"layer\"},{\"idx\":0}]}", {CUT_MLP, 0, CUT_LAYER, 0}},
        {"{\"what\":\"layer\",\"model\":{\"layers\":4},\"cut\":[3]}", {0, 0, 0, CUT_LAYER}},
        {"{\"model\":\"some name\",\"cut\":[{\"layer\":1,\"what\":\"mlp\"},"
         "{\"layer\":1,\"what\":\"attention\"}]}",
         {0, CUT_LAYER, 0, 0}},
    };
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct cuts  c;
        struct error e;
        write_text(lists[i].text);
        cr_assert_eq(cuts_read(&c, path, 4, &e), EK_OK, "%s: %s", lists[i].text, e.text);
        cr_assert_eq(memcmp(c.left_out, lists[i].want, 4), 0, "%s", lists[i].text);
        cuts_drop(&c);
    }
}

static ek_status read_cuts(struct error *e)
{
    struct cuts     c;
    const ek_status s = cuts_read(&c, path, 4, e);
    cr_assert(!s || !c.left_out);
    return s;
}
Test(cuts, refusals_name_what_is_wrong, .init = make_path, .fini = remove_path)
{
    static const struct refusal list[] = {
        {"", "line"},
        {"[1]", "not a JSON object"},
        {"{}", "cut: not a list"},
        {"{\"cut\":3}", "cut: not a list"},
        {"{\"cut\":[4]}", "layer 4 of a model with 4"},
        {"{\"cut\":[-1]}", "layer -1"},
        {"{\"cut\":[9223372036854775807]}", "layer 9223372036854775807"},
        {"{\"cut\":[1.5]}", "neither"},
        {"{\"cut\":[\"1\"]}", "neither"},
        {"{\"cut\":[1,1]}", "twice"},
        {"{\"cut\":[{\"what\":\"mlp\"}]}", "idx: missing"},
        {"{\"cut\":[{\"layer\":1,\"what\":\"head\"}]}", "what: not"},
        {"{\"what\":\"head\",\"cut\":[1]}", "what: not"},
        {"{\"model\":{\"layers\":5},\"cut\":[1]}", "made for a model with 5 layers"},
    };
    refused(list, sizeof list / sizeof *list, read_cuts);
    struct cuts  c;
    struct error e;
    cr_assert_eq(cuts_read(&c, "/nowhere/cuts.json", 4, &e), EK_E_IO);
}

/* ---- thresholds: refused for another model or tap ---- */

#define MODEL "\"model\":{\"layers\":3,\"checksum\":\"00000000000000ab\"}"
#define HEAD  "{\"format\":\"edgekern thresholds\",\"version\":2,"

Test(thresholds, values, .init = make_path, .fini = remove_path)
{
    struct thresholds t;
    struct error      e;
    write_text(HEAD MODEL ",\"thresholds\":{\"mlp.gate\":[0,0.5,3],\"attn.out\":[1,2,4]}}");
    cr_assert_eq(thresholds_read(&t, path, 3, 0xab, &e), EK_OK, "%s", e.text);
    const float *gate = t.value[TAP_MLP_GATE], *out = t.value[TAP_ATTN_OUT];
    cr_assert(gate && gate[0] == 0.0f && gate[1] == 0.5f && gate[2] == 3.0f);
    cr_assert(out && out[0] == 1.0f && out[2] == 4.0f);
    cr_assert(!t.value[TAP_ATTN_IN] && !t.value[TAP_MLP_IN] && !t.value[TAP_MLP_HIDDEN]);
    thresholds_drop(&t);
}

static ek_status read_thresholds(struct error *e)
{
    struct thresholds t;
    const ek_status   s = thresholds_read(&t, path, 3, 0xab, e);
    for (int i = 0; i < TAP_COUNT && s; i++) cr_assert_null(t.value[i]);
    return s;
}
Test(thresholds, refusals_name_what_is_wrong, .init = make_path, .fini = remove_path)
{
#define GATES(values) HEAD      MODEL ",\"thresholds\":{\"mlp.gate\":" values "}}"
    static const struct refusal list[] = {
        {"", "line"},
        {"{}", "format: this is missing, not edgekern thresholds"},
        {"{\"cut\":[]}", "format"},
        {"{\"format\":\"edgekern thresholds\",\"version\":1," MODEL
         ",\"thresholds\":{\"mlp.gate\":[0,0,0]}}",
         "version"},
        {HEAD "\"thresholds\":{\"mlp.gate\":[0,0,0]}}", "model: not an object"},
        {HEAD
         "\"model\":{\"checksum\":\"00000000000000ac\"},\"thresholds\":{\"mlp.gate\":[0,0,0]}}",
         "00000000000000ac, not 00000000000000ab"},
        {HEAD MODEL "}", "thresholds: no object of taps"},
        {HEAD MODEL ",\"thresholds\":{}}", "thresholds: no object of taps"},
        {HEAD MODEL ",\"thresholds\":[0,0,0]}", "thresholds: no object of taps"},
        {HEAD MODEL ",\"thresholds\":{\"head.in\":[0,0,0]}}", "made for head.in, where nothing"},
        {HEAD MODEL ",\"thresholds\":{\"mlp.gate\":[0,0,0],\"mlp.in\":[0,0,0]}}",
         "mlp.gate goes with no other"},
        {GATES("[0,0]"), "mlp.gate: not one for each layer"},
        {GATES("3"), "mlp.gate: not one for each layer"},
        {GATES("[0,-1,0]"), "no number >= 0"},
        {GATES("[0,1e300,0]"), "no number >= 0"},
        {GATES("[0,\"1\",0]"), "no number >= 0"},
    };
    refused(list, sizeof list / sizeof *list, read_thresholds);
}
