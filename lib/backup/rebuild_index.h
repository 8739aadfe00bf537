/*
 * The index of a repository, made anew of what the packs themselves say, and of a pack that cannot say it what the old index said. For one whose index
 * files are lost or damaged.
 *
 * Time follows the number of packs and of blobs. Memory: the names of the packs (32 bytes each), one index file in the making (50,000 blobs, 12 MB),
 * one of the old ones, and only if a pack's header is damaged, the old index (BLOB_INDEX_BYTES for each blob).
 *
 * The new index never knows less than the old one because something is not there now, as where a disk is not mounted: it is not made where a folder of
 * packs is missing, or a pack that an old index file names; and the old index files go when the new ones are there. With `drop_missing`, what is missing
 * is lost for good: the new index does not name it, and it is told.
 */
#ifndef CORPUSFS_BACKUP_REBUILD_INDEX_H
#define CORPUSFS_BACKUP_REBUILD_INDEX_H

#include "lib/repository/repository.h"
#include "lib/transfer/transfer.h"

struct rebuild_counts {
	uint64_t packs, blobs, problems; /* problems: packs whose header is damaged, which stay, and packs that are gone */
};

struct rebuild_options {
	struct transfer_options transfer; /* progress, and problems */
	struct repository *repository;
	bool drop_missing;
};

/* Under an exclusive lock. -ENOENT: something is missing. */
WARN_UNUSED int rebuild_index_run(const struct rebuild_options *options, struct rebuild_counts *ret_counts, struct error *err);

#endif
