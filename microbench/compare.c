/* SPDX-License-Identifier: Apache-2.0 */
/* microbench/compare.c - this run's medians against a Google Benchmark JSON file. */
#include "microbench/bench.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Samples of one row in the file: count, median, highest. */
struct past {
    double samples[64];
    size_t count;
};

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double unit_ns(const char *unit)
{
    return !strcmp(unit, "us") ? 1e3 : !strcmp(unit, "ms") ? 1e6 : !strcmp(unit, "s") ? 1e9 : 1;
}

static struct past find(const json_t *benchmarks, const char *name)
{
    struct past   p = {.count = 0};
    size_t        i;
    const json_t *b;
    json_array_foreach(benchmarks, i, b)
    {
        const char *row  = json_string_value(json_object_get(b, "name"));
        const char *type = json_string_value(json_object_get(b, "run_type"));
        const char *unit = json_string_value(json_object_get(b, "time_unit"));
        if (!row || strcmp(row, name) != 0 || !type || strcmp(type, "iteration") != 0 ||
            p.count == 64)
            continue;
        p.samples[p.count++] =
            json_number_value(json_object_get(b, "real_time")) * unit_ns(unit ? unit : "ns");
    }
    qsort(p.samples, p.count, sizeof *p.samples, ascending);
    return p;
}

int bench_compare(const struct bench_report *r, const char *path, double pct, FILE *out)
{
    json_error_t  error;
    json_t       *root       = json_load_file(path, 0, &error);
    const json_t *benchmarks = json_object_get(root, "benchmarks");
    if (!json_is_array(benchmarks)) {
        fprintf(stderr, "ek bench: --baseline %s: %s\n", path,
                root ? "no list of benchmarks" : error.text);
        json_decref(root);
        return -1;
    }
    int    slower  = 0;
    size_t matched = 0;
    for (size_t i = 0; i < r->count; i++) {
        const struct bench_result *now  = &r->rows[i];
        const struct past          past = find(benchmarks, now->name);
        if (!past.count || !(now->median > 0)) continue;
        matched++;
        const double was = past.samples[past.count / 2], change = 100 * (now->median / was - 1);
        const int    apart = now->p10 > past.samples[past.count - 1 - past.count / 10];
        const int    worse = change > pct && apart;
        slower += worse;
        if (worse || change < -pct)
            fprintf(out, "%+7.1f %%  %s%s\n", change, now->name, worse ? "  SLOWER" : "");
    }
    fprintf(out, "%zu rows also in %s, %d slower by more than %g %%\n", matched, path, slower, pct);
    json_decref(root);
    return slower;
}
