/*
 * Room on the store's disk. When a write to its log or a flush finds the disk full, RocksDB stops until it is opened anew, or ends the
 * process. So it must not come to that:
 *
 *   - Opening replays the log and flushes what it held, which needs about as much room as the log has. ballast_admit_open() looks first.
 *   - kv_write() asks ballast_admit() before each write. It refuses with -ENOSPC while less than a small floor is free.
 *   - The ballast is a file that takes room while there is plenty. When the disk runs full, whoever filled it, the file is removed, so that
 *     a full store can still be opened, read and deleted from. The file is made again when there is room.
 *
 * Whoever stores content keeps a larger reserve (space.c in lib/tree/content), which is never smaller than the ballast: the room of the
 * ballast is for deletions. Internal to lib/kv; any thread.
 */
#ifndef CORPUSFS_KV_BALLAST_H
#define CORPUSFS_KV_BALLAST_H

#include <stddef.h>
#include <stdint.h>

#include "lib/base/error.h"

struct ballast;

/* `db` is the database's directory, `shown` its name in messages, `path` the file's; path NULL: no file, only the floor. */
struct ballast *ballast_new(const char *db, const char *shown, const char *path);
void ballast_free(struct ballast *ballast); /* the file stays */

WARN_UNUSED int ballast_admit_open(struct ballast *ballast, struct error *err); /* -ENOSPC */
void ballast_opened(struct ballast *ballast);                                   /* makes the file, if there is plenty of room */
WARN_UNUSED int ballast_admit(struct ballast *ballast, size_t bytes);           /* -ENOSPC */

#endif
