/*
 * Others' locks of a repository (locks.h), as they stand there: who holds them, and whether he still does.
 *
 * A lock never changes: who renews one puts another object. Threads: any.
 */
#ifndef CORPUSFS_REPOSITORY_LOCK_HOLDER_H
#define CORPUSFS_REPOSITORY_LOCK_HOLDER_H

#include "lib/repository/repository.h"

/* What process_json.h has in a lock and restic has not. */
#define LOCK_BEFORE "corpusfs_"
#define LOCK_RENEWED_S (6 * 60) /* who lives has renewed its lock by then */

struct lock_holder {
	char name[BLOB_ID_TEXT];
	bool exclusive, is_stale;
	bool is_aged; /* stale by its age alone: the clock may be wrong */
	char text[512]; /* "by root on host, process 12, 3 minutes ago" */
	bool is_elsewhere; /* or may be: whether its process lives is not known */
};

/*
 * -ENOENT; -EBADMSG: it is damaged. An empty one is none: it was left by who died while he put it, as some places let it (restic passes over it, too). One
 * that is still being put has been waited for; where that takes longer, its holder sees ours when it is there.
 */
WARN_UNUSED int lock_holder_read(struct repository *repository, const char *name, struct lock_holder *holder, struct error *err);

/*
 * Reads those of these names, several at once, and gives them in order; what `each` returns, if not 0, ends that. One that went away is passed over, if
 * `lenient` also one that cannot be read.
 */
typedef int (*lock_holder_fn)(void *arg, const struct lock_holder *holder);
WARN_UNUSED int lock_holders_each(struct repository *repository, const struct object_names *names, bool lenient, lock_holder_fn each, void *arg,
				  struct error *err);

#endif
