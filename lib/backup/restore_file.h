/*
 * One file of a backup in a plain directory: under another name until all of it is there.
 *
 * One restore_target for each thread. Errors of the target are returned; what of a file cannot be kept is a problem (transfer.h).
 */
#ifndef CORPUSFS_BACKUP_RESTORE_FILE_H
#define CORPUSFS_BACKUP_RESTORE_FILE_H

#include "lib/backup/restore_content.h"
#include "lib/chunk/digest_streams.h"
#include "lib/identity/content_watch.h"

/*
 * Names of files in the making: TEMPORARY, the restore's token, 16 digits, "-" and two digits of who makes it. A restore draws its token, so that it
 * meets neither what another one makes nor what one that was killed has left in a directory that was backed up since. The next one knows what is
 * left by the shape of its name.
 */
#define RESTORE_TEMPORARY ".corpusfs-restore-"
#define RESTORE_MAKERS_MAX 17

/* Files whose times the filesystem has not, since they are too early or too late for it. Any thread. */
#define RESTORE_CLAMPED_NAMES 3
struct restore_clamped {
	pthread_mutex_t lock; /* guards what follows */
	uint64_t count;
	struct buf names; /* of the first ones, as text */
};

struct restore_target {
	struct transfer *transfer;
	int top; /* the target; hard links are found from there */
	bool is_root;
	uint64_t token;  /* of the restore */
	unsigned number; /* of the maker, below RESTORE_MAKERS_MAX */
	struct restore_reader reader;
	struct direct_file *direct; /* for big files, used again; NULL before the first one. direct_file_free */
	struct error damage; /* out: why the content cannot be had. -EBADMSG: a part of it is damaged or missing; others are of the place, for all files */
	struct restore_clamped *clamped; /* out, of all so far */
	bool cuts_modes; /* out, of all so far: something was kept without its set-id bits */
	struct digest *digest; /* of contents, if they are wanted; else NULL */
	struct digest_streams *streams; /* the same, of short files, side by side */
	struct restore_seen {
		bool is_known;
		uint8_t digest[DIGEST_LEN]; /* as lib/identity/identity.h has it; there after restore_target_hash */
	} *seen; /* out: of a regular file that was made or was there, if it is wanted. The caller's, another one for each file */
};

/* The contents of all files that were made so far. */
void restore_target_hash(struct restore_target *target);

/* What is to be made, or `hardlink`: the path of its first name from the target on. `path` is for messages. */
struct restore_file {
	int dir;
	const char *name, *path, *hardlink;
	bool sync; /* it is on the disk before it has its name */
	const struct node *node;
	const struct holes *holes;
};

/*
 * 1: its content cannot be had from the repository (target->damage), and it was not made. -ESTALE: nor was it since somebody else has put
 * something in its place meanwhile.
 */
WARN_UNUSED int restore_file_make(struct restore_target *target, const struct restore_file *file);

/* Removes what a restore that was killed has left in the directory. */
void restore_remove_temporaries(int dir);

#endif
