/* SPDX-License-Identifier: Apache-2.0 */
/* ek/status.h - result codes. Values are ABI: never renumber, only append. */
#ifndef EK_STATUS_H
#define EK_STATUS_H
#include "ek/symbols.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum ek_status {
    EK_OK            = 0,
    EK_E_ARG         = 1, /* null pointer, zero, misaligned or contradictory argument */
    EK_E_UNSUPPORTED = 2, /* no kernel for this op, format and CPU                     */
    EK_E_NOMEM       = 3, /* the memory handed in is too small, or there is no more    */
    EK_E_FORMAT      = 4, /* data is malformed or of another layout                    */
    EK_E_OVERFLOW    = 5, /* a size does not fit                                       */
    EK_E_IO          = 6, /* a file cannot be read or written (model files only)       */
} ek_status;

/** One lower-case English phrase for a status; "unknown status" for any other value. */
EK_API const char *ek_status_text(ek_status s);

#ifdef __cplusplus
}
#endif
#endif
