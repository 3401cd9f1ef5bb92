/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_tokenize.c - ek tokenize: text to token ids and back. */
#include "model/file.h"
#include "model/tokenizer.h"
#include "tools/ek.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: ek tokenize -m MODEL [-p TEXT | -f FILE] [--no-bos] [--no-special] [--json]\n"
    "       ek tokenize -m MODEL --decode [IDS] [--special]\n"
    "       ek tokenize -m MODEL --write DIR\n\n"
    "Prints the token ids of a text, or with --decode the text of ids. Without -p, -f or IDS it\n"
    "reads standard input. MODEL is a model directory, a tokenizer file or a GGUF file.\n\n"
    "  -p TEXT       this text\n"
    "  -f FILE       this file's bytes\n"
    "  --no-bos      without the token that begins a text\n"
    "  --no-special  special tokens spelled in the text are text\n"
    "  --json        a list of objects with id and text\n"
    "  --decode IDS  ids with commas or spaces between them\n"
    "  --special     --decode shows special tokens\n"
    "  --write DIR   the tokenizer as DIR/tokenizer.json and DIR/tokenizer_config.json";

struct options {
    const char *model, *text, *file, *ids, *write;
    int         decode, json, show_special;
    unsigned    flags;
};

static int usage_error(const char *what, const char *why)
{
    fprintf(stderr, "ek tokenize: %s: %s; ek tokenize --help lists the options\n", what, why);
    return EXIT_USAGE;
}

/* EXIT_OK, EXIT_USAGE, or -1 after --help. */
static int parse(int argc, char **argv, struct options *o)
{
    for (int i = 1; i < argc && argv[i]; i++) {
        const char  *a    = argv[i];
        const char  *next = i + 1 < argc ? argv[i + 1] : NULL;
        const char **with = !strcmp(a, "-m")        ? &o->model
                            : !strcmp(a, "-p")      ? &o->text
                            : !strcmp(a, "-f")      ? &o->file
                            : !strcmp(a, "--write") ? &o->write
                                                    : NULL;
        if (with) {
            if (!next) return usage_error(a, "needs a value");
            *with = next;
            i++;
        } else if (!strcmp(a, "--decode")) {
            o->decode = 1;
            if (next && next[0] >= '0' && next[0] <= '9') o->ids = next, i++;
        } else if (!strcmp(a, "--no-bos")) {
            o->flags &= ~(unsigned)TOKENIZE_BOS;
        } else if (!strcmp(a, "--no-special")) {
            o->flags &= ~(unsigned)TOKENIZE_SPECIAL;
        } else if (!strcmp(a, "--special")) {
            o->show_special = 1;
        } else if (!strcmp(a, "--json")) {
            o->json = 1;
        } else if (!strcmp(a, "-h") || !strcmp(a, "--help")) {
            puts(help);
            return -1;
        } else {
            return usage_error(a, "no such option");
        }
    }
    if (!o->model) return usage_error("-m", "missing");
    if (o->text && o->file) return usage_error("-p and -f", "only one of them");
    if (o->write && (o->text || o->file || o->decode))
        return usage_error("--write", "takes nothing beside it");
    if (o->decode && (o->text || o->file)) return usage_error("--decode", "takes ids, no text");
    return EXIT_OK;
}

/* All of a stream; NULL with errno set. */
static char *slurp(FILE *in, size_t *bytes)
{
    size_t room = 0, used = 0;
    char  *data = NULL;
    for (;;) {
        if (used + 1 >= room) {
            char *p = realloc(data, room = room * 2 + 65536);
            if (!p) break;
            data = p;
        }
        const size_t n = fread(data + used, 1, room - used - 1, in);
        used += n;
        if (n) continue;
        if (ferror(in)) break;
        data[used] = '\0';
        *bytes     = used;
        return data;
    }
    free(data);
    return NULL;
}

static char *read_input(const struct options *o, size_t *bytes)
{
    FILE *in   = o->file ? fopen(o->file, "rb") : stdin;
    char *data = in ? slurp(in, bytes) : NULL;
    if (!data) fprintf(stderr, "ek tokenize: %s: %s\n", o->file ? o->file : "-", strerror(errno));
    if (in && o->file) fclose(in);
    return data;
}

