/* SPDX-License-Identifier: Apache-2.0 */
/* tools/args.c - options from a table: parsing, environment, help. */
#include "tools/args.h"

#include "tools/ek.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- values ---- */

static int parse_u64(const char **text, uint64_t *value)
{
    char *end;
    if (!isdigit((unsigned char)**text)) return -1; /* strtoull takes "-1" and " 1" */
    errno  = 0;
    *value = strtoull(*text, &end, 10);
    *text  = end;
    return errno ? -1 : 0;
}

static int in_range(const struct arg *a, double v)
{
    return v >= a->least && (a->most == 0 || v <= a->most);
}

static int take_size(const struct arg *a, const char *text)
{
    uint64_t v;
    if (parse_u64(&text, &v) || *text || v > SIZE_MAX || !in_range(a, (double)v)) return -1;
    *(size_t *)a->to = (size_t)v;
    return 0;
}

static int take_u64(const struct arg *a, const char *text)
{
    return parse_u64(&text, a->to) || *text ? -1 : 0;
}

static int take_real(const struct arg *a, const char *text)
{
    char        *end;
    const double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v) || !in_range(a, v)) return -1;
    *(double *)a->to = v;
    return 0;
}

static int take_choice(const struct arg *a, const char *text)
{
    const size_t length = strlen(text);
    int          at     = 0;
    for (const char *p = a->value;; at++) {
        const size_t n = strcspn(p, "|");
        if (n == length && !memcmp(p, text, n)) break;
        if (!p[n]) return -1;
        p += n + 1;
    }
    *(int *)a->to = at;
    return 0;
}

static int take(const struct arg *a, const char *text)
{
    switch (a->kind) {
    case ARG_FLAG:
        if (strcmp(text, "0") != 0 && strcmp(text, "1") != 0) return -1; /* in the environment */
        *(int *)a->to = *text == '1';
        return 0;
    case ARG_SIZE: return take_size(a, text);
    case ARG_U64: return take_u64(a, text);
    case ARG_REAL: return take_real(a, text);
    case ARG_TEXT: *(const char **)a->to = text; return 0;
    case ARG_CHOICE: return take_choice(a, text);
    case ARG_PARSE: return a->parse(a->to, text);
    }
    return -1;
}

/* One line: which option, which text, and what would have been right. */
static int refuse(const struct arg_command *c, const struct arg *a, const char *name,
                  const char *text)
{
    fprintf(stderr, "%s: %s%s%s: not understood", c->name, name, name[0] == '-' ? " " : "=", text);
    if (a->kind == ARG_CHOICE)
        fprintf(stderr, "; %s", a->value);
    else if (a->kind == ARG_SIZE)
        fprintf(stderr, "; a whole number from %.0f", a->least);
    else if (a->kind == ARG_REAL)
        fprintf(stderr, "; a number from %g", a->least);
    else if (a->kind == ARG_FLAG)
        fputs("; 0 or 1", stderr);
    if ((a->kind == ARG_SIZE || a->kind == ARG_REAL) && a->most != 0)
        fprintf(stderr, a->kind == ARG_SIZE ? " to %.0f" : " to %g", a->most);
    fputc('\n', stderr);
    return EXIT_USAGE;
}

/* ---- names ---- */

/* The next of "-t, --threads": its length; 0 at the end. */
static size_t next_name(const char **at)
{
    *at += strspn(*at, ", ");
    return strcspn(*at, ", ");
}

static const struct arg *find(const struct arg *list, size_t count, const char *name, size_t length)
{
    for (size_t i = 0; i < count; i++) {
        const char *p = list[i].names;
        for (size_t n; (n = next_name(&p)); p += n)
            if (n == length && !memcmp(p, name, n)) return &list[i];
    }
    return NULL;
}

/* "EK_" and the long name in capitals: "-c, --ctx" is EK_CTX. 0 where there is no long name. */
static int env_name(const struct arg_command *c, const struct arg *a, char *out, size_t size)
{
    const char *p = a->names, *name = NULL;
    size_t      length = 0;
    for (size_t n; (n = next_name(&p)); p += n)
        if (n > 2 && !memcmp(p, "--", 2)) name = p + 2, length = n - 2;
    const size_t prefix = strlen(c->env);
    if (!name || prefix + length >= size) return 0;
    memcpy(out, c->env, prefix);
    for (size_t i = 0; i < length; i++)
        out[prefix + i] = (char)(name[i] == '-' ? '_' : toupper((unsigned char)name[i]));
    out[prefix + length] = '\0';
    return 1;
}

/* ---- help ---- */

static void print_help(const struct arg_command *c, const struct arg *list, size_t count)
{
    enum { COLUMN = 22 };
    printf("usage: %s %s\n\n%s\n\n", c->name, c->usage, c->about);
    for (size_t i = 0; i <= count; i++) {
        static const struct arg help = {.names = "-h, --help", .help = "print this and stop"};
        const struct arg       *a    = i < count ? &list[i] : &help;
        int n = printf("  %s%s%s", a->names, a->value ? " " : "", a->value ? a->value : "");
        for (const char *line = a->help; *line;
             line += strcspn(line, "\n"), line += *line == '\n') {
            if (n > COLUMN - 2) putchar('\n'), n = 0;
            printf("%*s%.*s\n", COLUMN - n, "", (int)strcspn(line, "\n"), line);
            n = 0;
        }
    }
    if (c->env)
        printf("\nAn option with a long name can also stand in the environment: --%s as %s%s.\n",
               "ctx 4096", c->env, "CTX=4096");
}

