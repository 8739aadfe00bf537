/* What the parts of a restore share. Internal to lib/history; restore.c uses the others. */
#ifndef CORPUSFS_HISTORY_RESTORE_PARTS_H
#define CORPUSFS_HISTORY_RESTORE_PARTS_H

#include <uthash.h>

#include "lib/base/array.h"
#include "lib/history/restore.h"

/* An inode of the snapshot that was made anew: its further names become links. */
struct copied {
	uint64_t source, made;
	UT_hash_handle hh;
};

/* To make: what `source` is, under a name in a directory that is there already. */
struct task {
	uint64_t source, dir;
	char *name;
	const char *only; /* of a directory above the path: the rest of the path, the only thing to be made in it */
};

/* Directories get their times when all is in them. */
struct dir_times {
	uint64_t made;
	struct timespec atime, mtime;
};

struct restore {
	struct store *store;
	struct view *head, *snapshot;
	bool (*cancelled)(void *arg);
	void *arg;
	struct restore_result result;
	struct copied *copied; /* uthash by source */
	ARRAY(struct task) tasks;
	ARRAY(struct dir_times) dirs;
};

/* --- restore_remove.c --- */
/* The name, and all that is below it; also when there is nothing. */
WARN_UNUSED int restore_remove(struct restore *restore, uint64_t dir, const char *name);
/* What runs that were killed left in the directory. */
WARN_UNUSED int restore_remove_leftovers(struct restore *restore, uint64_t dir);

/* --- restore_make.c --- */
void restore_add_task(struct restore *restore, uint64_t source, uint64_t dir, const char *name, const char *only);
/* All tasks, and those that they lead to. */
WARN_UNUSED int restore_perform(struct restore *restore);

#endif
