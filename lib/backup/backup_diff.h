/*
 * What differs between two backups of one repository, whoever made them. A directory whose blob is the same in both holds the same and is not
 * read, so it costs what differs. Files whose blobs differ are the same if their bytes are: another program cuts them elsewhere.
 *
 * Told in the order of paths, removed and added directories with all that is in them. A renamed file is removed and added. What turned into
 * another type is removed and added, too. A directory's time counts only while nothing below it differs; access and change times never do.
 *
 * One thread. Memory: the lists of the directories above the one that is compared.
 */
#ifndef CORPUSFS_BACKUP_BACKUP_DIFF_H
#define CORPUSFS_BACKUP_BACKUP_DIFF_H

#include "lib/backup/backup_info.h"

enum backup_change_kind { BACKUP_ADDED, BACKUP_REMOVED, BACKUP_MODIFIED, BACKUP_METADATA };

struct backup_change {
	enum backup_change_kind kind;
	const char *path; /* in what was backed up */
	const struct node *a, *b; /* NULL where absent */
	bool content_changed;
};

struct backup_diff_options {
	struct repository *repository; /* with its index */
	const struct snapshot_file *a, *b;
	const char *path; /* only what is at or below it, relative to what was backed up; "" all */
	bool (*cancelled)(void *arg); /* asked for each file and directory */
	/* What it returns, if not 0, ends it and is returned. */
	int (*each)(void *arg, const struct backup_change *change);
	void *arg;
};

/* -ENOENT: neither has the path; -EBADMSG: the repository is damaged, with a text that says where; -ECANCELED. */
WARN_UNUSED int backup_diff(const struct backup_diff_options *options, struct error *err);

#endif
