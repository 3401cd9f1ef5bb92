/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_bench.c - ek bench: options, warnings about the machine, the table. */
#include "tools/ek.h"

#include "microbench/bench.h"
#include "tools/args.h"
#include "tools/topology.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arguments {
    struct bench_options bench;
    const char          *out, *baseline;
    double               fail_above; /* < 0: not given */
    size_t               memory;     /* MiB */
    int                  format, list;
};

enum { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV };

static int parse_threads(void *to, const char *text)
{
    struct bench_options *o = to;
    struct arg_sizes      l = {.count = 0};
    if (arg_sizes_parse(&l, text) || l.count > BENCH_THREADS_MAX) return -1;
    for (o->thread_count = 0; o->thread_count < l.count; o->thread_count++) {
        const size_t n = l.v[o->thread_count];
        if (n < 1 || n > CPUS_MAX) return -1;
        o->threads[o->thread_count] = n;
    }
    return 0;
}

static int parse_modes(void *to, const char *text)
{
    struct bench_options *o = to;
    o->cold = !strcmp(text, "cold") || !strcmp(text, "cold,hot") || !strcmp(text, "hot,cold");
    o->hot  = !strcmp(text, "hot") || !strcmp(text, "cold,hot") || !strcmp(text, "hot,cold");
    return o->cold || o->hot ? 0 : -1;
}

/* EXIT status, or ARGS_GO. */
static int parse(struct arguments *a, int argc, char **argv)
{
    struct bench_options *b      = &a->bench;
    const struct arg      list[] = {
             {.names = "--list",
              .kind  = ARG_FLAG,
              .to    = &a->list,
              .help  = "print the names of the selected rows and stop"},
             {.names = "--filter",
              .value = "RE",
              .kind  = ARG_TEXT,
              .to    = &b->filter,
              .help  = "rows whose name matches an extended regular expression"},
             {.names = "--isa",
              .value = "NAME",
              .kind  = ARG_TEXT,
              .to    = &b->isa,
              .help  = "a level (avx2), one variant (avx2_vnni) or all; default: as dispatch"},
             {.names = "--threads",
              .value = "1,2",
              .kind  = ARG_PARSE,
              .to    = b,
              .parse = parse_threads,
              .help  = "thread counts; default: 1 and all usable ones"},
             {.names = "--mode",
              .value = "cold,hot",
              .kind  = ARG_PARSE,
              .to    = b,
              .parse = parse_modes,
              .help  = "weights from memory, from cache, or both; default: as the preset says"},
             {.names = "--shapes",
              .value = "PRESET",
              .kind  = ARG_TEXT,
              .to    = &b->preset,
              .help  = "core (default), generic4096, attention, vector, sparse, llama3.2-1b,\n"
                            "llama3.2-3b, qwen2.5-0.5b, qwen2.5-1.5b, qwen2.5-7b, qwen2.5-14b, all"},
             {.names = "--quick", .kind = ARG_FLAG, .to = &b->quick, .help = "few rows, short samples"},
             {.names = "--memory",
              .value = "MIB",
              .kind  = ARG_SIZE,
              .to    = &a->memory,
              .least = 1,
              .most  = 1 << 24,
              .help  = "what cold rows rotate through, default 2048"},
             {.names = "--min-time",
              .value = "S",
              .kind  = ARG_REAL,
              .to    = &b->min_time,
              .least = 1e-4,
              .help  = "seconds of one sample, default 0.1 (quick: 0.03)"},
             {.names = "--repetitions",
              .value = "N",
              .kind  = ARG_SIZE,
              .to    = &b->repetitions,
              .least = 1,
              .most  = 64,
              .help  = "samples of a row, default 9 (quick: 5)"},
             {.names = "--format",
              .value = "table|json|csv",
              .kind  = ARG_CHOICE,
              .to    = &a->format,
              .help  = "of standard output, default table"},
             {.names = "--out",
              .value = "FILE",
              .kind  = ARG_TEXT,
              .to    = &a->out,
              .help  = "also write Google Benchmark JSON (CSV for a name ending in .csv)"},
             {.names = "--baseline",
              .value = "FILE",
              .kind  = ARG_TEXT,
              .to    = &a->baseline,
              .help  = "compare medians with an earlier JSON"},
             {.names = "--fail-above",
              .value = "PCT",
              .kind  = ARG_REAL,
              .to    = &a->fail_above,
              .help  = "with --baseline: exit 1 when a row is slower by more; default 5"},
    };
    const struct arg_command c = {.name  = "ek bench",
                                  .usage = "[OPTIONS]",
                                  .about = "Times kernels against the read bandwidth and "
                                           "instruction peak measured in the same run."};
    return args_parse(&c, list, sizeof list / sizeof *list, argc, argv);
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
    if (a->format == FORMAT_TABLE)
        print_table(r, a, t);
    else
        bad |= print_machine_readable(r, a->format == FORMAT_CSV);
    if (a->out) {
        const size_t len = strlen(a->out);
        bad |= bench_write(r, len > 4 && !strcmp(a->out + len - 4, ".csv"), a->out);
    }
    if (a->baseline) {
        const int fails  = a->fail_above >= 0;
        const int slower = bench_compare(r, a->baseline, fails ? a->fail_above : 5, stdout);
        bad |= slower < 0 || (fails && slower > 0);
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
    struct arguments a = {.bench = {.preset = "core"}, .memory = 2048, .fail_above = -1};
    struct topology  t;
    const int        status = parse(&a, argc, argv);
    if (status != ARGS_GO) return status;
    a.bench.memory = a.memory << 20;
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
