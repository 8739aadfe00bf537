/*
 * Pruning: what no snapshot of a repository names gives its room back. prune.c says in which order, and why a crash at any step loses nothing.
 */
#ifndef CORPUSFS_BACKUP_PRUNE_H
#define CORPUSFS_BACKUP_PRUNE_H

#include "lib/repository/locks.h"
#include "lib/repository/snapshot_file.h"
#include "lib/transfer/transfer.h"

struct prune_options {
	struct transfer_options transfer; /* progress only */
	struct repository *repository;
	struct repository_lock *lock; /* exclusive; the caller's */
	bool dry_run;
	const struct object_names *forget; /* snapshot files, sorted, that go, too, when nothing but removing is left to do; NULL: none */
	unsigned max_unused; /* percent of a pack that may be unused before it is written anew */
};

struct prune_counts {
	uint64_t packs, packs_removed, packs_rewritten;
	uint64_t bytes, bytes_freed; /* of packs, at the beginning; freed: about, if it is a dry run */
	bool no_room; /* not all that could be written anew was, for there was no room: more can go the next time */
	uint64_t needed; /* where there was no room, also if the prune failed: with so many bytes more can go */
	uint64_t forgotten;          /* so many, the first ones, went, also if the prune failed after that */
	struct objects_left left;    /* what writers that died had begun, and what of it went */
};

/* -ENOSPC: there is no room to free anything; -EBADMSG: a backup that is there is damaged, so that nothing can be known to be unused. */
WARN_UNUSED int prune_run(const struct prune_options *options, struct prune_counts *ret_counts, struct error *err);

#endif
