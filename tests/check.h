/* SPDX-License-Identifier: Apache-2.0 */
/* tests/check.h - one kernel against the reference of its op and format. */
#ifndef EK_CHECK_H
#define EK_CHECK_H
#include "ek/kernels.h"

#include <stdio.h>

/* Recovers from faults inside kernels from now on. */
void check_init(void);

/* Runs every shape with the first `kinds` kinds of data, 0: all; 0 when all agree, else 1 with one
 * line on log that says where. */
int check_kernel(const struct ek_kernel *ref, const struct ek_kernel *k, long kinds, FILE *log);
#endif
