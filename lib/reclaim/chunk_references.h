/* Who keeps a chunk alive. It walks the whole store: for people who ask why space does not come back. Any thread. */
#ifndef CORPUSFS_RECLAIM_CHUNK_REFERENCES_H
#define CORPUSFS_RECLAIM_CHUNK_REFERENCES_H

#include "lib/store/store.h"

/* A file that has the chunk at `offset`. snapshot "": in the head; path "": a file that has no name any more and is open. */
typedef int (*chunk_reference_fn)(void *arg, const char *dataset, const char *snapshot, const char *path, uint64_t offset);

/* Calls back for at most `limit` references; stops when the callback returns not 0, and returns that. -ENOENT: there is no such chunk. */
WARN_UNUSED int chunk_references_find(struct store *store, uint64_t chunk, size_t limit, chunk_reference_fn each, void *arg,
				      struct error *err);

#endif