/* ---- encode ---- */

static int print_json(const struct tokenizer *t, const int32_t *ids, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        size_t      n;
        const char *text = tokenizer_text(t, ids[i], &n);
        json_array_append_new(
            list, json_pack("{s:I, s:o}", "id", (json_int_t)ids[i], "text", json_stringn(text, n)));
    }
    const int bad = json_dumpf(list, stdout, JSON_COMPACT);
    if (!bad) putchar('\n');
    json_decref(list);
    return bad ? EXIT_RUN : EXIT_OK;
}

static int encode(const struct options *o, const struct tokenizer *t)
{
    struct error e;
    int32_t     *ids;
    size_t       count, bytes = o->text ? strlen(o->text) : 0;
    char        *data = o->text ? NULL : read_input(o, &bytes);
    if (!o->text && !data) return EXIT_RUN;
    const ek_status s =
        tokenizer_encode(t, o->text ? o->text : data, bytes, o->flags, &ids, &count, &e);
    free(data);
    if (s) {
        fprintf(stderr, "ek tokenize: %s\n", e.text);
        return EXIT_RUN;
    }
    int status = EXIT_OK;
    if (o->json) {
        status = print_json(t, ids, count);
    } else {
        for (size_t i = 0; i < count; i++) printf(i ? " %d" : "%d", (int)ids[i]);
        putchar('\n');
    }
    free(ids);
    return status;
}

/* ---- decode ---- */

static int decode_ids(const struct options *o, const struct tokenizer *t, const char *text)
{
    struct detokenizer d = {.held_bytes = 0};
    char               out[PIECE_MAX];
    for (const char *p = text;;) {
        char *end;
        p += strspn(p, " ,\t\r\n[]");
        if (!*p) break;
        errno         = 0;
        const long id = strtol(p, &end, 10);
        if (end == p || errno || id < 0 || (size_t)id >= tokenizer_size(t)) {
            fprintf(stderr, "ek tokenize: %.20s: no token id of this model\n", p);
            return EXIT_RUN;
        }
        fwrite(out, 1, detokenize(&d, t, (int32_t)id, o->show_special, out), stdout);
        p = end;
    }
    fwrite(out, 1, detokenize_end(&d, out), stdout);
    putchar('\n');
    return EXIT_OK;
}

static int decode(const struct options *o, const struct tokenizer *t)
{
    if (o->ids) return decode_ids(o, t, o->ids);
    size_t bytes;
    char  *data = read_input(o, &bytes);
    if (!data) return EXIT_RUN;
    const int status = decode_ids(o, t, data);
    free(data);
    return status;
}

/* ---- write ---- */

static int write_file(const char *dir, const char *name, char *text, size_t bytes)
{
    struct error e;
    char         path[4096];
    ek_status    s = text ? path_join(path, sizeof path, dir, name, &e)
                          : fail(&e, EK_E_NOMEM, "%s/%s: out of memory", dir, name);
    if (!s) s = file_write(path, text, bytes, &e);
    free(text);
    if (s) fprintf(stderr, "ek tokenize: %s\n", e.text);
    return s ? EXIT_RUN : EXIT_OK;
}

static int write_files(const char *dir, const struct tokenizer *t)
{
    size_t    bytes  = 0;
    char     *text   = tokenizer_write_json(t, &bytes);
    const int status = write_file(dir, "tokenizer.json", text, bytes);
    if (status) return status;
    text = tokenizer_write_config(t, &bytes);
    return write_file(dir, "tokenizer_config.json", text, bytes);
}

int cmd_tokenize(int argc, char **argv)
{
    struct options    o = {.flags = TOKENIZE_BOS | TOKENIZE_SPECIAL};
    struct tokenizer *t;
    struct error      e;
    int               status = parse(argc, argv, &o);
    if (status) return status < 0 ? EXIT_OK : status;
    if (tokenizer_open(&t, o.model, &e)) {
        fprintf(stderr, "ek tokenize: %s\n", e.text);
        return EXIT_RUN;
    }
    status = o.write ? write_files(o.write, t) : o.decode ? decode(&o, t) : encode(&o, t);
    tokenizer_close(t);
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "ek tokenize: output: %s\n", strerror(errno));
        return EXIT_RUN;
    }
    return status;
}
