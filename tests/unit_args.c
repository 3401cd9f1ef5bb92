/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_args.c - options, their environment, and llama-bench's lists and ranges. */
#include "tools/args.h"
#include "tools/ek.h"
#include "tools/speed_report.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lists ---- */

static void expect_sizes(const char *text, const char *want)
{
    struct arg_sizes l         = {.count = 0};
    char             got[1024] = "";
    size_t           n         = 0;
    cr_assert_eq(arg_sizes_parse(&l, text), 0, "%s", text);
    for (size_t i = 0; i < l.count; i++)
        n += (size_t)snprintf(got + n, sizeof got - n, "%s%zu", i ? " " : "", l.v[i]);
    cr_assert_str_eq(got, want, "%s: %s", text, got);
}

Test(args, lists_and_ranges)
{
    expect_sizes("512", "512");
    expect_sizes("0", "0");
    expect_sizes("1,2", "1 2");
    expect_sizes("1-4", "1 2 3 4");
    expect_sizes("4-4", "4");
    expect_sizes("0-4096+1024", "0 1024 2048 3072 4096");
    expect_sizes("1-6+2", "1 3 5");
    expect_sizes("16-128*2", "16 32 64 128");
    expect_sizes("3-100*3,7,1-2", "3 9 27 81 7 1 2");
    expect_sizes("18446744073709551615-18446744073709551615", "18446744073709551615");
    expect_sizes("18446744073709551614-18446744073709551615+5", "18446744073709551614");
    expect_sizes("1-18446744073709551615*18446744073709551615", "1 18446744073709551615");
}

Test(args, repeated_lists_go_on)
{
    struct arg_sizes l = {.count = 0};
    cr_assert_eq(arg_sizes_parse(&l, "1,2") | arg_sizes_parse(&l, "3"), 0);
    cr_assert_eq(l.count, 3);
}

Test(args, senseless_lists_are_refused)
{
    static const char *const bad[] = {"",
                                      ",",
                                      "1,",
                                      ",1",
                                      "a",
                                      "1a",
                                      "-1",
                                      "1-",
                                      "2-1",
                                      "1-4+0",
                                      "1-4*1",
                                      "1-4*0",
                                      "0-4*2",
                                      " 1",
                                      "1--2",
                                      "1-4+",
                                      "1-4++1",
                                      "1-100000",
                                      "18446744073709551616",
                                      "1 2",
                                      "0x10",
                                      "1-4*-2"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct arg_sizes l = {.count = 0};
        cr_assert_eq(arg_sizes_parse(&l, bad[i]), -1, "\"%s\"", bad[i]);
        cr_assert_leq(l.count, SIZES_MAX);
    }
}

Test(args, pairs)
{
    struct arg_pairs l = {.count = 0};
    cr_assert_eq(arg_pairs_parse(&l, "512,128;16,4") | arg_pairs_parse(&l, "1,2"), 0);
    cr_assert(l.count == 3 && l.first[1] == 16 && l.second[1] == 4 && l.second[2] == 2);
    static const char *const bad[] = {"", "1", "1,", "1,2,3", "1,2;", ",1", "1;2", "a,1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(arg_pairs_parse(&l, bad[i]), -1, "\"%s\"", bad[i]);
}

/* ---- options ---- */

struct taken {
    int              flag, choice;
    size_t           size;
    double           real;
    const char      *text;
    uint64_t         seed;
    struct arg_sizes list;
};

