/*
 * The index of a repository, made anew of what the packs themselves say, and of a pack that cannot say it what the old index said. For one whose index
 * files are lost or damaged.
 *
 * Time follows the number of packs and of blobs. Memory: the names of the packs (32 bytes each), one index file in the making (50,000 blobs, 12 MB),
 * one of the old ones, and only if a pack's header is damaged, the old index (BLOB_INDEX_BYTES for each blob).
 *
 * What an old index file names and is not there any more, the new ones do not name, and it is told: what was in it is lost, unless somebody has it and
 * writes it again.
 */
#ifndef CORPUSFS_BACKUP_REBUILD_INDEX_H
#define CORPUSFS_BACKUP_REBUILD_INDEX_H

#include "lib/repository/repository.h"
#include "lib/transfer/transfer.h"

struct rebuild_counts {
	uint64_t packs, blobs, problems; /* problems: packs whose header is damaged; they stay; and packs that are gone */
};

/* Under an exclusive lock. The new index is there before the old one goes. */
WARN_UNUSED int rebuild_index_run(struct repository *repository, const struct transfer_options *options, struct rebuild_counts *ret_counts,
				  struct error *err);

#endif
