/* SPDX-License-Identifier: Apache-2.0 */
/* tools/info_model.h - ek info -m: what a model is made of. */
#ifndef EK_TOOLS_INFO_MODEL_H
#define EK_TOOLS_INFO_MODEL_H

/* Prints config and tensors; verify: reads all and compares checksums. The exit status. */
int info_model(const char *path, int verify, int json);
#endif
