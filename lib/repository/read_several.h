/*
 * Reads objects of a repository several at once, since it may have thousands of them and be far away, and gives them in the order of their
 * names: lock_holder.h, snapshot_file.h, repository.c.
 */
#ifndef CORPUSFS_REPOSITORY_READ_SEVERAL_H
#define CORPUSFS_REPOSITORY_READ_SEVERAL_H

#include "lib/repository/repository.h"

#define READ_SEVERAL 256 /* slots */

struct read_several {
	/* Any thread: reads one into a slot of the caller's. */
	int (*read)(void *arg, size_t slot, const char *name, struct error *err);
	/*
	 * The thread that called: takes what is in the slot, or what failed. What it returns, if not 0, ends the reading, and a failure that it returns is
	 * told as read() told it. Those that had been read by then come, too, with `is_over`: what it returns for them counts for nothing.
	 */
	int (*take)(void *arg, size_t slot, int result, bool is_over);
	void *arg;
	size_t at_once; /* READ_SEVERAL at most, and that many if it is 0; fewer of what is large, as all of them are in memory */
};

WARN_UNUSED int read_several(const struct object_names *names, const struct read_several *how, struct error *err);

#endif
