/* SPDX-License-Identifier: Apache-2.0 */
/* model/error.c - formats an error line. */
#include "model/error.h"

#include <stdarg.h>
#include <stdio.h>

int error_write(struct error *e, const char *format, ...)
{
    if (!e) return 0;
    va_list args;
    va_start(args, format);
    vsnprintf(e->text, sizeof e->text, format, args);
    va_end(args);
    for (char *c = e->text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7F) *c = '?';
    return 1;
}
