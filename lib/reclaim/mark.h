/* The mark: one walk over all extents of all versions (GC1 in gc.c). Internal to lib/reclaim. */
#ifndef CORPUSFS_RECLAIM_MARK_H
#define CORPUSFS_RECLAIM_MARK_H

#include "lib/reclaim/parts.h"
#include "lib/store/catalog.h"

struct mark {
	struct store *store;
	bool is_dry_run;       /* only what will be left once everything is pruned is marked */
	struct chunk_set *set; /* of chunks_mark_begin: gets all chunks that are named */
	struct parts *parts;   /* and in what parts */
	uint64_t versions;     /* so many were met, without the content of small files */
	uint64_t unneeded;     /* so many of them are to be pruned; counted in a dry run */
	int (*step)(void *arg, uint64_t versions); /* now and then, without locks; not 0 stops with that result */
	void *arg;
};

WARN_UNUSED int mark_all(struct mark *mark);

#endif
