/* SPDX-License-Identifier: Apache-2.0 */
/* ops/status.c - texts of status codes; versions. */
#include "ek/status.h"

#include "ek/version.h"

#define TEXT_(x) #x
#define TEXT(x)  TEXT_(x)

const char *ek_status_text(ek_status s)
{
    switch (s) {
    case EK_OK: return "ok";
    case EK_E_ARG: return "bad argument";
    case EK_E_UNSUPPORTED: return "no kernel for this operation, format and CPU";
    case EK_E_NOMEM: return "too little memory";
    case EK_E_FORMAT: return "data is malformed or of another layout";
    case EK_E_OVERFLOW: return "size overflows";
    case EK_E_IO: return "file cannot be read or written";
    }
    return "unknown status";
}

const char *ek_version(void)
{
    return TEXT(EK_VERSION_MAJOR) "." TEXT(EK_VERSION_MINOR) "." TEXT(EK_VERSION_PATCH);
}

unsigned ek_abi_version(void)
{
    return 1;
}
