/*
 * All stored versions of records, whether a view sees them or not. Who counts what is stored needs them, and so does the collector, which
 * removes versions and drops whole families.
 *
 * A walk goes in key order and sees the database as it was when the walk was made. The versions of one record follow each other, the newest
 * first. A walk belongs to one thread. -EBADMSG: a key cannot be understood.
 */
#ifndef CORPUSFS_TREE_RECORDS_ALL_VERSIONS_H
#define CORPUSFS_TREE_RECORDS_ALL_VERSIONS_H

#include "lib/tree/records/view.h"

struct all_versions;

struct stored_version {
	struct tree_key_parts parts;
	const struct tree_key *stem; /* of its key */
	bool is_newest;              /* the first of its record that the walk meets */
	const uint8_t *value;
	size_t len; /* 0: a tombstone */
};

/* Of the whole store: all but the content of small files, and that alone. */
struct all_versions *all_versions_new(struct tree *tree);
struct all_versions *all_versions_new_contents(struct tree *tree);
/* Of one family, but for the content of small files. */
struct all_versions *all_versions_of_family(struct tree *tree, uint32_t family);
/* Of the keys in [first, end). */
struct all_versions *all_versions_between(struct tree *tree, const struct tree_key *first, const struct tree_key *end);
void all_versions_free(struct all_versions *all); /* NULL is fine */

/* 1: the next version, valid until the next call; 0: that was all; or -errno. */
WARN_UNUSED int all_versions_next(struct all_versions *all, struct stored_version *ret_version);

/* Now and then in a walk that need not be of one moment: see kv_iter_make_way(). The version of before is not valid any more. */
void all_versions_make_way(struct all_versions *all);

/* About how many a walk through the whole store meets. */
uint64_t all_versions_estimate(struct tree *tree);

/* Adds to the batch that the version is removed. */
void all_versions_remove(struct kv_batch *batch, const struct tree_key *stem, uint64_t epoch);

/* Adds to the batch that the version is now this, which every view that sees it must take for the same. */
void all_versions_replace(struct kv_batch *batch, const struct tree_key *stem, uint64_t epoch, const void *value, size_t len);
/* Reads one version; -ENOENT. */
WARN_UNUSED int all_versions_get(struct tree *tree, const struct tree_key *stem, uint64_t epoch, struct buf *value);

/* Removes all versions of a family that no view belongs to any more, and its touched index, at once and not as part of a batch. */
WARN_UNUSED int all_versions_drop_family(struct tree *tree, uint32_t family);

/*
 * Gives back the room of versions that were removed or overwritten, and of entries of the touched index, in steps; `stop` is asked between
 * them. `count`: so many versions there are without the content of small files. -ENOSPC: there is no room to do it.
 */
WARN_UNUSED int all_versions_compact(struct tree *tree, uint64_t count, bool (*stop)(void *arg), void *arg);

#endif
