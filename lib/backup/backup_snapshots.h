/*
 * The snapshots that backups take themselves: "backup-TIME", held with the tag "backup:REPOSITORY". The last one stays,
 * and that of the last full backup, so that the next one is told what changed since. Threads: any.
 */
#ifndef CORPUSFS_BACKUP_BACKUP_SNAPSHOTS_H
#define CORPUSFS_BACKUP_BACKUP_SNAPSHOTS_H

#include "lib/store/snapshots.h"

/* Of all datasets in one instant, for a repository by its id. ret_name has NAME_LEN_MAX + 1 bytes; after a failure it is "", or what is to be dropped. */
WARN_UNUSED int backup_snapshots_take(struct store *store, const char *const *datasets, size_t count, const char *repository, char *ret_name,
				      struct error *err);
/* One that was taken for nothing: nothing was backed up. Errors do not matter: the next backup that succeeds lets go of it. */
void backup_snapshots_drop_one(struct store *store, const char *dataset, const char *repository, const char *name);
/*
 * The dataset's snapshots of this repository that are older than the last are destroyed, but for that of the full one ("": none), and for what others
 * hold or read: the next one gets those.
 */
WARN_UNUSED int backup_snapshots_drop(struct store *store, const char *dataset, const char *repository, const char *last, const char *full,
				      struct error *err);

#endif
