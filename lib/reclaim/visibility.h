/*
 * Which versions of a record does anybody need? Internal to lib/reclaim.
 *
 * A visibility knows the living views of one family as of its making: heads, snapshots, and retired heads that somebody still reads. What it
 * says is not needed, is not needed later: views that are made later copy lines of living ones and add epochs of their own, so they see
 * nothing that no living view sees. A visibility belongs to one thread.
 *
 * Views are numbered in the order of the family's tree of epochs (lib/store/lineage.h), so that those which have a given epoch in their
 * line have the numbers of one range, and of two such ranges one contains the other, or they have nothing in common. So a look at a record
 * costs what its versions are, however many views there are.
 */
#ifndef CORPUSFS_RECLAIM_VISIBILITY_H
#define CORPUSFS_RECLAIM_VISIBILITY_H

#include "lib/store/catalog.h"

struct visibility;

/* The caller does not hold catalog_lock. */
struct visibility *visibility_new(struct store *store, uint32_t family);
void visibility_free(struct visibility *visibility); /* NULL is fine */
/* As of now. Costs little when no view has come or gone. */
void visibility_refresh(struct visibility *visibility);

uint32_t visibility_family(const struct visibility *visibility);
const struct line *visibility_epochs(const struct visibility *visibility); /* of all living views; none: no view lives */

struct seen_version {
	uint64_t epoch;
	bool tombstone;
	bool needed;
};

/* All versions of one record, the newest first; sets `needed`. Rule and proof: prune.c. */
void visibility_versions(struct visibility *visibility, struct seen_version *versions, size_t count);

/*
 * In which epochs to look for what a destroyed view with this line saw as the last: those that no living view has, and those that the nearest
 * living view has beyond what it has in common with the destroyed one. See prune.c.
 */
struct line visibility_scan(const struct visibility *visibility, const struct line *destroyed);

#endif
