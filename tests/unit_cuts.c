/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_cuts.c - lists of blocks to leave out: those of ek ablate and of others, and bad ones. */
#include "model/cuts.h"
#include "model/file.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/ek_cuts_XXXXXX";

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

static ek_status read_text(const char *text, struct cuts *c, struct error *e)
{
    cr_assert_eq(file_write(path, text, strlen(text), e), EK_OK);
    return cuts_read(c, path, 4, e);
}

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
        cr_assert_eq(read_text(lists[i].text, &c, &e), EK_OK, "%s: %s", lists[i].text, e.text);
        cr_assert_eq(memcmp(c.left_out, lists[i].want, 4), 0, "%s", lists[i].text);
        cuts_drop(&c);
    }
}

Test(cuts, refusals_name_what_is_wrong, .init = make_path, .fini = remove_path)
{
    static const struct {
        const char *text, *said;
    } lists[] = {
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
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        struct cuts  c;
        struct error e;
        cr_assert_neq(read_text(lists[i].text, &c, &e), EK_OK, "%s", lists[i].text);
        cr_assert(strstr(e.text, lists[i].said), "%s: %s", lists[i].text, e.text);
        cr_assert(strstr(e.text, path) && !strchr(e.text, '\n'), "%s", e.text);
        cr_assert_null(c.left_out);
    }
    struct cuts  c;
    struct error e;
    cr_assert_eq(cuts_read(&c, "/nowhere/cuts.json", 4, &e), EK_E_IO);
}
