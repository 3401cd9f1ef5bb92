/* SPDX-License-Identifier: Apache-2.0 */
/* tools/energy.h - what the processor used, as Linux tells it (RAPL: /sys/class/powercap). */
#ifndef EK_TOOLS_ENERGY_H
#define EK_TOOLS_ENERGY_H

enum { ENERGY_PACKAGES = 8 };

struct energy {
    char        path[ENERGY_PACKAGES][64];
    int         count;
    const char *why; /* there is none, or NULL */
};

void energy_open(struct energy *m);
/* Joules of all packages since some moment; 0 where there are none. Counters wrap, about once an hour:
 * a difference is negative then. */
double energy_read(const struct energy *m);
#endif
