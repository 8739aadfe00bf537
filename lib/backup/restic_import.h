/*
 * Import from a repository: what restic backed up, or a backup of ours, becomes a part of a dataset. All is as with other imports
 * (lib/transfer/import.h): what may come in, what is passed over, what is a problem. What of the repository is damaged ends it, as a damaged
 * archive does; what came before is complete. Of directories that are there, as of files, attributes are those of the backup and no others.
 */
#ifndef CORPUSFS_BACKUP_RESTIC_IMPORT_H
#define CORPUSFS_BACKUP_RESTIC_IMPORT_H

#include "lib/backup/restore.h"
#include "lib/transfer/import.h"

/*
 * restore: repository, place, backup, filter and path. import: where it goes, and how; its archive and descriptor are not used.
 * The result has the backup, whether it is incomplete, and what was counted.
 */
WARN_UNUSED int restic_import_run(struct store *store, const struct restore_options *restore, const struct import_options *import,
				  struct restore_result *ret_result, struct error *err);

#endif
