/*
 * What datasets and snapshots take up, and what destroying some would free.
 *
 * Every version of every extent is looked at once. Which views see it, and which extents name a chunk, gives for each chunk the set of
 * views that need it; all numbers are sums over these sets. A chunk may be needed by datasets of other families, too: the whole store is
 * looked at, always. Bytes of metadata are not counted.
 *
 * Stored sizes stand in the headers of chunks, next to their bytes, so reading all would mean reading the store: of each set at most
 * USAGE_SAMPLES chunks are looked at, and the others taken to compress alike; `estimated` says so.
 */
#ifndef CORPUSFS_HISTORY_USAGE_H
#define CORPUSFS_HISTORY_USAGE_H

#include "lib/store/store.h"

#define USAGE_SAMPLES 1024

struct usage {
	const char *dataset, *snapshot; /* snapshot NULL: the head */
	struct timespec taken; /* zeros for a head */
	uint64_t files;       /* inodes of regular files */
	uint64_t logical;     /* sum of their sizes */
	uint64_t stored;      /* bytes on disk that it refers to, each counted once */
	uint64_t unique;      /* of these, what nobody else refers to: freed by destroying it alone */
	uint64_t cumulative;  /* freed by destroying it with all older snapshots of its dataset; 0 for a head */
	bool estimated;
};

struct usage_options {
	bool exact;                   /* read every chunk's header */
	const char *dataset;          /* NULL: all */
	const char *first, *last;     /* of a range of snapshots of `dataset`, in the order of taking; NULL: none is asked for */
	bool (*cancelled)(void *arg); /* may be NULL */
	void *arg;
};

/*
 * Heads and snapshots by dataset name, the head last. ret_freed: by destroying the range. -ENOENT, -EINVAL (the range is the wrong way
 * round), -ECANCELED. Stops when the callback returns not 0, and returns that. Any thread.
 */
WARN_UNUSED int usage_compute(struct store *store, const struct usage_options *options, int (*each)(void *arg, const struct usage *usage),
			      void *arg, uint64_t *ret_freed, struct error *err);

#endif
