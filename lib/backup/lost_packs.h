/*
 * Packs that the repository's index names and that are not there, or are shorter than it says: nobody may rely on what it says of them. All packs are
 * listed for that, with one question for each 1,000 of a server. Memory: 40 bytes for each pack. Any thread.
 */
#ifndef CORPUSFS_BACKUP_LOST_PACKS_H
#define CORPUSFS_BACKUP_LOST_PACKS_H

#include "lib/repository/repository.h"

/* After its index was loaded: what came since is no matter then. Sorted; the caller's to clear, also when it fails. */
WARN_UNUSED int lost_packs_find(struct repository *repository, struct object_names *ret_lost, struct error *err);

#endif
