/*
 * Which versions of a key does anybody need? Internal to lib/reclaim.
 *
 * A visibility knows the lines of the living views of one family as of its making: heads, snapshots, and retired heads somebody still reads.
 * Its verdict "not needed" stays true: views made later copy lines of living ones and add epochs of their own, so they see nothing that
 * no living view sees. A visibility belongs to one thread.
 */
#ifndef CORPUSFS_RECLAIM_VISIBILITY_H
#define CORPUSFS_RECLAIM_VISIBILITY_H

#include "lib/store/catalog.h"

struct visibility {
	uint32_t family;
	struct line *lines;
	size_t count, cap;
	struct line all; /* their union */
};

/* Caller does not hold catalog_lock. */
struct visibility *visibility_new(struct store *store, uint32_t family);
void visibility_add(struct visibility *visibility, const struct line *line); /* one more view that counts */
void visibility_free(struct visibility *visibility);

struct seen_version {
	uint64_t epoch;
	bool tombstone;
	bool needed;
};

/* All versions of one key, the newest first; sets `needed`. Rule and proof: prune.c. */
void visibility_versions(const struct visibility *visibility, struct seen_version *versions, size_t count);

#endif
