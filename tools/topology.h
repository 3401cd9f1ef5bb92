/* SPDX-License-Identifier: Apache-2.0 */
/* tools/topology.h - how many threads this process should use here, and on which CPUs. */
#ifndef EK_TOOLS_TOPOLOGY_H
#define EK_TOOLS_TOPOLOGY_H
#include <stddef.h>

enum { CPUS_MAX = 1024, CACHES_MAX = 8 };

struct cache {
    unsigned level;
    char     type; /* 'd' data, 'i' instructions, 'u' unified */
    size_t   bytes, count, shared_by;
};

struct topology {
    char         model[96];
    size_t       packages, numa_nodes, cores, pus; /* of the machine                          */
    size_t       allowed_pus;                      /* in this process's affinity mask         */
    size_t       perf_cores;                       /* fast cores with an allowed PU           */
    double       quota;                            /* CPUs that the cgroup grants; 0: no limit */
    size_t       threads;                          /* min(perf_cores, floor(quota)), >= 1     */
    int          cpus[CPUS_MAX];                   /* one PU of each performance core         */
    struct cache caches[CACHES_MAX];
    size_t       cache_count;
};

/* Reads the machine. root: where /proc and /sys are ("" for the real ones); xml: an hwloc export to
 * read instead of the hardware, or NULL. 0, or -1 with errno. */
int topology_read(struct topology *t, const char *root, const char *xml);

/* The cgroup's CPU quota under root, v1 or v2, tightest of the group and its parents; 0: none. */
double cgroup_quota(const char *root);

/* Bytes of the largest cache; 0 when unknown. */
size_t topology_last_level(const struct topology *t);
#endif
