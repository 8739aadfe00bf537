/*
 * Whether the description of a backup (backup_info.h) is one that a restore can go by: it can be read, is of a form that we know, says the identity that the
 * tags say, and what it says of a file can be so: holes lie in the file, one behind the other, and times are times.
 *
 * Of directories of which it says something, the lists are read once more. One thread.
 */
#ifndef CORPUSFS_BACKUP_VERIFY_DESCRIPTION_H
#define CORPUSFS_BACKUP_VERIFY_DESCRIPTION_H

#include "lib/repository/blob_set.h"
#include "lib/repository/node.h"
#include "lib/repository/snapshot_file.h"

struct verify_description {
	struct repository_reader *reader;
	void (*problem)(void *arg, const char *path, int code, const char *text); /* path: in the backup */
	void *arg;
	struct blob_set seen; /* directories with what is said of them, in which nothing is wrong; the caller's to clear */
};

/*
 * Whether the description says why the content of a file is shorter than the file: it has no zeros for holes, of which there are too many. `path`: in the
 * backup.
 */
bool verify_description_explains(struct repository_reader *reader, const struct blob_index *index, const struct snapshot_file *snapshot, const char *path,
				 const struct node *file);

/* That of one backup. Returns 0, or what ails the place or its disk. */
WARN_UNUSED int verify_description_of(struct verify_description *verify, const struct snapshot_file *snapshot);

#endif
