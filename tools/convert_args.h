/* SPDX-License-Identifier: Apache-2.0 */
/* tools/convert_args.h - what ek convert and ek synth have in common: types, rules, threads. */
#ifndef EK_TOOLS_CONVERT_ARGS_H
#define EK_TOOLS_CONVERT_ARGS_H
#include "model/convert.h"
#include "tools/args.h"
#include "tools/pool.h"

enum { RULES_MAX = 32 };

struct convert_args {
    struct convert_options options;
    struct convert_rule    rules[RULES_MAX];
    struct threads         threads;
    size_t                 thread_count;
};

/* For ARG_PARSE. convert_type_parse: to an int; convert_rule_parse: to struct convert_args. */
int convert_type_parse(void *to, const char *text);
int convert_rule_parse(void *to, const char *text);

#define TYPE_NAMES "f32|f16|bf16|q8|q4[:g32|g64|g128]|q4k|q4g32m"

/* Entries of the table of options. a: struct convert_args; otherwise: its default type, in words. */
#define CONVERT_ARGS(a, otherwise)                                                                 \
    {.names = "--type",                                                                            \
     .value = "TYPE",                                                                              \
     .kind  = ARG_PARSE,                                                                           \
     .parse = convert_type_parse,                                                                  \
     .to    = &(a).options.type,                                                                   \
     .help  = "of the matrices: " TYPE_NAMES ";\ndefault: " otherwise},                             \
        {.names = "--head",                                                                        \
         .value = "TYPE",                                                                          \
         .kind  = ARG_PARSE,                                                                       \
         .parse = convert_type_parse,                                                              \
         .to    = &(a).options.head,                                                               \
         .help  = "of the output matrix; default: as --type"},                                      \
        {.names = "--embed",                                                                       \
         .value = "TYPE",                                                                          \
         .kind  = ARG_PARSE,                                                                       \
         .parse = convert_type_parse,                                                              \
         .to    = &(a).options.embed,                                                              \
         .help  = "of the embedding; default: as --type, or as the head where\n"                   \
                  "they are one matrix"},                                                           \
        {.names = "--keep",                                                                        \
         .value = "REGEX=TYPE",                                                                    \
         .kind  = ARG_PARSE,                                                                       \
         .parse = convert_rule_parse,                                                              \
         .to    = &(a),                                                                            \
         .help  = "of tensors whose Hugging Face name matches; can be repeated,\n"                 \
                  "the first that matches counts"},                                                 \
        {.names = "--neurons",                                                                     \
         .kind  = ARG_FLAG,                                                                        \
         .to    = &(a).options.neurons,                                                            \
         .help  = "store up and down of MLPs neuron by neuron, for --sparse and\n"                 \
                  "--weight-cache; prompts then take longer"},                                      \
        {.names = "--tokenizer",                                                                   \
         .value = "PATH",                                                                          \
         .kind  = ARG_TEXT,                                                                        \
         .to    = &(a).options.tokenizer,                                                          \
         .help  = "directory or file of the tokenizer to put in"},                                  \
        {.names = "--force",                                                                       \
         .kind  = ARG_FLAG,                                                                        \
         .to    = &(a).options.force,                                                              \
         .help  = "replace a directory that ek did not write"},                                     \
    {                                                                                              \
        .names = "-t, --threads", .value = "N", .kind = ARG_SIZE, .to = &(a).thread_count,         \
        .least = 1, .most = CPUS_MAX, .help = "threads; default: one per usable performance core"  \
    }

/* Starts the threads and fills in the rest of the options: 0, or the exit status. */
int convert_args_begin(struct convert_args *a, const char *command);
/* Ends the threads and prints the error where there is one: the exit status. */
int convert_args_end(struct convert_args *a, const char *command, ek_status bad,
                     const struct error *e);
#endif
