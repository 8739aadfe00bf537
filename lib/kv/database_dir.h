/*
 * What is looked at before RocksDB opens a directory: it opens files by name, follows links, and leaves files of its own even where it
 * then refuses. Internal to lib/kv; any thread.
 */
#ifndef CORPUSFS_KV_DATABASE_DIR_H
#define CORPUSFS_KV_DATABASE_DIR_H

#include <stdbool.h>

#include "lib/kv/kv.h"

/* After a refusal for damage. */
#define DATABASE_HINT_MEND "nothing was changed; corpusfs repair says whether it can be mended, else " DATABASE_HINT_ELSEWHERE

/*
 * `shown` is what people know the path by. -EEXIST, -ENOENT: there is, or is not, a database; -EBADMSG: a file is not a regular
 * one; -EPERM: the caller is root, and a file belongs to somebody else.
 */
WARN_UNUSED int database_dir_check(const char *path, const char *shown, bool create, struct error *err);

#endif