static int parse(struct taken *t, const char *env, const char *const *words)
{
    const struct arg list[] = {
        {.names = "-x, --flag", .kind = ARG_FLAG, .to = &t->flag, .help = "a"},
        {.names = "-o, --output",
         .value = "md|json",
         .kind  = ARG_CHOICE,
         .to    = &t->choice,
         .help  = "b\nb2"},
        {.names = "-s, --the-size",
         .value = "N",
         .kind  = ARG_SIZE,
         .to    = &t->size,
         .least = 2,
         .most  = 9,
         .help  = "c"},
        {.names = "-r", .value = "R", .kind = ARG_REAL, .to = &t->real, .most = 1, .help = "d"},
        {.names = "-pg, --text", .value = "T", .kind = ARG_TEXT, .to = &t->text, .help = "e"},
        {.names = "--seed", .value = "N", .kind = ARG_U64, .to = &t->seed, .help = "f"},
        {.names = "-l, --list",
         .value = "N,...",
         .kind  = ARG_PARSE,
         .to    = &t->list,
         .parse = arg_sizes_parse,
         .help  = "g"},
    };
    const struct arg_command c = {"ek test", "[OPTIONS]", "Tests.", env};
    char                    *argv[24];
    int                      n = 0;
    for (; words[n]; n++) argv[n] = (char *)(uintptr_t)words[n]; /* only read */
    argv[n] = NULL;
    *t      = (struct taken){.flag = 0};
    return args_parse(&c, list, sizeof list / sizeof *list, n, argv);
}

#define PARSE(t, ...) parse(t, "EKTEST_", (const char *const[]){"test", __VA_ARGS__, NULL})

Test(args, every_kind_and_spelling)
{
    struct taken t;
    cr_assert_eq(PARSE(&t, "-x", "-o", "json", "--the-size=9", "-r", "0.5", "-pg", "512,128",
                       "--seed", "18446744073709551615", "-l", "1,2", "--list=3"),
                 ARGS_GO);
    cr_assert(t.flag == 1 && t.choice == 1 && t.size == 9 && t.seed == UINT64_MAX);
    cr_assert(t.list.count == 3 && !strcmp(t.text, "512,128"));
    cr_assert_float_eq(t.real, 0.5, 0);
    cr_assert_eq(PARSE(&t, "--text", "-x"), ARGS_GO); /* a value may look like an option */
    cr_assert(t.flag == 0 && !strcmp(t.text, "-x"));
}

Test(args, usage_errors_are_one_line_that_names_the_option, .init = cr_redirect_stderr)
{
    struct taken t;
    cr_assert_eq(PARSE(&t, "-s", "10"), EXIT_USAGE);
    cr_assert_eq(PARSE(&t, "-s", "1"), EXIT_USAGE);
    cr_assert_eq(PARSE(&t, "-s", "5x"), EXIT_USAGE);
    cr_assert_eq(PARSE(&t, "-s"), EXIT_USAGE);
    cr_assert_eq(PARSE(&t, "-r", "nan"), EXIT_USAGE);
    cr_assert_eq(PARSE(&t, "-r", "1.5"), EXIT_USAGE);
    cr_assert_eq(PARSE(&t, "-o", "js"), EXIT_USAGE);
    cr_assert_eq(PARSE(&t, "-o", "md|json"), EXIT_USAGE);
    cr_assert_eq(PARSE(&t, "--fla"), EXIT_USAGE);
    cr_assert_eq(PARSE(&t, "--flag=2"), EXIT_USAGE);
    cr_assert_eq(PARSE(&t, "--seed", "-1"), EXIT_USAGE);
    cr_assert_eq(PARSE(&t, "stray"), EXIT_USAGE);
    cr_assert_eq(PARSE(&t, "-"), EXIT_USAGE);
    fflush(stderr);
    cr_assert_stderr_eq_str("ek test: -s 10: not understood; a whole number from 2 to 9\n"
                            "ek test: -s 1: not understood; a whole number from 2 to 9\n"
                            "ek test: -s 5x: not understood; a whole number from 2 to 9\n"
                            "ek test: -s: its value is missing\n"
                            "ek test: -r nan: not understood; a number from 0 to 1\n"
                            "ek test: -r 1.5: not understood; a number from 0 to 1\n"
                            "ek test: -o js: not understood; md|json\n"
                            "ek test: -o md|json: not understood; md|json\n"
                            "ek test: --fla: no such option\n"
                            "ek test: --flag 2: not understood; 0 or 1\n"
                            "ek test: --seed -1: not understood\n"
                            "ek test: stray: takes no such argument\n"
                            "ek test: -: takes no such argument\n");
}

