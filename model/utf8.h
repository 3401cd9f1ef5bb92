/* SPDX-License-Identifier: Apache-2.0 */
/* model/utf8.h - UTF-8 by Unicode's table 3-7: no overlong forms, no surrogates. */
#ifndef EK_MODEL_UTF8_H
#define EK_MODEL_UTF8_H
#include <stddef.h>
#include <stdint.h>

/** Bytes of the well-formed character at p, n >= 1 bytes long; 0 where there is none. */
size_t   utf8_length(const char *p, size_t n);
uint32_t utf8_decode(const char *p, size_t length);
size_t   utf8_encode(uint32_t c, char *out);
/** Bytes until the first that is not part of a well-formed character. */
size_t utf8_run(const char *p, size_t n);
/** Bytes until the next well-formed character. */
size_t utf8_broken_run(const char *p, size_t n);
#endif
