/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit_topology.c - usable threads: hybrid cores, cgroup v1 and v2 quotas, from fixtures. */
#include "tools/topology.h"

#include <criterion/criterion.h>

static struct topology read_fixture(const char *root)
{
    struct topology t;
    cr_assert_eq(topology_read(&t, root, EK_FIXTURES "/hybrid.xml"), 0);
    return t;
}

Test(topology, hybrid_counts_fast_cores)
{
    const struct topology t = read_fixture(EK_FIXTURES "/cgroup_none");
    cr_assert_eq(t.cores, 8);
    cr_assert_eq(t.allowed_pus, 8);
    cr_assert_eq(t.perf_cores, 4);
    cr_assert_eq(t.threads, 4);
    for (int i = 0; i < 4; i++) cr_assert_eq(t.cpus[i], i);
    cr_assert_eq(topology_last_level(&t), 12 << 20);
    cr_assert_float_eq(t.quota, 0, 0);
}

Test(topology, quota_of_a_parent_is_felt_and_rounded_down)
{
    cr_assert_float_eq(cgroup_quota(EK_FIXTURES "/cgroup_v2"), 7.65, 1e-9);
    cr_assert_float_eq(cgroup_quota(EK_FIXTURES "/cgroup_v1"), 1.5, 1e-9);
    cr_assert_float_eq(cgroup_quota(EK_FIXTURES "/nowhere"), 0, 0);
    cr_assert_eq(read_fixture(EK_FIXTURES "/cgroup_v2").threads, 4); /* the cores are fewer */
    cr_assert_eq(read_fixture(EK_FIXTURES "/cgroup_v1").threads, 1);
}

Test(topology, bad_xml_is_an_error)
{
    struct topology t;
    cr_assert_eq(topology_read(&t, "", EK_FIXTURES "/nowhere.xml"), -1);
}

Test(topology, this_machine)
{
    struct topology t;
    cr_assert_eq(topology_read(&t, "", NULL), 0);
    cr_assert_geq(t.threads, 1);
    cr_assert_leq(t.threads, t.pus);
    cr_assert_leq(t.perf_cores, t.allowed_pus);
}
