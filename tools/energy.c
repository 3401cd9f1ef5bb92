/* SPDX-License-Identifier: Apache-2.0 */
/* tools/energy.c - reads RAPL's counters. */
#include "tools/energy.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void energy_open(struct energy *m)
{
    *m = (struct energy){.count = 0};
    for (int i = 0; i < ENERGY_PACKAGES; i++) {
        char *path = m->path[m->count];
        snprintf(path, sizeof m->path[0], "/sys/class/powercap/intel-rapl:%d/energy_uj", i);
        if (!access(path, R_OK))
            m->count++;
        else if (!access(path, F_OK))
            m->why = "/sys/class/powercap/intel-rapl: not readable";
    }
    if (m->count) m->why = NULL;
    if (!m->count && !m->why) m->why = "no /sys/class/powercap/intel-rapl";
}

double energy_read(const struct energy *m)
{
    double sum = 0;
    char   text[32];
    for (int i = 0; i < m->count; i++) {
        FILE *f = fopen(m->path[i], "r");
        if (!f) continue;
        if (fgets(text, sizeof text, f)) sum += 1e-6 * strtod(text, NULL);
        fclose(f);
    }
    return sum;
}
