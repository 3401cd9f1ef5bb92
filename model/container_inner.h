/* SPDX-License-Identifier: Apache-2.0 */
/* model/container_inner.h - constants of our own safetensors files, for reader and writer. */
#ifndef EK_MODEL_CONTAINER_INNER_H
#define EK_MODEL_CONTAINER_INNER_H

enum { CONTAINER_ALIGNMENT = 64, CONTAINER_LAYOUT_VERSION = 1, CONTAINER_NEURON_ROWS = 2 };
#define CONTAINER_KEY     "edgekern" /* in __metadata__: its value is the version */
#define CONTAINER_VERSION "1"
#endif
