/* SPDX-License-Identifier: Apache-2.0 */
/* ek/version.h - the version of these headers and of the library that is linked. */
#ifndef EK_VERSION_H
#define EK_VERSION_H
#include "ek/symbols.h"

#define EK_VERSION_MAJOR 0
#define EK_VERSION_MINOR 1
#define EK_VERSION_PATCH 0

#ifdef __cplusplus
extern "C" {
#endif

/** "0.1.0", of the library. */
EK_API const char *ek_version(void);

/** Grows when a struct or function changes in a way that an old caller would notice. */
EK_API unsigned ek_abi_version(void);

#ifdef __cplusplus
}
#endif
#endif
