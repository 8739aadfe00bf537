/*
 * Room on the store's disk. When a write to its log or a flush finds the disk full, RocksDB stops until it is opened anew, or ends the
 * process. So it must not come to that, whoever fills the disk: there is room that nobody else can take.
 *
 *   - The log that is being written has blocks which it does not use yet: RocksDB allocates some tens of MiB at once. What changes a store,
 *     but brings no content, fits there even when nothing else is free.
 *   - The ballast is a file that only takes room. Part by part it is given up for what needs new files and finds no room: a flush, a merge,
 *     the next log, the opening of a store, what RocksDB merges by itself. Never before, and never more of it: whoever fills the disk
 *     takes what was given up and not used. The last third is for what gives room back: destroying snapshots, collecting, closing. What
 *     is given up comes back as soon as there is room; kv_room_missing() says how much that is, so that no content takes it.
 *
 * Content leaves both alone. It has a larger reserve of its own (space.c in lib/tree/content). Internal to lib/kv; any thread.
 */
#ifndef CORPUSFS_KV_BALLAST_H
#define CORPUSFS_KV_BALLAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"

struct ballast;

struct ballast_options {
	const char *db, *shown; /* the database's directory, its name in messages */
	const char *path;       /* the file; NULL: none */
	uint64_t log_limit;     /* the database's logs are closed before they have more bytes */
	uint64_t log_part;      /* so much is allocated for a log at once */
};

struct ballast *ballast_new(const struct ballast_options *options);
void ballast_free(struct ballast *ballast); /* the file stays */

WARN_UNUSED int ballast_admit_open(struct ballast *ballast, struct error *err); /* -ENOSPC */
void ballast_opened(struct ballast *ballast);                                   /* makes the file, if there is room */

/* A write of so many bytes: true if they are free, beside what a flush of `unflushed` bytes would take. */
WARN_UNUSED bool ballast_admit(struct ballast *ballast, uint64_t bytes, uint64_t unflushed);
/* The same: true if the log has room for them that is allocated. */
WARN_UNUSED bool ballast_admit_log(struct ballast *ballast, uint64_t bytes);
/* New files of so many bytes, those of a flush of `unflushed` bytes of memory, and another log; gives up what they need, the last third only
 * for what `gives_back` room. -ENOSPC: there is not as much. After 0 comes ballast_files_end(), when they are written. */
WARN_UNUSED int ballast_admit_files(struct ballast *ballast, uint64_t bytes, uint64_t unflushed, bool gives_back);
void ballast_files_end(struct ballast *ballast);

/* RocksDB merges or flushes by itself: where little is free it gets what is not for giving room back, for some seconds. */
void ballast_lend(struct ballast *ballast);

uint64_t ballast_missing(struct ballast *ballast); /* bytes that were given up, and are to come back */
uint64_t ballast_log_bytes(const char *db); /* in the logs of the database in this directory */

#endif
