/* SPDX-License-Identifier: Apache-2.0 */
/* tools/ek.c - the ek command: picks the subcommand. */
#include "tools/ek.h"

#include "ek/ek.h"

#include <stdio.h>
#include <string.h>

#ifndef EK_COMMIT
#define EK_COMMIT "unknown"
#endif

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *what;
} commands[] = {
    {"run", cmd_run, "continue a text with a model"},
    {"chat", cmd_chat, "talk with a model"},
    {"speed", cmd_speed, "tokens per second of a model, as llama-bench measures them"},
    {"ppl", cmd_ppl, "perplexity of a text, and divergence from another model"},
    {"ablate", cmd_ablate, "what leaving out blocks of a model costs, and a list of those to cut"},
    {"profile", cmd_profile,
     "which MLP neurons matter on a text, and what reading those would save"},
    {"calibrate", cmd_calibrate, "thresholds below which neurons or inputs can be left out"},
    {"train-predictor", cmd_train_predictor,
     "matrices that tell which MLP neurons a token will need"},
    {"train-router", cmd_train_router, "a network that tells when a head of common tokens will do"},
    {"stack", cmd_stack, "speed and quality of each way to do less work, and of all together"},
    {"logits", cmd_logits, "a model's logits at every position, as JSON"},
    {"convert", cmd_convert, "write a model as a directory that is packed once and loads at once"},
    {"synth", cmd_synth, "write a model of random weights at the shapes of a known one"},
    {"info", cmd_info, "the machine and the kernels chosen on it; with -m, a model's tensors"},
    {"bench", cmd_bench, "time kernels against the machine's measured limits"},
    {"tokenize", cmd_tokenize, "token ids of a text, or the text of ids"},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static void usage(FILE *out)
{
    fputs("usage: ek COMMAND [OPTIONS]\n       ek --version\n\ncommands:\n", out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-15s %s\n", commands[i].name, commands[i].what);
    fputs("\nek COMMAND --help lists the options of a command.\n"
          "EK_ISA=LEVEL[,-FEATURE...] in the environment restricts the kernels used.\n",
          out);
}

static void version(void)
{
    printf("ek %s (%s), %s, kernels:", ek_version(), EK_COMMIT, __VERSION__);
    const char *last = "";
    for (size_t i = 0; i < ek_kernel_count(); i++)
        if (strcmp(ek_kernel_at(i)->isa, last) != 0) printf(" %s", last = ek_kernel_at(i)->isa);
    putchar('\n');
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        usage(stderr);
        return EXIT_USAGE;
    }
    if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help")) {
        usage(stdout);
        return EXIT_OK;
    }
    if (!strcmp(argv[1], "--version")) {
        version();
        return EXIT_OK;
    }
    for (size_t i = 0; i < COMMANDS; i++)
        if (!strcmp(argv[1], commands[i].name)) return commands[i].run(argc - 1, argv + 1);
    fprintf(stderr, "ek: %s: no such command; ek --help lists them\n", argv[1]);
    return EXIT_USAGE;
}
