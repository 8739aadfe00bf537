/*
 * Files of a repository's backups, where they are: whoever looks sees
 *
 *   ids/NAME/...      a directory for each backup, by the first digits of its name, with the tree as it stands in the repository
 *   times/TIME        a symbolic link to it, by when it was taken (UTC)
 *   latest            a symbolic link to the newest one
 *
 * or, where one backup was asked for, its tree, or that of the dataset in it. Directories are fetched when they are looked into, of large ones the
 * part that is wanted (lib/backup/large_trees.h), content by blobs when it is read; every blob is checked by its SHA-256 before anybody sees a byte
 * of it. Caches have a limit. Opening reads the list of backups
 * only: the index comes beside, and who needs a blob before waits for it. If it cannot be had, that is -EIO, and it is tried again. What is backed up
 * later comes soon after somebody has looked at the list, or within ten seconds.
 *
 * A repository lock (shared) is held from opening to closing, so that nobody removes what is looked at; where none can be written, without.
 *
 * With a cache on a local disk (disk_cache.h), what was fetched once is read from there.
 *
 * Threads: any, but for browse_open, browse_stop and browse_close. With `may_wait` false nobody waits for the place where the repository is: what is
 * neither in memory nor on the local disk is -EAGAIN, and somebody who may wait asks again.
 *
 * Errors: -ENOENT, -ENOTDIR, -ESTALE a number that was forgotten, -EIO what is damaged or missing in the repository or cannot be fetched, which `problem`
 * is told, once for each blob.
 */
#ifndef CORPUSFS_BROWSE_BROWSE_H
#define CORPUSFS_BROWSE_BROWSE_H

#include <sys/stat.h>

#include "lib/base/error.h"
#include "lib/browse/blob_source.h"
#include "lib/repository/repository.h"

#define BROWSE_ROOT 1ULL

struct browse;

struct browse_options {
	struct repository *repository; /* taken over, also when it fails */
	const char *backup;            /* as backup_find has it; NULL: all of them */
	bool only_dataset;             /* of the one backup, the root is the dataset's directory */
	bool follows;                  /* with only_dataset: the root will be that of other backups (browse_move) */
	size_t cache_bytes;            /* for blobs, and as much for directories */
	struct disk_cache *disk;       /* not loaded yet; stays the caller's; NULL: there is none */
	void (*problem)(void *arg, const char *text); /* any thread */
	void *arg;
};

WARN_UNUSED int browse_open(const struct browse_options *options, struct browse **ret_browse, struct error *err);
/* Of what nobody looks at any more: from then on the cache on disk is not used. Need not be called; NULL is fine. */
void browse_stop(struct browse *browse);
void browse_close(struct browse *browse); /* waits for the place, to take its lock back. NULL is fine */

/* Whether the node's list or attributes change while it is looked at: those of lists of backups. */
bool browse_may_change(const struct browse *browse, uint64_t id);

struct browse_entry {
	uint64_t id;
	struct stat stat;
	bool is_passing; /* the name, or for the root what it is, may be another's in a moment: nobody may keep it */
};
/* The node is known until browse_forget has been called as often. */
WARN_UNUSED int browse_lookup(struct browse *browse, uint64_t parent, const char *name, bool may_wait, struct browse_entry *ret_entry);
void browse_forget(struct browse *browse, uint64_t id, uint64_t lookups);
WARN_UNUSED int browse_getattr(struct browse *browse, uint64_t id, bool may_wait, struct browse_entry *ret_entry); /* not looked up */
WARN_UNUSED int browse_readlink(struct browse *browse, uint64_t id, bool may_wait, struct buf *ret_target); /* a NUL follows. -EINVAL: it is none */

/*
 * Gives the names from number `from` on: each with the number of the next one and its attributes, and with `take` looked up, too. What `each` returns, if
 * not 0, ends the list, and that name counts as not looked up.
 */
struct browse_listing {
	uint64_t id, from;
	bool take;
	int (*each)(void *arg, const char *name, uint64_t next, const struct browse_entry *entry);
	void *arg;
};
WARN_UNUSED int browse_list(struct browse *browse, const struct browse_listing *what, bool may_wait);

/* The number of what the root is now, which lists that even when the root is another: for who has the root open. */
WARN_UNUSED int browse_root(struct browse *browse, bool may_wait, uint64_t *ret_id);

/* The node at a path below the root, looked up, as all above it; "" is the root. -ENOENT, -ENOTDIR. */
WARN_UNUSED int browse_find(struct browse *browse, const char *path, struct browse_entry *ret_entry);
/* Gives all that is at and below a node, each directory before what is in it. A negative number from `each` ends that. */
WARN_UNUSED int browse_walk(struct browse *browse, const struct browse_entry *from, int (*each)(void *arg, const struct browse_entry *entry), void *arg);

