/* SPDX-License-Identifier: Apache-2.0 */
/* tools/results.c - snapshot of machine, build and model; writing. */
#include "tools/results.h"

#include "ek/ek.h"
#include "model/file.h"
#include "model/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

/* ---- text ---- */

json_t *results_text(const char *data, size_t bytes)
{
    json_t *whole = json_stringn(data ? data : "", bytes);
    if (whole || bytes > SIZE_MAX / 3) return whole;
    char  *clean = malloc(3 * bytes);
    size_t used  = 0;
    for (size_t i = 0; clean && i < bytes;) {
        const size_t n = utf8_length(data + i, bytes - i);
        memcpy(clean + used, n ? data + i : "\xEF\xBF\xBD", n ? n : 3);
        used += n ? n : 3, i += n ? n : 1;
    }
    whole = clean ? json_stringn(clean, used) : NULL;
    free(clean);
    return whole;
}

void results_time(char out[32])
{
    const time_t now = time(NULL);
    struct tm    t;
    gmtime_r(&now, &t);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &t);
}

/* ---- snapshot ---- */

/* First line of a file; "unavailable: ..." where it cannot be read. */
static json_t *line_of(const char *path)
{
    char  line[256] = "";
    FILE *f         = fopen(path, "r");
    if (!f || !fgets(line, sizeof line, f)) snprintf(line, sizeof line, "unavailable: %s", path);
    if (f) fclose(f);
    line[strcspn(line, "\n")] = '\0';
    return results_text(line, strlen(line));
}

static json_t *caches_json(const struct topology *t)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->cache_count; i++) {
        const char type[] = {t->caches[i].type, '\0'};
        json_array_append_new(list,
                              json_pack("{s:i, s:s, s:I, s:I}", "level", (int)t->caches[i].level,
                                        "type", type, "bytes", (json_int_t)t->caches[i].bytes,
                                        "count", (json_int_t)t->caches[i].count));
    }
    return list;
}

static json_t *features_json(uint64_t bits)
{
    json_t *list = json_array();
    for (size_t i = 0; i < EK_CPU_COUNT; i++)
        if (bits >> i & 1) json_array_append_new(list, json_string(ek_cpu_name(i)));
    return list;
}

static json_t *hardware_json(const struct topology *t)
{
    struct utsname u;
    const long     pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    const char    *isa = getenv("EK_ISA");
    uint64_t       cpu = ek_cpu_detect();
    if (ek_cpu_restrict(cpu, isa, &cpu)) cpu = 0;
    if (uname(&u)) memset(&u, 0, sizeof u);
    return json_pack(
        "{s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:s, s:s, s:o, s:o, s:o}", "cpu", t->model,
        "cores", (json_int_t)t->cores, "cpus", (json_int_t)t->pus, "usable_threads",
        (json_int_t)t->threads, "cgroup_cpus", t->quota > 0 ? json_real(t->quota) : json_null(),
        "caches", caches_json(t), "features_used", features_json(cpu), "ek_isa",
        isa ? json_string(isa) : json_null(), "ram_bytes",
        pages > 0 && page > 0 ? json_integer((json_int_t)pages * page) : json_null(), "kernel",
        u.release, "machine", u.machine, "governor",
        line_of("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), "huge_pages",
        line_of("/sys/kernel/mm/transparent_hugepage/enabled"), "load", line_of("/proc/loadavg"));
}

static json_t *model_json(const struct model *m)
{
    struct model_facts f;
    char               checksum[32];
    model_facts(m, &f);
    snprintf(checksum, sizeof checksum, "%016llx", (unsigned long long)f.checksum);
    return json_pack("{s:s, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f}", "type", f.type, "path",
                     results_text(f.path, strlen(f.path)), "checksum", checksum, "file_bytes",
                     (json_int_t)f.file_bytes, "weight_bytes", (json_int_t)f.weight_bytes,
                     "weight_bytes_per_token", (json_int_t)f.bytes_per_token, "packed_bytes",
                     (json_int_t)f.packed_bytes, "params", (json_int_t)f.params, "blocks_cut",
                     (json_int_t)f.blocks_cut, "load_ms", f.load_ms);
}

json_t *results_new(const char *command, const struct topology *t, const struct model *m)
{
    char date[32];
    results_time(date);
    return json_pack("{s:i, s:s, s:s, s:o, s:{s:s, s:s, s:i, s:s}, s:o}", "schema_version",
                     RESULTS_SCHEMA, "command", command, "date", date, "hardware", hardware_json(t),
                     "build", "version", ek_version(), "commit", EK_COMMIT, "number",
                     EK_BUILD_NUMBER, "compiler", __VERSION__, "model",
                     m ? model_json(m) : json_null());
}

ek_status results_write(json_t *root, const char *path, struct error *e)
{
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(10)) : NULL;
    json_decref(root);
    if (!text) return fail(e, EK_E_NOMEM, "%s: results: out of memory", path);
    const size_t bytes = strlen(text);
    text[bytes]        = '\n'; /* in place of the '\0' */
    const ek_status s  = file_write(path, text, bytes + 1, e);
    free(text);
    return s;
}