/* ---- parsing ---- */

static int from_environment(const struct arg_command *c, const struct arg *list, size_t count,
                            uint64_t given)
{
    char name[64];
    for (size_t i = 0; i < count; i++) {
        if (given >> i & 1 || !env_name(c, &list[i], name, sizeof name)) continue;
        const char *text = getenv(name);
        if (text && *text && take(&list[i], text)) return refuse(c, &list[i], name, text);
    }
    return ARGS_GO;
}

/* argv[*at]: an option, with its value behind '=' or as the next argument. */
static int take_argument(const struct arg_command *c, const struct arg *list, size_t count,
                         char **argv, int *at, uint64_t *given)
{
    char              name[64];
    const char       *text   = argv[*at];
    const char       *equals = strncmp(text, "--", 2) != 0 ? NULL : strchr(text, '=');
    const size_t      length = equals ? (size_t)(equals - text) : strlen(text);
    const struct arg *a      = find(list, count, text, length);
    if (*text != '-' || !text[1]) {
        for (size_t i = 0; i < count; i++)
            if (list[i].names[0] != '-' && !(*given >> i & 1)) {
                *given |= UINT64_C(1) << i;
                return take(&list[i], text) ? refuse(c, &list[i], list[i].names, text) : ARGS_GO;
            }
        fprintf(stderr, "%s: %s: takes no such argument\n", c->name, text);
        return EXIT_USAGE;
    }
    if (!a) {
        fprintf(stderr, "%s: %.*s: no such option\n", c->name, (int)length, text);
        return EXIT_USAGE;
    }
    *given |= UINT64_C(1) << (a - list);
    if (a->kind == ARG_FLAG && !equals) {
        *(int *)a->to = 1;
        return ARGS_GO;
    }
    const char *value = equals ? equals + 1 : argv[*at + 1];
    if (!value) {
        fprintf(stderr, "%s: %s: its value is missing\n", c->name, text);
        return EXIT_USAGE;
    }
    *at += !equals;
    snprintf(name, sizeof name, "%.*s", (int)length, text);
    return take(a, value) ? refuse(c, a, name, value) : ARGS_GO;
}

int args_parse(const struct arg_command *c, const struct arg *list, size_t count, int argc,
               char **argv)
{
    uint64_t given = 0;
    int      s     = ARGS_GO;
    for (int i = 1; i < argc && s == ARGS_GO; i++) {
        if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help")) {
            print_help(c, list, count);
            return EXIT_OK;
        }
        s = take_argument(c, list, count, argv, &i, &given);
    }
    return s == ARGS_GO && c->env ? from_environment(c, list, count, given) : s;
}

/* ---- lists ---- */

static int append(struct arg_sizes *l, uint64_t v)
{
    if (l->count == SIZES_MAX || v > SIZE_MAX) return -1;
    l->v[l->count++] = (size_t)v;
    return 0;
}

/* first-last, first-last+step or first-last*factor; *at behind the '-'. */
static int append_range(struct arg_sizes *l, uint64_t first, const char **at)
{
    uint64_t last, by = 1;
    char     how = '+';
    if (parse_u64(at, &last) || last < first) return -1;
    if (**at == '+' || **at == '*') {
        how = *(*at)++;
        if (parse_u64(at, &by)) return -1;
    }
    if (by == 0 || (how == '*' && (by == 1 || first == 0))) return -1; /* would never end */
    for (uint64_t v = first; v <= last;) {
        if (append(l, v)) return -1;
        if (how == '+' ? __builtin_add_overflow(v, by, &v) : __builtin_mul_overflow(v, by, &v))
            break;
    }
    return 0;
}

int arg_sizes_parse(void *to, const char *text)
{
    struct arg_sizes *l = to;
    for (;;) {
        uint64_t first;
        if (parse_u64(&text, &first)) return -1;
        if (*text == '-') {
            text++;
            if (append_range(l, first, &text)) return -1;
        } else if (append(l, first)) {
            return -1;
        }
        if (!*text) return 0;
        if (*text++ != ',') return -1;
    }
}

int arg_pairs_parse(void *to, const char *text)
{
    struct arg_pairs *l = to;
    for (;;) {
        uint64_t a, b;
        if (parse_u64(&text, &a) || *text++ != ',' || parse_u64(&text, &b)) return -1;
        if (l->count == SIZES_MAX || a > SIZE_MAX || b > SIZE_MAX) return -1;
        l->first[l->count] = (size_t)a, l->second[l->count++] = (size_t)b;
        if (!*text) return 0;
        if (*text++ != ';') return -1;
    }
}
