/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_synth.c - ek synth: models of random weights at true shapes. */
#include "model/synth.h"
#include "tools/convert_args.h"
#include "tools/ek.h"
#include "tools/topology.h"

#include <stdio.h>
#include <string.h>

/* "llama-3.2-1b|..." for the help. */
static void list_presets(char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "the model whose shapes it has:");
    for (size_t i = 0; synth_preset(i) && used < size; i++)
        used +=
            (size_t)snprintf(out + used, size - used, "%s%s", i % 4 ? ", " : "\n", synth_preset(i));
}

int cmd_synth(int argc, char **argv)
{
    const char         *arch = NULL, *dst = NULL;
    uint64_t            seed = 1;
    char                presets[256];
    struct convert_args a = {
        .options = {.type = EK_FMT_q4g32, .head = CONVERT_DEFAULT, .embed = CONVERT_DEFAULT}};
    list_presets(presets, sizeof presets);
    const struct arg list[] = {
        {.names = "DIR", .kind = ARG_TEXT, .to = &dst, .help = "the directory to write"},
        {.names = "--arch", .value = "PRESET", .kind = ARG_TEXT, .to = &arch, .help = presets},
        {.names = "--seed", .value = "N", .kind = ARG_U64, .to = &seed, .help = "default: 1"},
        CONVERT_ARGS(a, "q4"),
    };
    const struct arg_command c = {
        .name  = "ek synth",
        .usage = "--arch PRESET DIR [--type TYPE] [OPTIONS]",
        .about =
            "Writes a model of random weights with the shapes of a published one, so that speed\n"
            "can be measured without a download. The same bytes for a seed."};
    const int s = args_parse(&c, list, sizeof list / sizeof *list, argc, argv);
    if (s != ARGS_GO) return s;
    if (!arch || !dst) {
        fprintf(stderr, "ek synth: %s: missing; ek synth --help\n", arch ? "DIR" : "--arch");
        return EXIT_USAGE;
    }
    struct config config;
    struct error  e;
    if (synth_config(arch, &config, &e)) {
        fprintf(stderr, "ek synth: --arch %s\n", e.text);
        return EXIT_USAGE;
    }
    if (convert_args_begin(&a, c.name)) return EXIT_RUN;
    const ek_status bad = synth_write(&config, seed, dst, &a.options, &e);
    return convert_args_end(&a, c.name, bad, &e);
}
