/*
 * Scrub: reads everything that is stored before somebody needs it, and puts what is damaged into the damage list.
 *
 *   tables   every block of every table of metadata, by its checksum
 *   content  every chunk that an extent of any view names: whether it is there, its checksum, and the SHA-256 of its plain bytes; where a
 *            damaged table hides extents, every chunk that is stored
 *
 * All is read past the page cache, since that may hold what the disk has no more; so nobody loses pages that he reads, either. Records of less
 * than a kilobyte, which share blocks, are read as anybody reads them.
 *
 * It can be stopped at any time, and the next one goes on from there, over restarts too. At most one is at work in a store (-EBUSY). It needs
 * no lock of the collector: which chunks are needed is found by a walk of its own, and one that is missing counts as lost only if a second
 * walk, made later, finds it needed still. So neither waits for the other.
 *
 * The database of a store with damaged tables merges nothing by itself (lib/kv/damage.h); a scrub that finds nothing ends that, for tables of
 * content only where these have no damaged block any more.
 */
#ifndef CORPUSFS_VERIFY_SCRUB_H
#define CORPUSFS_VERIFY_SCRUB_H

#include "lib/verify/scrub_state.h"

struct scrub_progress {
	const char *phase;    /* "tables", "references", "content", "damage list", "done" */
	uint64_t done, total; /* chunks; total 0 = unknown */
	struct scrub_counts counts;
};

struct scrub_options {
	bool restart;  /* from the beginning, although one was begun */
	uint64_t rate; /* bytes a second; 0: as fast as the disk gives them when nobody else wants it */
	/* Called often, without locks; not 0 = stop with -ECANCELED. */
	int (*progress)(void *arg, const struct scrub_progress *progress);
	void *arg;
};

/* ret_counts: of the whole scrub, also what earlier parts of it found. On a read-only store nothing is remembered. */
WARN_UNUSED int scrub_run(struct store *store, const struct scrub_options *options, struct scrub_counts *ret_counts, struct error *err);

/* By the clock: 0 ends it. */
WARN_UNUSED int scrub_set_schedule(struct store *store, uint64_t every_seconds, struct error *err);
bool scrub_due(struct store *store, int64_t now); /* by schedule: one was begun and not ended, or the last is too old */

#endif
