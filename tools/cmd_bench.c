/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_bench.c - ek bench: options, warnings about the machine, the table. */
#include "tools/ek.h"

#include "microbench/bench.h"
#include "tools/topology.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "usage: ek bench [OPTIONS]\n"
    "\n"
    "Times kernels against the read bandwidth and instruction peak measured in the same run.\n"
    "\n"
    "  --list            print the names of the selected rows and stop\n"
    "  --filter RE       rows whose name matches an extended regular expression\n"
    "  --isa NAME        a level (avx2), one variant (avx2_vnni) or all; default: as dispatch\n"
    "  --threads 1,2     thread counts; default: 1 and all usable ones\n"
    "  --mode cold,hot   weights from memory, from cache, or both; default: as the preset says\n"
    "  --shapes PRESET   core (default), generic4096, attention, vector, llama3.2-1b,\n"
    "                    qwen2.5-0.5b, qwen2.5-1.5b, qwen2.5-7b, qwen2.5-14b, all\n"
    "  --quick           few rows, short samples\n"
    "  --memory MIB      what cold rows rotate through, default 2048\n"
    "  --min-time S      seconds of one sample, default 0.1 (quick: 0.03)\n"
    "  --repetitions N   samples of a row, default 9 (quick: 5)\n"
    "  --format F        table (default), json or csv on standard output\n"
    "  --out FILE        also write Google Benchmark JSON (CSV for a name ending in .csv)\n"
    "  --baseline FILE   compare medians with an earlier JSON\n"
    "  --fail-above PCT  with --baseline: exit 1 when a row is slower by more; default 5\n";

struct arguments {
    struct bench_options bench;
    const char          *format, *out, *baseline;
    double               fail_above;
    int                  list, fails; /* fails: --fail-above was given */
};

static int parse_threads(struct bench_options *o, const char *text)
{
    o->thread_count = 0;
    for (const char *p = text; *p;) {
        char      *end;
        const long n = strtol(p, &end, 10);
        if (end == p || n < 1 || n > 1024 || (*end && *end != ',') ||
            o->thread_count == BENCH_THREADS_MAX)
            return -1;
        o->threads[o->thread_count++] = (size_t)n;
        p                             = end + (*end == ',');
    }
    return o->thread_count ? 0 : -1;
}

static int parse_modes(struct bench_options *o, const char *text)
{
    o->cold = !strcmp(text, "cold") || !strcmp(text, "cold,hot") || !strcmp(text, "hot,cold");
    o->hot  = !strcmp(text, "hot") || !strcmp(text, "cold,hot") || !strcmp(text, "hot,cold");
    return o->cold || o->hot ? 0 : -1;
}

static int parse_number(const char *text, double least, double *value)
{
    char *end;
    *value = strtod(text, &end);
    return end == text || *end || !(*value >= least) ? -1 : 0;
}

enum option_id {
    OPT_LIST = 256,
    OPT_FILTER,
    OPT_ISA,
    OPT_THREADS,
    OPT_MODE,
    OPT_SHAPES,
    OPT_QUICK,
    OPT_MEMORY,
    OPT_MIN_TIME,
    OPT_REPETITIONS,
    OPT_FORMAT,
    OPT_OUT,
    OPT_BASELINE,
    OPT_FAIL_ABOVE,
};

static const struct option options[] = {
    {"list", no_argument, NULL, OPT_LIST},
    {"filter", required_argument, NULL, OPT_FILTER},
    {"isa", required_argument, NULL, OPT_ISA},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"mode", required_argument, NULL, OPT_MODE},
    {"shapes", required_argument, NULL, OPT_SHAPES},
    {"quick", no_argument, NULL, OPT_QUICK},
    {"memory", required_argument, NULL, OPT_MEMORY},
    {"min-time", required_argument, NULL, OPT_MIN_TIME},
    {"repetitions", required_argument, NULL, OPT_REPETITIONS},
    {"format", required_argument, NULL, OPT_FORMAT},
    {"out", required_argument, NULL, OPT_OUT},
    {"baseline", required_argument, NULL, OPT_BASELINE},
    {"fail-above", required_argument, NULL, OPT_FAIL_ABOVE},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static int format_known(const char *f)
{
    return !strcmp(f, "table") || !strcmp(f, "json") || !strcmp(f, "csv");
}

