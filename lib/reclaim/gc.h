/*
 * The collector removes what nothing needs any more, in small steps that can be resumed: first versions that no view sees (prune), then chunks
 * that no version refers to (collect). In the end the files that hold many dead records are written anew, which gives their room back. At
 * most one runs at a time (-EBUSY). The rule stands at the head of gc.c.
 */
#ifndef CORPUSFS_RECLAIM_GC_H
#define CORPUSFS_RECLAIM_GC_H

#include "lib/store/store.h"

struct gc_progress {
	const char *phase; /* "prune", "mark", "sweep", "repack", "compact", "done" */
	uint64_t done, total; /* of this phase; total 0 = unknown */
	uint64_t versions, chunks, bytes; /* removed so far (or would be, in a dry run) */
	bool no_room; /* some of their room cannot be given back on so full a disk: gc_wanted stays true */
};

struct gc_options {
	bool dry_run;
	bool prune_only;
	/* Called often, without locks; not 0 = stop with -ECANCELED. The background collector sleeps in it when the mount is busy. */
	int (*progress)(void *arg, const struct gc_progress *progress);
	void *arg;
};

WARN_UNUSED int gc_run(struct store *store, const struct gc_options *options, struct gc_progress *ret_result, struct error *err);

/* Whether there is something to prune or a sweep is due (much was destroyed since the last). */
bool gc_wanted(struct store *store);
/* Content that was dropped since the last sweep, which a sweep gives back, about: see lib/tree/records/dropped.h. */
uint64_t gc_dropped_bytes(struct store *store);

#endif
