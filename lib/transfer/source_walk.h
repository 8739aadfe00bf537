/*
 * From directory to directory of a source, depth first, however deep it is: with a few descriptors and without recursion.
 *
 *   source_walk_new -> (source_walk_next, source_walk_below...)... -> source_walk_free
 *
 * A directory is entered by its name from the one above, without following links, and is left through its "..", which must be the one that
 * it was entered from: so nothing outside is read, whoever changes the tree meanwhile.
 *
 * One thread at a time; a directory may be given to other threads by source_dir_ref.
 */
#ifndef CORPUSFS_TRANSFER_SOURCE_WALK_H
#define CORPUSFS_TRANSFER_SOURCE_WALK_H

#include <dirent.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "lib/base/array.h"
#include "lib/base/impersonate.h"
#include "lib/transfer/trail.h"

/* Open until the last reference is gone. */
struct source_dir {
	atomic_uint refs;
	int fd;
	struct stat st;
	dev_t dev_above;
	struct trail *trail; /* NULL: the top */
	uint64_t ino_above;  /* what source_walk_set said of the directory above */
	bool existed_above;
	/* The walker's user's. */
	uint64_t ino;
	bool existed;
};
struct source_dir *source_dir_ref(struct source_dir *dir);
void source_dir_put(struct source_dir *dir);
/* What is in it, opened with the rights of `who`. NULL: errno says why. */
DIR *source_dir_entries(const struct source_dir *dir, const struct impersonate *who);

struct source_walk;
/* fd stays the caller's. All is done with the rights of `who`. */
struct source_walk *source_walk_new(int fd, const struct impersonate *who);
void source_walk_free(struct source_walk *walk);

/* 1: the next directory; it is the walk's until the next call. 0: there are no more. Negative: one that could not be entered, see below. */
WARN_UNUSED int source_walk_next(struct source_walk *walk, struct source_dir **ret_dir);
/* Also this directory, which is in the one that came last. */
void source_walk_below(struct source_walk *walk, const char *name);
/* Remembers, for those below, what the user has set in the directory that came last. */
void source_walk_set(struct source_walk *walk, uint64_t ino, bool existed);
/* After a failure: where it was. The name is good until the next call. */
const char *source_walk_failed(const struct source_walk *walk, struct trail **ret_trail);

#endif