/* Takes one option; 0, or -1 when its value makes no sense. */
static int take(struct arguments *a, int id, const char *value)
{
    struct bench_options *b = &a->bench;
    double                v = 0;
    switch (id) {
    case OPT_LIST: a->list = 1; return 0;
    case OPT_FILTER: b->filter = value; return 0;
    case OPT_ISA: b->isa = value; return 0;
    case OPT_THREADS: return parse_threads(b, value);
    case OPT_MODE: return parse_modes(b, value);
    case OPT_SHAPES: b->preset = value; return 0;
    case OPT_QUICK: b->quick = 1; return 0;
    case OPT_MEMORY:
        if (parse_number(value, 1, &v) || v > 1 << 24) return -1;
        b->memory = (size_t)v << 20;
        return 0;
    case OPT_MIN_TIME: return parse_number(value, 1e-4, &b->min_time);
    case OPT_REPETITIONS:
        if (parse_number(value, 1, &v) || v > 64) return -1;
        b->repetitions = (size_t)v;
        return 0;
    case OPT_FORMAT: a->format = value; return format_known(value) ? 0 : -1;
    case OPT_OUT: a->out = value; return 0;
    case OPT_BASELINE: a->baseline = value; return 0;
    case OPT_FAIL_ABOVE: a->fails = 1; return parse_number(value, 0, &a->fail_above);
    default: return -1;
    }
}

/* EXIT_OK to go on, else the exit status; *done when --help was answered. */
static int parse(struct arguments *a, int argc, char **argv, int *done)
{
    opterr = 0, optind = 1;
    for (int id, at = 0; (id = getopt_long(argc, argv, "h", options, &at)) != -1;) {
        if (id == 'h') {
            fputs(help, stdout);
            *done = 1;
            return EXIT_OK;
        }
        if (id == '?' || id == ':') {
            fprintf(stderr, "ek bench: %s: no such option, or its value is missing\n",
                    argv[optind - 1]);
            return EXIT_USAGE;
        }
        if (take(a, id, optarg)) {
            fprintf(stderr, "ek bench: --%s %s: not understood\n", options[at].name, optarg);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "ek bench: %s: takes no such argument\n", argv[optind]);
        return EXIT_USAGE;
    }
    return EXIT_OK;
}

static void set_defaults(struct bench_options *b, const struct topology *t)
{
    if (!b->thread_count) {
        b->threads[b->thread_count++] = 1;
        if (t->threads > 1) b->threads[b->thread_count++] = t->threads;
    }
    if (b->min_time == 0) b->min_time = b->quick ? 0.03 : 0.1;
    if (!b->repetitions) b->repetitions = b->quick ? 5 : 9;
}

/* ---- what disturbs a measurement ---- */

static int read_line(const char *path, char *line, int size)
{
    FILE *f = fopen(path, "r");
    if (!f) return -1;
    const int bad = !fgets(line, size, f);
    fclose(f);
    line[strcspn(line, "\n")] = '\0';
    return bad ? -1 : 0;
}

static void warn_about_machine(const struct bench_options *b, const struct topology *t)
{
    char   line[256];
    size_t most = 0;
    for (size_t i = 0; i < b->thread_count; i++)
        if (b->threads[i] > most) most = b->threads[i];
    if (!read_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", line, sizeof line) &&
        strcmp(line, "performance") != 0)
        fprintf(stderr, "warning: CPU governor is %s, not performance\n", line);
    if (!read_line("/proc/loadavg", line, sizeof line) && strtod(line, NULL) > 0.3 * (double)t->pus)
        fprintf(stderr, "warning: load average is %.4s on %zu CPUs\n", line, t->pus);
    if (read_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof line) ||
        strstr(line, "[never]"))
        fputs("warning: no transparent huge pages; large reads will miss the TLB\n", stderr);
    if (t->pus > t->cores)
        fprintf(stderr, "warning: SMT: %zu CPUs share %zu cores\n", t->pus, t->cores);
    if (t->quota > 0 && (double)most > t->quota)
        fprintf(stderr, "warning: the cgroup grants %.2f CPUs, %zu threads asked for\n", t->quota,
                most);
    if (most > t->perf_cores)
        fprintf(stderr, "warning: %zu threads on %zu usable cores, not pinned\n", most,
                t->perf_cores);
    const size_t llc = topology_last_level(t);
    if (b->memory < 2 * llc)
        fprintf(stderr, "warning: cold rows rotate %zu MiB, the last-level cache holds %zu MiB\n",
                b->memory >> 20, llc >> 20);
}

