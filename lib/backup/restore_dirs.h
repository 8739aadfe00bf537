/*
 * The directories that a backup is restored into. One thread, the walk, goes down and up; others make files in them.
 *
 *   restore_dirs_init -> restore_dirs_begin -> (restore_dirs_go_to, restore_dirs_enter)... -> restore_dirs_leave_all -> restore_dirs_clear
 *   restore_dir_hold -> (somebody makes a file in it) -> restore_dir_let_go
 *
 * Each is a descriptor, and nothing is reached by its path. Those who hold one are the walk, while it is in there or below, and each file that is
 * not made; the last one gives the directory its owner, mode, extended attributes and times, and closes it. Until then it is its maker's alone
 * (0700, without a default ACL that files would inherit).
 * Few are open, however deep the backup is (held_dirs.h).
 */
#ifndef CORPUSFS_BACKUP_RESTORE_DIRS_H
#define CORPUSFS_BACKUP_RESTORE_DIRS_H

#include "lib/backup/restore.h"
#include "lib/backup/restore_file.h"
#include "lib/transfer/held_dirs.h"
#include "lib/transfer/target_sync.h"
#include "lib/transfer/trail.h"

struct restore_dir {
	struct held_dir held; /* comes first */
	bool by_file; /* what is made in it is synced one by one, and so is it */

	/* The rest is restore_dirs.c's. */
	struct trail *trail; /* its name, for messages; NULL: the target */
	size_t path_len;     /* of its path from the target on, with which the walk's begins */
	bool has_node;
	struct node node; /* its attributes, when it has_node */
};

struct restore_dirs {
	const struct restore_options *options;
	struct transfer *transfer;
	struct held_dirs dirs; /* from the target to where the walk is */
	/* Of the walk: */
	struct target_sync sync;
	struct buf path; /* of the last one */
};

void restore_dirs_init(struct restore_dirs *dirs, const struct restore_options *options, struct transfer *transfer);
void restore_dirs_clear(struct restore_dirs *dirs);

/* The walk's. `target` is what it makes files with. */
WARN_UNUSED int restore_dirs_begin(struct restore_dirs *dirs); /* at the top, which is the target */
void restore_dirs_describe_top(struct restore_dirs *dirs, struct node *node); /* the target is a directory of the backup, too. Takes what is in the node */
/* Leaves directories until the path lies in the last one. Returns its name there. NULL: its directory could not be made. */
const char *restore_dirs_go_to(struct restore_dirs *dirs, struct restore_target *target, const char *path);
WARN_UNUSED int restore_dirs_enter(struct restore_dirs *dirs, const char *name, struct node *node); /* made if it is not there. Takes what is in the node */
struct restore_dir *restore_dirs_current(struct restore_dirs *dirs);
void restore_dirs_leave_all(struct restore_dirs *dirs, struct restore_target *target);

/* Any thread. */
void restore_dir_hold(struct restore_dirs *dirs, struct restore_dir *dir);
void restore_dir_let_go(struct restore_dirs *dirs, struct restore_target *target, struct restore_dir *dir);
/* What became of a file or a directory; r as of restore_file_make. */
void restore_dirs_report(struct restore_dirs *dirs, struct restore_target *target, const char *path, int r);

#endif
