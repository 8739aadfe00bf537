/*
 * A drill: backups are restored as after the loss of everything, into a new store in scratch space, which goes again. Every byte is checked by its
 * SHA-256, and the identity of what came back is compared. How long it took is how long it will take.
 *
 * Where there is no such room: the same into memory, by streaming (restore_to_memory). Nothing is written then.
 */
#ifndef CORPUSFS_BACKUP_DRILL_H
#define CORPUSFS_BACKUP_DRILL_H

#include "lib/backup/restore.h"

struct drill_options {
	struct transfer_options transfer;
	struct repository *repository;
	const char *place;   /* what messages call the repository */
	const char *backup;  /* as backup_find has it; NULL: the newest one and one at random */
	const char *dataset_id; /* without `backup`: only complete backups of this dataset, STORE/NUMBER, whatever its name was; NULL: any */
	const char *scratch; /* a directory with room for what is restored; NULL: into memory */
};

struct drill_result {
	const char *dataset, *dataset_id; /* dataset_id NULL: restic made it */
	struct timespec taken; /* when the backup was made */
	struct restore_result restore;
	double seconds;
};

/* Tells each backup that came back; stops at the first that does not. -EILSEQ: another identity. */
WARN_UNUSED int drill_run(const struct drill_options *options, int (*each)(void *arg, const struct drill_result *result), void *arg,
			  struct error *err);

#endif