/* ---- the table ---- */

static void print_time(double ns)
{
    if (ns < 1e4)
        printf(" %7.0f ns", ns);
    else if (ns < 1e7)
        printf(" %7.1f us", ns / 1e3);
    else
        printf(" %7.2f ms", ns / 1e6);
}

/* The rate that the roof limits: bytes, or operations. */
static void print_row(const struct bench_result *b)
{
    const char *roof = b->roof ? b->roof : "";
    const int   counted =
        b->bytes_per_second == 0 || !strcmp(roof, "fma") || !strcmp(roof, "int8 dot");
    printf("%-67s", b->name);
    print_time(b->median);
    printf(" %7.1f %s", (counted ? b->flops : b->bytes_per_second) / 1e9,
           counted ? "Gop/s" : "GB/s ");
    if (b->roofline_pct > 0)
        printf(" %6.1f%s", b->roofline_pct, b->roofline_pct > 105 ? " OVER" : "");
    putchar('\n');
}

static void print_table(const struct bench_report *r, const struct arguments *a,
                        const struct topology *t)
{
    printf("%s, %zu cores; cold rows rotate %zu MiB; medians of %zu\n", t->model, t->cores,
           a->bench.memory >> 20, a->bench.repetitions);
    for (size_t i = 0; i < a->bench.thread_count; i++)
        printf("roofs, %zu thread%s: read %.1f GB/s, FMA %.0f GFLOP/s, int8 dot %.0f Gop/s\n",
               a->bench.threads[i], a->bench.threads[i] == 1 ? "" : "s", r->read[i] / 1e9,
               r->peak_f32[i] / 1e9, r->peak_i8[i] / 1e9);
    printf("peer: %s\n", r->peer);
    printf("\n%-67s %10s %12s %6s\n", "row", "time", "rate", "%roof");
    for (size_t i = 0; i < r->count; i++) print_row(&r->rows[i]);
}

/* JSON or CSV to standard output go through a file, as the writer wants a name. */
static int print_machine_readable(const struct bench_report *r, int csv)
{
    return bench_write(r, csv, "/dev/stdout");
}

static int report(const struct bench_report *r, const struct arguments *a, const struct topology *t)
{
    int bad = 0;
    if (!strcmp(a->format, "table"))
        print_table(r, a, t);
    else
        bad |= print_machine_readable(r, !strcmp(a->format, "csv"));
    if (a->out) {
        const size_t len = strlen(a->out);
        bad |= bench_write(r, len > 4 && !strcmp(a->out + len - 4, ".csv"), a->out);
    }
    if (a->baseline) {
        const int slower = bench_compare(r, a->baseline, a->fail_above, stdout);
        bad |= slower < 0 || (a->fails && slower > 0);
    }
    if (r->over)
        fprintf(stderr,
                "ek bench: %zu row%s above 105 %% of the roof: bytes are miscounted, or "
                "cold rows ran from cache\n",
                r->over, r->over == 1 ? "" : "s");
    return bad || r->over ? EXIT_RUN : EXIT_OK;
}

int cmd_bench(int argc, char **argv)
{
    struct arguments a = {.bench      = {.preset = "core", .memory = (size_t)2048 << 20},
                          .format     = "table",
                          .fail_above = 5};
    struct topology  t;
    int              done   = 0;
    const int        status = parse(&a, argc, argv, &done);
    if (status || done) return status;
    if (topology_read(&t, "", NULL)) {
        fprintf(stderr, "ek bench: topology: %s\n", strerror(errno));
        return EXIT_RUN;
    }
    set_defaults(&a.bench, &t);
    if (a.list) return bench_list(&a.bench, stdout) ? EXIT_RUN : EXIT_OK;
    warn_about_machine(&a.bench, &t);
    struct bench_report r;
    const int           bad = bench_run(&a.bench, &t, &r);
    const int           out = bad ? EXIT_RUN : report(&r, &a, &t);
    bench_drop(&r);
    return out;
}
