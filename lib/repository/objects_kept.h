/*
 * A store of objects with copies of its small ones on a local disk: keys, the config, snapshots, index files and heads. With them, a repository is
 * opened and looked at while its place is away, and what was read once is not fetched again. Packs and locks go through to the place; pieces of
 * packs that were read are kept elsewhere (lib/browse/disk_cache.h).
 *
 *   key, snapshot, index file   named by their SHA-256: the copy is used if it has that, else fetched anew
 *   config, head                the copy is used while the place is away only, for nothing says what it should be
 *   lists                       are the place's, and copies of what it does not have any more are removed; while it is away, what there are copies of,
 *                               but for heads that are in etcd (objects_etcd_decides)
 *
 * Where the copies' disk is full, there are none.
 *
 * The place need not be there at first: it is tried again when something is wanted of it. Who wants a piece of a pack waits for it as long as
 * `patience_ms`; all else is answered from what is here, for AWAY_MS after each failure without asking again. A lock cannot be had meanwhile: -EROFS,
 * as of a place that cannot be written to.
 */
#ifndef CORPUSFS_REPOSITORY_OBJECTS_KEPT_H
#define CORPUSFS_REPOSITORY_OBJECTS_KEPT_H

#include "lib/repository/objects.h"

struct objects_kept_options {
	struct objects *place; /* taken over; NULL: it is away */
	struct objects *copies; /* a directory with the folders of objects_kept_folders; taken over */
	int (*open)(void *arg, struct objects **ret_place); /* tries to open the place; one thread at a time */
	void *arg;
	uint64_t patience_ms;
};

struct objects *objects_kept_open(const struct objects_kept_options *options);
/* Another process may use the copies from then on: none is made or removed any more. NULL is fine. */
void objects_kept_stop(struct objects *objects);

/* Makes the folders of copies in a directory. */
WARN_UNUSED int objects_kept_folders(int dir);

#endif
