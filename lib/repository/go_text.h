/*
 * Texts as the format has them, whose writer is in Go: names quoted by Go's rule inside of JSON strings, and times.
 *
 * A name may be any bytes. It is quoted as strconv.Quote does, without the outer quotes: a byte that is not part of UTF-8 becomes \xNN, a
 * quote or a backslash gets a backslash, control characters become \n, \x1b and the like. That text is then a JSON string.
 */
#ifndef CORPUSFS_REPOSITORY_GO_TEXT_H
#define CORPUSFS_REPOSITORY_GO_TEXT_H

#include <time.h>

#include "lib/base/buf.h"

void go_quote(struct buf *out, const char *bytes); /* a NUL follows but is not counted in len */
/* The bytes that a quoted text stands for, freed by the caller. -EBADMSG: no such text, or it has a NUL in it. */
WARN_UNUSED int go_unquote(const char *text, char **ret_bytes);

/* A JSON string with its quotes, of UTF-8; what is not UTF-8 becomes U+FFFD, as in Go. */
void go_json_string(struct buf *out, const char *text);

#define GO_TIME_FIRST (-62135596800LL) /* year 1 */
#define GO_TIME_LAST 253402300799LL    /* year 9999 */
#define GO_TIME_TEXT 40
/* RFC 3339 with up to nine digits of a second, in UTC. Times beyond the two bounds are written as the bound. */
void go_time_text(struct timespec time, char out[GO_TIME_TEXT]);
WARN_UNUSED int go_time_parse(const char *text, struct timespec *ret_time); /* -EBADMSG */

#endif
