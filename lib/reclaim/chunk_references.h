/*
 * Who keeps chunks alive: the files in all datasets and snapshots that have them. It walks the whole store twice, however many chunks are asked
 * for: for people who ask why space does not come back, or what damage has hurt. Any thread.
 */
#ifndef CORPUSFS_RECLAIM_CHUNK_REFERENCES_H
#define CORPUSFS_RECLAIM_CHUNK_REFERENCES_H

#include "lib/store/store.h"

/* A file has the chunk. snapshot "": in the head; path "": a file that has no name any more and is open. */
struct chunk_reference {
	const char *dataset, *snapshot, *path;
	uint64_t offset, length; /* in the file */
	uint64_t chunk;
};
typedef int (*chunk_reference_fn)(void *arg, const struct chunk_reference *reference);

/*
 * Calls back for at most `limit` references to the chunks, whose ids ascend; stops when the callback returns not 0, and returns that. The
 * references of one file in one view come one after the other, by offset. *ret_all (or NULL): there are no more of them.
 */
WARN_UNUSED int chunk_references_find(struct store *store, const uint64_t *chunks, size_t count, size_t limit, chunk_reference_fn each, void *arg,
				      bool *ret_all, struct error *err);

#endif
