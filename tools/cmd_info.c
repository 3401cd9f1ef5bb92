/* SPDX-License-Identifier: Apache-2.0 */
/* tools/cmd_info.c - ek info: the machine, and which kernel is chosen for what and why. */
#include "tools/ek.h"

#include "ek/ek.h"
#include "tools/args.h"
#include "tools/info_model.h"
#include "tools/session_args.h"
#include "tools/topology.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Why k is not the chosen one; "" if it is. */
static const char *reason(const struct ek_kernel *k, const struct ek_kernel *chosen,
                          uint64_t hardware, uint64_t cpu)
{
    static char    text[128];
    const uint64_t lacks = k->needs & ~hardware;
    if (k == chosen) return "";
    if (!lacks)
        return k->needs & ~cpu ? "taken away by EK_ISA" : "lower priority than the chosen one";
    size_t used = (size_t)snprintf(text, sizeof text, "CPU lacks");
    for (size_t i = 0; i < EK_CPU_COUNT && used < sizeof text; i++)
        if (lacks >> i & 1)
            used += (size_t)snprintf(text + used, sizeof text - used, " %s", ek_cpu_name(i));
    return text;
}

static const struct ek_kernel *chosen_for(uint64_t cpu, const struct ek_kernel *like)
{
    const struct ek_kernel *best = NULL;
    for (size_t i = 0; i < ek_kernel_count(); i++) {
        const struct ek_kernel *k = ek_kernel_at(i);
        if (k->op == like->op && k->fmt == like->fmt && (k->needs & cpu) == k->needs &&
            (!best || best->prio < k->prio))
            best = k;
    }
    return best;
}

/* Is row i the first of its op and format? Each pair is shown once. */
static int is_first(size_t i)
{
    const struct ek_kernel *k = ek_kernel_at(i);
    for (size_t j = 0; j < i; j++)
        if (ek_kernel_at(j)->op == k->op && ek_kernel_at(j)->fmt == k->fmt) return 0;
    return 1;
}

static void label_of(const struct ek_kernel *k, char *out, size_t size)
{
    snprintf(out, size, "%s%s%s", k->isa, *k->variant ? "_" : "", k->variant);
}

/* ---- text ---- */

static void print_features(const char *what, uint64_t bits)
{
    printf("%-10s", what);
    for (size_t i = 0; i < EK_CPU_COUNT; i++)
        if (bits >> i & 1) printf(" %s", ek_cpu_name(i));
    puts(bits ? "" : " none");
}

static void print_machine(const struct topology *t)
{
    printf("cpu        %s\n", t->model);
    printf("topology   %zu package%s, %zu NUMA node%s, %zu cores, %zu threads of execution\n",
           t->packages, t->packages == 1 ? "" : "s", t->numa_nodes, t->numa_nodes == 1 ? "" : "s",
           t->cores, t->pus);
    for (size_t i = 0; i < t->cache_count; i++)
        printf("%-10s L%u%c %zu KiB, %zu of them, each shared by %zu\n", i ? "" : "caches",
               t->caches[i].level, t->caches[i].type == 'u' ? ' ' : t->caches[i].type,
               t->caches[i].bytes >> 10, t->caches[i].count, t->caches[i].shared_by);
    printf("usable     %zu thread%s: %zu performance cores among the %zu allowed CPUs", t->threads,
           t->threads == 1 ? "" : "s", t->perf_cores, t->allowed_pus);
    if (t->quota > 0)
        printf(", cgroup quota %.2f CPUs\n", t->quota);
    else
        puts(", no cgroup quota");
}

static void print_kernels(uint64_t hardware, uint64_t cpu)
{
    puts("\nkernels    chosen for each op and format; behind it, the ones passed over");
    for (size_t i = 0; i < ek_kernel_count(); i++) {
        const struct ek_kernel *k = ek_kernel_at(i);
        if (!is_first(i)) continue;
        const struct ek_kernel *best = chosen_for(cpu, k);
        char                    label[64];
        label_of(best, label, sizeof label);
        printf("  %-10s %-7s %s\n", ek_op_info(k->op)->name, ek_fmt_info(k->fmt)->name, label);
        for (size_t j = ek_kernel_count(); j-- > 0;) {
            const struct ek_kernel *other = ek_kernel_at(j);
            if (other->op != k->op || other->fmt != k->fmt || other == best) continue;
            label_of(other, label, sizeof label);
            printf("  %-10s %-7s   not %s: %s\n", "", "", label,
                   reason(other, best, hardware, cpu));
        }
    }
}

/* ---- JSON ---- */

static json_t *features_json(uint64_t bits)
{
    json_t *list = json_array();
    for (size_t i = 0; i < EK_CPU_COUNT; i++)
        if (bits >> i & 1) json_array_append_new(list, json_string(ek_cpu_name(i)));
    return list;
}

