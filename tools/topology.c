/* SPDX-License-Identifier: Apache-2.0 */
/* tools/topology.c - hwloc for cores and caches, cgroup files for the quota. */
#include "tools/topology.h"

#include <errno.h>
#include <hwloc.h>
#include <stdio.h>
#include <string.h>

/* ---- cgroups ---- */

enum { PATH_BYTES = 4096 };

/* The numbers of a file's first line; those that are not there, or words such as "max", are 0. */
static void read_numbers(const char *path, double *first, double *second)
{
    char  line[128] = "";
    FILE *f         = fopen(path, "r");
    *first = *second = 0;
    if (!f) return;
    if (fgets(line, sizeof line, f)) {
        char *end = line + strcspn(line, " ");
        *first    = strtod(line, NULL);
        *second   = strtod(end, NULL);
    }
    fclose(f);
}

/* quota_file holds the quota and its period, or period_file the period. */
static double read_ratio(const char *root, const char *dir, const char *quota_file,
                         const char *period_file)
{
    char   path[3 * PATH_BYTES];
    double quota, period, none;
    snprintf(path, sizeof path, "%s%s/%s", root, dir, quota_file);
    read_numbers(path, &quota, &period);
    if (period_file) {
        snprintf(path, sizeof path, "%s%s/%s", root, dir, period_file);
        read_numbers(path, &period, &none);
    }
    return quota > 0 && period > 0 ? quota / period : 0;
}

/* Smallest limit of a group and all its parents. */
static double tightest(const char *root, const char *mount, char *group, const char *quota_file,
                       const char *period_file)
{
    double least = 0;
    for (;;) {
        char dir[2 * PATH_BYTES];
        snprintf(dir, sizeof dir, "%s%s", mount, group);
        const double r = read_ratio(root, dir, quota_file, period_file);
        if (r > 0 && (least == 0 || r < least)) least = r;
        char *slash = strrchr(group, '/');
        if (!slash) return least;
        *slash = '\0';
    }
}

static int names_cpu(const char *controllers)
{
    for (const char *c = controllers; *c; c += strcspn(c, ",") + (c[strcspn(c, ",")] == ','))
        if (strcspn(c, ",") == 3 && !strncmp(c, "cpu", 3)) return 1;
    return 0;
}

double cgroup_quota(const char *root)
{
    char path[PATH_BYTES], line[PATH_BYTES];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE  *f     = fopen(path, "r");
    double least = 0;
    while (f && fgets(line, sizeof line, f)) { /* id:controllers:/group */
        line[strcspn(line, "\n")] = '\0';
        char *controllers         = strchr(line, ':'),
             *group               = controllers ? strchr(controllers + 1, ':') : 0;
        if (!group) continue;
        *group++ = '\0', controllers++;
        double r = 0;
        if (!*controllers) {
            char copy[PATH_BYTES];
            snprintf(copy, sizeof copy, "%s", group);
            r = tightest(root, "/sys/fs/cgroup", group, "cpu.max", NULL);
            if (r == 0) r = tightest(root, "/sys/fs/cgroup/unified", copy, "cpu.max", NULL);
        } else if (names_cpu(controllers)) {
            r = tightest(root, "/sys/fs/cgroup/cpu", group, "cpu.cfs_quota_us",
                         "cpu.cfs_period_us");
        }
        if (r > 0 && (least == 0 || r < least)) least = r;
    }
    if (f) fclose(f);
    return least;
}

/* ---- hwloc ---- */

static void read_caches(struct topology *t, hwloc_topology_t h)
{
    static const hwloc_obj_type_t types[] = {HWLOC_OBJ_L1CACHE, HWLOC_OBJ_L1ICACHE,
                                             HWLOC_OBJ_L2CACHE, HWLOC_OBJ_L3CACHE,
                                             HWLOC_OBJ_L4CACHE};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const int n = hwloc_get_nbobjs_by_type(h, types[i]);
        if (n <= 0) continue;
        struct hwloc_obj                      *o = hwloc_get_obj_by_type(h, types[i], 0);
        const struct hwloc_cache_attr_s *const a = &o->attr->cache;
        t->caches[t->cache_count++] =
            (struct cache){.level     = a->depth,
                           .type      = "udi"[a->type],
                           .bytes     = (size_t)a->size,
                           .count     = (size_t)n,
                           .shared_by = (size_t)hwloc_bitmap_weight(o->cpuset)};
    }
}

