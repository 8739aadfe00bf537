/*
 * Looking for wanted pieces in what lies outside of every store: a directory, one file, an archive, a repository of backups. Names and places in
 * it do not matter, only bytes do. It needs no store, and is done where the rights and the memory are the caller's: foreign archives and repositories
 * are parsed there. Any thread, one at a time for one `wanted`.
 */
#ifndef CORPUSFS_VERIFY_REPAIR_LOOK_H
#define CORPUSFS_VERIFY_REPAIR_LOOK_H

#include "lib/base/impersonate.h"
#include "lib/chunk/wanted.h"
#include "lib/repository/repository.h"

/* Where a piece that is wanted stands in a file that is hurt. What was written with pauses is not cut there as a copy of it would be. */
struct repair_place {
	const char *name; /* the file's, without its directory */
	uint64_t offset;
	uint32_t length;
};

struct repair_look {
	struct wanted *wanted;
	const struct repair_place *places; /* in the order of names (strcmp); tried in files of that name, and in others that are not too small for it */
	size_t place_count;
	const char *name; /* of a source that is one file; or NULL */
	bool blobs_only;  /* of a repository: files of backups are not read, which restic cuts its own way */
	int (*progress)(void *arg, uint64_t files, uint64_t bytes); /* called often; not 0: stop with -ECANCELED */
	void *arg;
	/* How far it is. */
	uint64_t files, bytes; /* looked at */
	uint64_t unread;       /* files and directories that could not be read */
	struct error problem;  /* code 0: none; else why not all of it could be looked at */
};

/*
 * In all files below a directory; or in one file, by itself and, if it is an archive, in its members. Of a pipe only an archive's members. `keep`: a
 * directory for what must be read twice.
 */
WARN_UNUSED int repair_look_outside(struct repair_look *look, int source, int keep, const struct impersonate *who);

/* First by the names of blobs, then in the files of the backup (NULL: of all backups, the newest first). The index is loaded here. */
WARN_UNUSED int repair_look_backups(struct repair_look *look, struct repository *repository, const char *backup, struct error *err);

/* What the two share: the content of the member that was found last. Internal to lib/verify. */
struct archive_in;
WARN_UNUSED int repair_look_member(struct repair_look *look, struct archive_in *archive);

#endif
