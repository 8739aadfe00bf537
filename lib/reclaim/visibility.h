/*
 * Which versions of a record are needed? Internal to lib/reclaim.
 *
 * A visibility knows the views of one family that live when it is made: heads, snapshots, and retired heads that somebody still reads. A version
 * that it calls not needed will never be needed: a view that is made later copies the line of a living one and adds epochs of its own, so it
 * sees nothing that no living view sees. A visibility belongs to one thread.
 *
 * Views are numbered in the order of the family's tree of epochs (lib/store/lineage.h). So the views that have a given epoch in their line are a
 * range of numbers, and of two such ranges either one contains the other or they are apart. A look at a record costs as much as it has
 * versions, however many views there are.
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
