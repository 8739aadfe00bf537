/*
 * The entries of one directory, one after the other in byte order of their names, read some at a time.
 *
 *   cursor_open -> cursor_at, cursor_skip ... -> cursor_close
 */
#ifndef CORPUSFS_HISTORY_DIFF_CURSOR_H
#define CORPUSFS_HISTORY_DIFF_CURSOR_H

#include "lib/tree/records/scan.h"

struct cursor {
	const struct scan *scan;
	uint64_t dir;
	struct scan_list batch;
	size_t at;
	bool complete; /* there is nothing behind the batch */
};

/* At the first entry behind the name `after` ("": all). */
WARN_UNUSED int cursor_open(struct cursor *cursor, const struct scan *scan, uint64_t dir, const char *after);
void cursor_close(struct cursor *cursor); /* a closed one has no entries */
const struct scan_name *cursor_at(const struct cursor *cursor); /* NULL: at the end */
WARN_UNUSED int cursor_skip(struct cursor *cursor, const char *name); /* past this name and those before it */

#endif