/* CPUs of the fastest kind of core; NULL when the machine has one kind. */
static hwloc_bitmap_t fast_cpus(hwloc_topology_t h)
{
    const int n = hwloc_cpukinds_get_nr(h, 0);
    if (n <= 1) return NULL;
    hwloc_bitmap_t set = hwloc_bitmap_alloc();
    int            efficiency;
    if (hwloc_cpukinds_get_info(h, (unsigned)n - 1, set, &efficiency, NULL, NULL, 0) ||
        efficiency < 0) { /* kinds that are not ranked */
        hwloc_bitmap_free(set);
        return NULL;
    }
    return set;
}

static void pick_cores(struct topology *t, hwloc_topology_t h)
{
    hwloc_bitmap_t fast = fast_cpus(h), allowed = hwloc_bitmap_alloc();
    if (!hwloc_topology_is_thissystem(h) || hwloc_get_cpubind(h, allowed, HWLOC_CPUBIND_THREAD))
        hwloc_bitmap_copy(allowed, hwloc_topology_get_allowed_cpuset(h));
    t->allowed_pus = (size_t)hwloc_bitmap_weight(allowed);
    if (fast && hwloc_bitmap_intersects(fast, allowed)) hwloc_bitmap_and(allowed, allowed, fast);
    for (hwloc_obj_t core = NULL; (core = hwloc_get_next_obj_by_type(h, HWLOC_OBJ_CORE, core));) {
        hwloc_bitmap_t mine = hwloc_bitmap_alloc();
        hwloc_bitmap_and(mine, core->cpuset, allowed);
        const int first = hwloc_bitmap_first(mine);
        hwloc_bitmap_free(mine);
        if (first >= 0 && t->perf_cores < CPUS_MAX) t->cpus[t->perf_cores++] = first;
    }
    hwloc_bitmap_free(allowed);
    hwloc_bitmap_free(fast);
}

static int load(hwloc_topology_t h, const char *xml)
{
    if (xml && hwloc_topology_set_xml(h, xml)) return -1;
    hwloc_topology_set_icache_types_filter(h, HWLOC_TYPE_FILTER_KEEP_ALL);
    return hwloc_topology_load(h);
}

static size_t count_of(hwloc_topology_t h, hwloc_obj_type_t type)
{
    const int n = hwloc_get_nbobjs_by_type(h, type);
    return n > 0 ? (size_t)n : 0;
}

int topology_read(struct topology *t, const char *root, const char *xml)
{
    hwloc_topology_t h;
    if (hwloc_topology_init(&h)) return -1;
    if (load(h, xml)) {
        hwloc_topology_destroy(h);
        if (!errno) errno = EINVAL;
        return -1;
    }
    *t                        = (struct topology){.packages   = count_of(h, HWLOC_OBJ_PACKAGE),
                                                  .numa_nodes = count_of(h, HWLOC_OBJ_NUMANODE),
                                                  .cores      = count_of(h, HWLOC_OBJ_CORE),
                                                  .pus        = count_of(h, HWLOC_OBJ_PU),
                                                  .quota      = cgroup_quota(root)};
    struct hwloc_obj *package = hwloc_get_obj_by_type(h, HWLOC_OBJ_PACKAGE, 0);
    const char       *model   = package ? hwloc_obj_get_info_by_name(package, "CPUModel") : NULL;
    snprintf(t->model, sizeof t->model, "%s", model ? model : "unknown");
    read_caches(t, h);
    pick_cores(t, h);
    hwloc_topology_destroy(h);
    if (!t->perf_cores) t->perf_cores = 1; /* cpus[0] is 0 */
    t->threads = t->perf_cores;
    if (t->quota > 0 && t->quota < (double)t->threads)
        t->threads = t->quota < 1 ? 1 : (size_t)t->quota;
    return 0;
}

size_t topology_last_level(const struct topology *t)
{
    size_t most = 0;
    for (size_t i = 0; i < t->cache_count; i++)
        if (t->caches[i].bytes > most) most = t->caches[i].bytes;
    return most;
}
