/*
 * Whether the description of a backup (backup_info.h) is one that a restore can go by: it can be read, is of a form that we know, says the identity that the
 * tags say, and what it says of a file can be so: holes lie in the file, one behind the other, and times are times.
 *
 * Of directories of which it says something, the lists are read once more. One thread.
 *
 *   verify_description_open -> verify_description_explains, verify_description_look ... -> verify_description_close
 */
#ifndef CORPUSFS_BACKUP_VERIFY_DESCRIPTION_H
#define CORPUSFS_BACKUP_VERIFY_DESCRIPTION_H

#include "lib/backup/backup_entries.h"
#include "lib/repository/blob_set.h"
#include "lib/repository/node.h"
#include "lib/repository/snapshot_file.h"

struct verify_description {
	struct repository_reader *reader;
	const struct snapshot_file *snapshot;
	struct blob_set *seen; /* directories with what is said of them, in which nothing is wrong; of all backups */
	/* As it was read: */
	int code; /* why it could not be */
	json_t *info; /* NULL: there is none */
	struct entry_paths exact;
};

/* Reads that of one backup. Returns 0, also where it is missing or damaged, or what ails the place or its disk. To be closed in either case. */
WARN_UNUSED int verify_description_open(struct repository_reader *reader, const struct snapshot_file *snapshot, struct blob_set *seen,
					struct verify_description *ret_description);
void verify_description_close(struct verify_description *description);

/*
 * Whether it says why the content of a file is shorter than the file: it has no zeros for holes, of which there are too many. `path`: in the backup.
 */
bool verify_description_explains(const struct verify_description *description, const struct blob_index *index, const char *path, const struct node *file);

/* Tells what is wrong with it, each with a path in the backup. Returns 0, or what ails the place or its disk. */
typedef void (*verify_description_fn)(void *arg, const char *path, int code, const char *text);
WARN_UNUSED int verify_description_look(const struct verify_description *description, verify_description_fn problem, void *arg);

#endif
