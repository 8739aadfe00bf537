/*
 * Room on the store's disk. RocksDB stops until it is opened anew, or ends the process, when a write to its log or a flush finds the disk
 * full, so it may not come to that:
 *
 *   - opening replays the log and flushes what it held, which needs about the log's size: ballast_admit_open() looks before;
 *   - ballast_admit() is asked before each write and refuses with -ENOSPC while less than a small floor is free;
 *   - a file of the store's own, the ballast, takes room while there is plenty, and is given up when the disk runs full, whoever filled it:
 *     so a full store can be opened, read and deleted from. It comes back by itself when there is room.
 *
 * Whoever stores content keeps a larger reserve (lib/tree/space.c), which is never smaller than the ballast: what the ballast leaves is
 * for deletions. Internal to lib/kv; any thread.
 */
#ifndef CORPUSFS_KV_BALLAST_H
#define CORPUSFS_KV_BALLAST_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"

struct ballast;

/* `db` is the database's directory, `path` the file's; path NULL: no file, only the floor. */
struct ballast *ballast_new(const char *db, const char *path);
void ballast_free(struct ballast *ballast); /* the file stays */

WARN_UNUSED int ballast_admit_open(struct ballast *ballast, struct error *err); /* -ENOSPC */
void ballast_opened(struct ballast *ballast);                                   /* makes the file, if there is plenty of room */
WARN_UNUSED int ballast_admit(struct ballast *ballast, size_t bytes);           /* -ENOSPC */

#endif
