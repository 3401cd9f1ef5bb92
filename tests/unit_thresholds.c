/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_thresholds.c - files of thresholds: read, and refused for another model or tap. */
#include "model/file.h"
#include "model/thresholds.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[] = "/tmp/ek_thresholds_XXXXXX";

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

#define MODEL "\"model\":{\"layers\":3,\"ffn\":8,\"checksum\":\"00000000000000ab\"}"
#define HEAD  "{\"format\":\"edgekern thresholds\",\"version\":1,\"tap\":\"mlp.gate\","

static ek_status read_text(const char *text, struct thresholds *t, struct error *e)
{
    cr_assert_eq(file_write(path, text, strlen(text), e), EK_OK);
    return thresholds_read(t, path, "mlp.gate", 3, 8, 0xab, e);
}

Test(thresholds, values, .init = make_path, .fini = remove_path)
{
    struct thresholds t;
    struct error      e;
    cr_assert_eq(read_text(HEAD MODEL ",\"thresholds\":[0,0.5,3]}", &t, &e), EK_OK, "%s", e.text);
    cr_assert(t.layers == 3 && t.value[0] == 0.0f && t.value[1] == 0.5f && t.value[2] == 3.0f);
    thresholds_drop(&t);
}

Test(thresholds, refusals_name_what_is_wrong, .init = make_path, .fini = remove_path)
{
    static const struct {
        const char *text, *said;
    } files[] = {
        {"", "line"},
        {"{}", "format: this is missing, not edgekern thresholds"},
        {"{\"cut\":[]}", "format"},
        {"{\"format\":\"edgekern thresholds\",\"version\":2,\"tap\":\"mlp.gate\"," MODEL
         ",\"thresholds\":[0,0,0]}",
         "version"},
        {"{\"format\":\"edgekern thresholds\",\"version\":1,\"tap\":\"mlp.in\"," MODEL
         ",\"thresholds\":[0,0,0]}",
         "made for mlp.in, not mlp.gate"},
        {HEAD "\"thresholds\":[0,0,0]}", "model: not an object"},
        {HEAD "\"model\":{\"layers\":4,\"ffn\":8,\"checksum\":\"00000000000000ab\"},"
              "\"thresholds\":[0,0,0,0]}",
         "layers"},
        {HEAD "\"model\":{\"layers\":3,\"ffn\":9,\"checksum\":\"00000000000000ab\"},"
              "\"thresholds\":[0,0,0]}",
         "ffn"},
        {HEAD "\"model\":{\"layers\":3,\"ffn\":8,\"checksum\":\"00000000000000ac\"},"
              "\"thresholds\":[0,0,0]}",
         "00000000000000ac, not 00000000000000ab"},
        {HEAD MODEL "}", "thresholds: not one for each layer"},
        {HEAD MODEL ",\"thresholds\":[0,0]}", "thresholds: not one for each layer"},
        {HEAD MODEL ",\"thresholds\":[0,-1,0]}", "no number >= 0"},
        {HEAD MODEL ",\"thresholds\":[0,1e300,0]}", "no number >= 0"},
        {HEAD MODEL ",\"thresholds\":[0,\"1\",0]}", "no number >= 0"},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct thresholds t;
        struct error      e;
        cr_assert_neq(read_text(files[i].text, &t, &e), EK_OK, "%s", files[i].text);
        cr_assert(strstr(e.text, files[i].said), "%s: %s", files[i].text, e.text);
        cr_assert(strstr(e.text, path) && !strchr(e.text, '\n'), "%s", e.text);
        cr_assert_null(t.value);
    }
}
