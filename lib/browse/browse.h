/*
 * Files of a repository's backups, where they are: whoever looks sees
 *
 *   ids/NAME/...      a directory for each backup, by the first digits of its name, with the tree as it stands in the repository
 *   times/TIME        a symbolic link to it, by when it was taken (UTC)
 *   latest            a symbolic link to the newest one
 *
 * or, where one backup was asked for, its tree. Directories are fetched when they are looked into, content by blobs when it is read; every blob is checked
 * by its SHA-256 before anybody sees a byte of it. Caches have a limit. Opening reads the list of backups only: the index comes beside, and who
 * needs a blob before waits for it. What was backed up later is not seen.
 *
 * A repository lock (shared) is held from opening to closing, so that nobody removes what is looked at.
 *
 * Threads: any, but for browse_open and browse_close. browse_waits says which calls may have to wait for the place where the repository is; the others
 * answer at once.
 *
 * Errors: -ENOENT, -ENOTDIR, -ESTALE a number that was forgotten, -EIO what is damaged or missing in the repository or cannot be fetched, which `problem`
 * is told, once for each blob.
 */
#ifndef CORPUSFS_BROWSE_BROWSE_H
#define CORPUSFS_BROWSE_BROWSE_H

#include <sys/stat.h>

#include "lib/base/error.h"
#include "lib/repository/repository.h"

#define BROWSE_ROOT 1ULL

struct browse;

struct browse_options {
	struct repository *repository; /* taken over, also when it fails */
	const char *backup;            /* as backup_find has it; NULL: all of them */
	size_t cache_bytes;            /* for blobs, and as much for directories */
	void (*problem)(void *arg, const char *text); /* any thread */
	void *arg;
};

WARN_UNUSED int browse_open(const struct browse_options *options, struct browse **ret_browse, struct error *err);
void browse_close(struct browse *browse); /* NULL is fine */

/* `inside`: what is below or in the node is asked for: a name, a list, content; else only its attributes. */
bool browse_waits(const struct browse *browse, uint64_t id, bool inside);

struct browse_entry {
	uint64_t id;
	struct stat stat;
};
/* The node is known until browse_forget has been called as often. */
WARN_UNUSED int browse_lookup(struct browse *browse, uint64_t parent, const char *name, struct browse_entry *ret_entry);
void browse_forget(struct browse *browse, uint64_t id, uint64_t lookups);
WARN_UNUSED int browse_getattr(struct browse *browse, uint64_t id, struct stat *ret_stat);
WARN_UNUSED int browse_readlink(struct browse *browse, uint64_t id, struct buf *ret_target); /* a NUL follows. -EINVAL: it is none */

/*
 * Gives the names from number `from` on, with what is known of them: the number of the next one, and their attributes. `take`: each is looked up, too; where
 * `each` did not take it (it returned something else than 0, which ends the list), it is forgotten again.
 */
typedef int (*browse_list_fn)(void *arg, const char *name, uint64_t next, const struct browse_entry *entry);
WARN_UNUSED int browse_list(struct browse *browse, uint64_t id, uint64_t from, bool take, browse_list_fn each, void *arg);

/* The length; what is there of the value is good until the caller's `use` returns. -ENODATA */
typedef void (*browse_value_fn)(void *arg, const void *value, size_t len);
WARN_UNUSED int browse_xattr(struct browse *browse, uint64_t id, const char *name, browse_value_fn use, void *arg);
WARN_UNUSED int browse_xattr_names(struct browse *browse, uint64_t id, struct buf *ret_names); /* each with a NUL behind */

/* Up to `size` bytes, less only at the end of the file. -EISDIR, -EINVAL: it is no file. */
WARN_UNUSED ssize_t browse_read(struct browse *browse, uint64_t id, void *out, size_t size, uint64_t offset);

struct browse_status {
	size_t backups, nodes, cached; /* bytes */
};
void browse_get_status(struct browse *browse, struct browse_status *ret_status);

#endif