/* -ENODATA: it has none of that name. */
WARN_UNUSED int browse_xattr(struct browse *browse, uint64_t id, const char *name, bool may_wait, struct buf *ret_value);
WARN_UNUSED int browse_xattr_names(struct browse *browse, uint64_t id, bool may_wait, struct buf *ret_names); /* each with a NUL behind */

struct browse_range {
	uint64_t id, offset;
	size_t size;
};
/* Up to `size` bytes, less only at the end of the file. -EISDIR, -EINVAL: it is no file. */
WARN_UNUSED ssize_t browse_read(struct browse *browse, const struct browse_range *range, bool may_wait, void *out);
/* A step through the content of the files of a directory, or of one file, in the order of their names in its tree; all zero but the id: the first. */
struct browse_step {
	uint64_t id, position, offset; /* of the file in the directory, and in the file */
	bool at_end;                   /* there is no next one */
};
struct browse_brought {
	uint64_t files, bytes; /* that are on the local disk now; files that ended in this step */
	uint64_t failed;       /* blobs that cannot be had; the log says why */
};
/* Brings it to the local disk, several requests at once, and moves on. -EOPNOTSUPP: there is no cache on a disk; -EIO: the place is away. */
WARN_UNUSED int browse_bring(struct browse *browse, struct browse_step *step, struct browse_brought *ret_brought);

/*
 * What is pinned is never evicted from the local disk, also by later mounts; what of it is not there yet is brought by browse_bring. A pin is of one
 * backup's path: what it holds does not change. -EOPNOTSUPP: no cache on a disk; -EINVAL: a list of backups; -ENOBUFS: it is too much (disk_cache.h).
 */
WARN_UNUSED int browse_pin(struct browse *browse, uint64_t id); /* all at and below the node, whose directories are fetched; the place is waited for */
WARN_UNUSED int browse_unpin(struct browse *browse, uint64_t id); /* what was pinned by this path. -ENOENT: nothing was */
WARN_UNUSED int browse_unpin_all(struct browse *browse);
void browse_pins(struct browse *browse, struct pins *ret_pins);
/* How many bytes of what is pinned by this path are not on the local disk. -ENOENT: nothing is pinned. */
WARN_UNUSED int browse_pin_missing(struct browse *browse, uint64_t id, uint64_t *ret_bytes);

/*
 * Of what follows: the root becomes that of another backup of the repository, at one instant (browse_follow.c). After a failure nothing has changed.
 * -EAGAIN: what says where its blobs are is not read yet. One thread at a time, which answers no requests.
 */
struct browse_moving {
	const char *backup; /* its whole name */
	const struct object_names *index_files; /* that were there when it was known to be there: its blobs are in these; sorted */
	/* What somebody may have kept of a name in the root is dropped when it returns, NULL: of the root itself. Not 0: that failed. */
	int (*drop)(void *arg, const char *name);
	void *arg;
};
struct repository *browse_repository_by(const struct browse *browse, struct objects *objects); /* as repository_by */
WARN_UNUSED int browse_move(struct browse *browse, const struct browse_moving *moving, struct error *err);

/* How who follows fares, which is told by browse_state. */
struct browse_followed {
	bool follows;
	uint64_t number, newest; /* of the version that is shown, and of the newest that is known */
	char *name;              /* of that which is shown; owned */
	int64_t asked;           /* when it was last known which is the newest: seconds since 1970 */
	char *problem;           /* why that is not known, or not shown; NULL: nothing is wrong. Owned */
};
void browse_followed_clear(struct browse_followed *followed);
void browse_note(struct browse *browse, struct browse_followed *followed); /* takes over what it holds */

struct browse_state {
	struct browse_followed followed;
	struct blob_source_counts fetched;
	uint64_t read_bytes;   /* that were given to readers */
	uint64_t memory_bytes; /* in caches */
	bool has_disk;
	struct disk_cache_state disk;
};
struct browse_state browse_state(struct browse *browse);
void browse_state_clear(struct browse_state *state);

/* After a read: whether who reads the file from one end to the other will soon need ret_ahead, which is not here, and which browse_fetch brings. */
bool browse_wants_ahead(struct browse *browse, const struct browse_range *range, struct browse_range *ret_ahead);
/* Fetches what is not here, blobs that are neighbours in a pack with one request, and waits for it. */
WARN_UNUSED int browse_fetch(struct browse *browse, const struct browse_range *range);

#endif
