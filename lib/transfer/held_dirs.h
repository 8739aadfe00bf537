/*
 * The directories that a walk has made or opened in a target, from the top down to where it is. One thread, the walk, goes down and up; others
 * hold those in which they make something.
 *
 *   held_dirs_init -> held_dirs_push, held_dirs_pop -> held_dirs_clear      held_dir_hold -> held_dir_let_go
 *
 * However deep the walk goes, few are open: one that lies far above it is closed when only the walk holds it. On its way up the walk opens it
 * again as ".." of the one that it leaves, and makes sure that it is the same one. So nothing is ever opened by its path.
 */
#ifndef CORPUSFS_TRANSFER_HELD_DIRS_H
#define CORPUSFS_TRANSFER_HELD_DIRS_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "lib/base/array.h"
#include "lib/base/clean.h"

/* The first member of what its owner knows of the directory. */
struct held_dir {
	int fd; /* open for whoever holds it; -1: the walk was stopped */

	/* The rest is held_dirs.c's. */
	dev_t dev;
	ino_t ino;
	unsigned holders; /* held_dirs.lock; the walk is one while it is in it or below */
	bool is_far;      /* likewise */
};

struct held_dirs {
	pthread_mutex_t lock;           /* guards holders and is_far of all directories, and fd of far ones */
	ARRAY(struct held_dir *) stack; /* the walk's */
};

void held_dirs_init(struct held_dirs *dirs);
void held_dirs_clear(struct held_dirs *dirs); /* all were left */

/* The walk's. `dir` is the caller's memory, and the descriptor what is closed with it; st: of the descriptor. The walk holds it. */
void held_dirs_push(struct held_dirs *dirs, struct held_dir *dir, int fd, const struct stat *st);
struct held_dir *held_dirs_top(const struct held_dirs *dirs);
struct held_dir *held_dirs_current(const struct held_dirs *dirs);
/* Takes off the last one, which the walk still holds. reopen: the one above is open afterwards; -ESTALE: it lies elsewhere now; -errno. */
WARN_UNUSED int held_dirs_pop(struct held_dirs *dirs, bool reopen, struct held_dir **ret_dir);

/* Any thread. True: nobody holds it any more, and the caller ends it. */
void held_dir_hold(struct held_dirs *dirs, struct held_dir *dir);
WARN_UNUSED bool held_dir_let_go(struct held_dirs *dirs, struct held_dir *dir);

#endif