Test(args, the_environment_stands_in, .init = cr_redirect_stderr)
{
    struct taken t;
    setenv("EKTEST_THE_SIZE", "7", 1), setenv("EKTEST_FLAG", "1", 1);
    setenv("EKTEST_LIST", "5-6", 1), setenv("EKTEST_R", "0.5", 1), setenv("EKTEST_TEXT", "", 1);
    cr_assert_eq(PARSE(&t, "--list", "1"), ARGS_GO);
    cr_assert(t.size == 7 && t.flag == 1 && t.list.count == 1 && t.list.v[0] == 1 && !t.text);
    cr_assert_float_eq(t.real, 0, 0); /* has no long name */
    cr_assert_eq(parse(&t, NULL, (const char *const[]){"test", NULL}), ARGS_GO);
    cr_assert_eq(t.size, 0);
    setenv("EKTEST_THE_SIZE", "70", 1);
    cr_assert_eq(PARSE(&t, "-x"), EXIT_USAGE);
    cr_assert_eq(PARSE(&t, "-s", "3"), ARGS_GO);
    fflush(stderr);
    cr_assert_stderr_eq_str(
        "ek test: EKTEST_THE_SIZE=70: not understood; a whole number from 2 to 9\n");
}

Test(args, help_is_not_an_error, .init = cr_redirect_stdout)
{
    struct taken t;
    cr_assert_eq(PARSE(&t, "-x", "--help"), EXIT_OK);
    fflush(stdout);
    cr_assert_stdout_eq_str("usage: ek test [OPTIONS]\n\nTests.\n\n"
                            "  -x, --flag          a\n"
                            "  -o, --output md|json\n"
                            "                      b\n"
                            "                      b2\n"
                            "  -s, --the-size N    c\n"
                            "  -r R                d\n"
                            "  -pg, --text T       e\n"
                            "  --seed N            f\n"
                            "  -l, --list N,...    g\n"
                            "  -h, --help          print this and stop\n\n"
                            "An option with a long name can also stand in the environment: "
                            "--ctx 4096 as EKTEST_CTX=4096.\n");
}

/* ---- what ek speed makes of repetitions ---- */

Test(speed, names_and_statistics)
{
    char               name[64];
    struct speed_model m = {.facts = {.type = "x", .path = "y", .bytes_per_token = 900},
                            .cpu   = "c"};
    /* 10 tokens in 1, 2 and 4 s: 10, 5 and 2.5 tokens/s of 1000 bytes; reading 20000, 10000, 3125 */
    struct speed_result r = {.test        = {0, 10, 4096},
                             .repetitions = 3,
                             .kv          = "f16",
                             .act         = "auto",
                             .kv_read     = 100,
                             .ns          = {1e9, 2e9, 4e9},
                             .read        = {20000, 10000, 3125}};
    speed_test_name(&r.test, name, sizeof name);
    cr_assert_str_eq(name, "tg10 @ d4096");
    speed_test_name(&(struct speed_test){512, 128, 0}, name, sizeof name);
    cr_assert_str_eq(name, "pp512+tg128");
    cr_assert_float_eq(speed_roofline(&r, &m), 50, 1e-9); /* of 50, 50 and 80 */
    json_t *j = speed_json(&r, &m);
    cr_assert(j);
    cr_assert_float_eq(json_real_value(json_object_get(j, "avg_ts")), 17.5 / 3, 1e-9);
    cr_assert_float_eq(json_real_value(json_object_get(j, "stddev_ts")), 3.81881307912987, 1e-9);
    cr_assert_float_eq(json_real_value(json_object_get(j, "median_ts")), 5, 1e-9);
    cr_assert_eq(json_integer_value(json_object_get(j, "bytes_per_token")), 1000);
    cr_assert_eq(json_array_size(json_object_get(j, "samples_ns")), 3);
    json_decref(j);
    r.test.prompt = 5; /* prefill is not bound by bytes per token */
    r.note        = "unavailable: because";
    j             = speed_json(&r, &m);
    cr_assert(json_is_null(json_object_get(j, "roofline_pct")));
    cr_assert(json_is_null(json_object_get(j, "bytes_per_token")));
    cr_assert_str_eq(json_string_value(json_object_get(j, "roofline_note")), r.note);
    json_decref(j);
}
