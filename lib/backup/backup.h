/*
 * Backups: a snapshot of a dataset goes to a repository, where restic finds it as the snapshot of a directory "/DATASET". backup_info.h says
 * what else is kept, backup_base.h what the types are.
 *
 * A backup that is killed leaves the repository valid: its packs are named by index files or by nobody. The next one relies on those that are
 * named: an incremental one on all that is there, a full or differential one on what the last of its type put that was cut off (unfinished.h).
 * One that is cancelled names all that it put.
 */
#ifndef CORPUSFS_BACKUP_BACKUP_H
#define CORPUSFS_BACKUP_BACKUP_H

#include "lib/backup/backup_info.h"
#include "lib/repository/locks.h"
#include "lib/transfer/transfer.h"

struct backup_done {
	const char *name;     /* of the snapshot file */
	const char *identity; /* "": not known */
	uint64_t problems;    /* what could not be read is not in it */
	struct timespec taken;
	const struct writer_counts *counts;
	struct repository_lock *lock; /* that the backup was made under */
};

struct backup_options {
	struct transfer_options transfer;
	struct repository *repository; /* its index is loaded here */
	const char *place;             /* what messages call the repository */
	const char *dataset, *snapshot;
	enum backup_type type;
	bool share; /* a full one may rely on what the repository has; an incremental one that is the first becomes such a full one */
	bool fills_holes; /* with zeros, however many that are: mounts know nothing of descriptions (backup_entries.h) */
	bool dry_run; /* nothing is written, and nothing but the counts is known */
	bool is_new; /* the snapshot was just taken, to be the newest that is backed up */
	const char *tag; /* one more, or NULL */
	/* When the backup is there, under its lock; what it returns is the result. May be NULL. */
	int (*done)(void *arg, const struct backup_done *done, struct error *err);
	void *done_arg;
};

struct backup_result {
	char name[BLOB_ID_TEXT]; /* of the snapshot file */
	enum backup_type type;   /* that it is */
	char base[BLOB_ID_TEXT]; /* "": none */
	char identity[2 * 32 + 1]; /* "": the snapshot is damaged */
	char full_snapshot[NAME_LEN_MAX + 1]; /* what the full backup of its chain was made of, which may be itself; "": not known */
	char damaged[BLOB_ID_TEXT];  /* a snapshot file of the repository that is damaged; "": none */
	char misdated[BLOB_ID_TEXT]; /* by the times the newer one, though of an earlier snapshot: a clock was wrong; "": none */
	bool compared; /* what did not change was told by the store's own snapshot of the base */
	const char *doubt; /* why nothing was taken over from the base without a look; NULL: it was, or there is no base or no snapshot of it any more */
	struct writer_counts counts;
	struct transfer_counts transfer; /* files: looked at; skipped: taken over without a look */
};

WARN_UNUSED int backup_run(struct store *store, const struct backup_options *options, struct backup_result *ret_result, struct error *err);

/* "STORE/NUMBER", and the tag "dataset-id=STORE/NUMBER". Freed by the caller. */
char *backup_dataset_id(struct store *store, uint32_t dataset_id);
char *backup_dataset_tag(struct store *store, uint32_t dataset_id);

#endif
