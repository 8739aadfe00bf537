/*
 * Bytes as text, and back. Names of files may be any bytes; JSON, logs and terminals want UTF-8. There is one rule for all of them:
 *
 *   a byte that is not part of valid UTF-8 is written \xNN, with two hexadecimal digits in lower case
 *   a backslash that would begin such an escape is written \x5c
 *   all else stands for itself
 *
 * So all bytes come back as they were, and a name that is UTF-8 without "\xNN" in it is not changed at all. What is shown to people has
 * its control characters written in the same way, so that a name is one line and a terminal obeys nobody's file names.
 */
#ifndef CORPUSFS_BASE_ESCAPE_H
#define CORPUSFS_BASE_ESCAPE_H

#include "lib/base/buf.h"

#define ESCAPE_BYTES 1U   /* what the first two rules say */
#define ESCAPE_CONTROL 2U /* control characters (U+0000 to U+001F, U+007F to U+009F) */

void escape_add(struct buf *out, const char *bytes, size_t len, unsigned flags); /* a NUL follows but is not counted in len */
char *escape_text(const char *bytes, unsigned flags);                            /* freed by the caller */

/* The bytes that a text stands for, with a NUL behind them that is not counted. */
void unescape_add(struct buf *out, const char *text, size_t len);

#endif
