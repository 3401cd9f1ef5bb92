/* SPDX-License-Identifier: Apache-2.0 */
/* tools/args.h - options of the subcommands: one table gives parsing, environment and --help. */
#ifndef EK_TOOLS_ARGS_H
#define EK_TOOLS_ARGS_H
#include <stddef.h>
#include <stdint.h>

enum arg_kind {
    ARG_FLAG,   /* int: set to 1                                                  */
    ARG_SIZE,   /* size_t in [least, most]                                        */
    ARG_U64,    /* uint64_t                                                       */
    ARG_REAL,   /* double in [least, most]                                        */
    ARG_TEXT,   /* const char *, not empty                                        */
    ARG_CHOICE, /* int: position in value, "md|json"                              */
    ARG_PARSE,  /* whatever parse makes of it; called again for a repeated option */
};

struct arg {
    const char   *names; /* "-t, --threads", as help shows them; all are taken. Without '-':
                           the next argument that is no option, "SRC" */
    const char   *value; /* what help calls the value; NULL for a flag                      */
    const char   *help;  /* further lines behind '\n'                                       */
    enum arg_kind kind;
    void         *to;
    double        least, most; /* most = 0: none                                            */
    int (*parse)(void *to, const char *text); /* 0, or -1 when text makes no sense          */
};

struct arg_command {
    const char *name;  /* "ek run"                                                       */
    const char *usage; /* "-m MODEL -p TEXT [OPTIONS]"                                   */
    const char *about; /* paragraph of --help                                            */
    const char *env;   /* "EK_": --ctx N may stand as EK_CTX=N instead; NULL: no mirrors */
};

enum { ARGS_MAX = 64, ARGS_GO = -1 };

/* Options from argv[1..], then those not given there from the environment. ARGS_GO; else the exit
 * status, what there is to say having been printed: help, or one line that names the option. */
int args_parse(const struct arg_command *c, const struct arg *list, size_t count, int argc,
               char **argv);

/* ---- lists, as llama-bench has them ---- */

enum { SIZES_MAX = 64 };

struct arg_sizes {
    size_t v[SIZES_MAX];
    size_t count;
};

/* Appends "512", "1,2", "1-4" (1 2 3 4), "0-4096+1024" or "16-128*2"; -1 when it makes no sense or
 * does not fit. to: struct arg_sizes. */
int arg_sizes_parse(void *to, const char *text);

struct arg_pairs {
    size_t first[SIZES_MAX], second[SIZES_MAX];
    size_t count;
};

/* Appends "512,128"; more pairs behind ';'. to: struct arg_pairs. */
int arg_pairs_parse(void *to, const char *text);
#endif
