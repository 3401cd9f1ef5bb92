/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_convert.c - ek convert: any model that can be read, as a packed directory. */
#include "tools/convert_args.h"
#include "tools/ek.h"
#include "tools/topology.h"

#include <stdio.h>

int cmd_convert(int argc, char **argv)
{
    const char         *src = NULL, *dst = NULL;
    struct convert_args a = {
        .options = {.type = CONVERT_SAME, .head = CONVERT_DEFAULT, .embed = CONVERT_DEFAULT}};
    const struct arg list[] = {
        {.names = "SRC",
         .kind  = ARG_TEXT,
         .to    = &src,
         .help  = "a Hugging Face directory, a GGUF file, a llama2.c file, or a\n"
                  "directory that ek wrote"},
        {.names = "DST", .kind = ARG_TEXT, .to = &dst, .help = "the directory to write"},
        CONVERT_ARGS(a, "same, which loses nothing where GGUF's format is known"),
    };
    const struct arg_command c = {
        .name  = "ek convert",
        .usage = "SRC DST [--type TYPE] [OPTIONS]",
        .about =
            "Writes a model as a directory whose weights are laid out for the kernels: it is\n"
            "mapped and used as it lies. DST appears, or is replaced, when all is on the disk."};
    const int s = args_parse(&c, list, sizeof list / sizeof *list, argc, argv);
    if (s != ARGS_GO) return s;
    if (!src || !dst) {
        fprintf(stderr, "ek convert: %s: missing; ek convert --help\n", src ? "DST" : "SRC");
        return EXIT_USAGE;
    }
    if (convert_args_begin(&a, c.name)) return EXIT_RUN;
    struct error    e;
    const ek_status bad = convert(src, dst, &a.options, &e);
    return convert_args_end(&a, c.name, bad, &e);
}