static json_t *machine_json(const struct topology *t)
{
    json_t *caches = json_array();
    for (size_t i = 0; i < t->cache_count; i++) {
        const char type[] = {t->caches[i].type, '\0'};
        json_array_append_new(caches, json_pack("{s:i, s:s, s:I, s:I, s:I}", "level",
                                                (int)t->caches[i].level, "type", type, "bytes",
                                                (json_int_t)t->caches[i].bytes, "count",
                                                (json_int_t)t->caches[i].count, "shared_by",
                                                (json_int_t)t->caches[i].shared_by));
    }
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:I, s:o}", "cpu", t->model,
                     "packages", (json_int_t)t->packages, "numa_nodes", (json_int_t)t->numa_nodes,
                     "cores", (json_int_t)t->cores, "pus", (json_int_t)t->pus, "allowed_pus",
                     (json_int_t)t->allowed_pus, "perf_cores", (json_int_t)t->perf_cores,
                     "cgroup_cpus", t->quota > 0 ? json_real(t->quota) : json_null(), "threads",
                     (json_int_t)t->threads, "caches", caches);
}

static json_t *kernels_json(uint64_t hardware, uint64_t cpu)
{
    json_t *list = json_array();
    for (size_t i = 0; i < ek_kernel_count(); i++) {
        const struct ek_kernel *k    = ek_kernel_at(i);
        const struct ek_kernel *best = chosen_for(cpu, k);
        json_array_append_new(list, json_pack("{s:s, s:s, s:s, s:s, s:s, s:i, s:b, s:s}", "name",
                                              k->name, "op", ek_op_info(k->op)->name, "format",
                                              ek_fmt_info(k->fmt)->name, "isa", k->isa, "variant",
                                              k->variant, "priority", k->prio, "chosen", k == best,
                                              "reason", reason(k, best, hardware, cpu)));
    }
    return list;
}

static int print_json(const struct topology *t, uint64_t hardware, uint64_t cpu)
{
    json_t   *root = json_pack("{s:s, s:o, s:o, s:o, s:o}", "version", ek_version(), "machine",
                               machine_json(t), "features", features_json(hardware), "features_used",
                               features_json(cpu), "kernels", kernels_json(hardware, cpu));
    const int bad  = !root || json_dumpf(root, stdout, JSON_INDENT(2));
    if (!bad) putchar('\n');
    json_decref(root);
    return bad ? EXIT_RUN : EXIT_OK;
}

int cmd_info(int argc, char **argv)
{
    struct info_model_options m      = {0};
    int                       kv     = 0;
    const struct arg          list[] = {
                 {.names = "-m, --model",
                  .value = "PATH",
                  .kind  = ARG_TEXT,
                  .to    = &m.path,
                  .help  = "a model: its config and every tensor, with format, shape, bits per\n"
                                    "weight, bytes and checksum"},
                 {.names = "--verify",
                  .kind  = ARG_FLAG,
                  .to    = &m.verify,
                  .help  = "with -m: read all weights and compare their checksums"},
                 {.names = "-c, --ctx",
                  .value = "N",
                  .kind  = ARG_SIZE,
                  .to    = &m.context,
                  .least = 1,
                  .most  = 1 << 30,
                  .help  = "with -m: bytes of cache and buffers that a context of N tokens takes"},
                 {.names = "--kv",
                  .value = KV_NAMES,
                  .kind  = ARG_CHOICE,
                  .to    = &kv,
                  .help  = "with --ctx: numbers of the cache; default: f16"},
                 {.names = "--json", .kind = ARG_FLAG, .to = &m.json, .help = "as JSON"},
    };
    const struct arg_command c = {
        .name  = "ek info",
        .usage = "[-m PATH [--verify] [--ctx N [--kv TYPE]]] [--json]",
        .about = "Prints the CPU, caches, topology, usable threads, and for every op and format\n"
                 "the kernel chosen and why the others were not. With -m: a model."};
    const int status = args_parse(&c, list, sizeof list / sizeof *list, argc, argv);
    if (status != ARGS_GO) return status;
    m.kv = kv_format(kv);
    if (m.path) return info_model(&m);
    const char     *isa      = getenv("EK_ISA");
    const uint64_t  hardware = ek_cpu_detect();
    uint64_t        cpu;
    struct topology t;
    if (ek_cpu_restrict(hardware, isa, &cpu)) {
        fprintf(stderr, "ek info: EK_ISA=%s: unknown name\n", isa);
        return EXIT_RUN;
    }
    if (topology_read(&t, "", NULL)) {
        fprintf(stderr, "ek info: topology: %s\n", strerror(errno));
        return EXIT_RUN;
    }
    if (m.json) return print_json(&t, hardware, cpu);
    printf("ek         %s\n", ek_version());
    print_machine(&t);
    print_features("features", hardware);
    if (cpu != hardware) print_features("EK_ISA", cpu);
    print_kernels(hardware, cpu);
    return EXIT_OK;
}
