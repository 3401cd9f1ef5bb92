/* SPDX-License-Identifier: Apache-2.0 */
/* ek/symbols.h - every public symbol, once. Defining EK_PREFIX (say, acme_) when the library and
 * its users are built renames them all, so that two copies can live in one program. tools/symbols.sh
 * holds this list against what the library exports. */
#ifndef EK_SYMBOLS_H
#define EK_SYMBOLS_H

#if defined(EK_SHARED_BUILD)
#define EK_API __attribute__((visibility("default")))
#else
#define EK_API
#endif

#ifdef EK_PREFIX
#define EK_SYM_PASTE(prefix, name) prefix##name
#define EK_SYM_EXPAND(prefix, name) EK_SYM_PASTE(prefix, name)
#define EK_SYM(name) EK_SYM_EXPAND(EK_PREFIX, name)

#else
#define EK_SYM(name) name
#endif

#endif
