/*
 * The touched index (I7): which inodes were changed in which epoch of a family. Its records have no value.
 *
 * An entry is written with the first change to an inode in an epoch, in the batch of that change. Any thread.
 */
#ifndef CORPUSFS_TREE_RECORDS_TOUCHED_H
#define CORPUSFS_TREE_RECORDS_TOUCHED_H

#include "lib/tree/records/view.h"

void touched_put(struct kv_batch *batch, uint32_t family, uint64_t epoch, uint64_t ino);
void touched_remove(struct kv_batch *batch, uint32_t family, uint64_t epoch, uint64_t ino);

/* Where an entry stands in its family. Entries are in order of epochs, then of inodes. */
struct touched_place {
	uint64_t epoch, ino;
};

/*
 * Calls back for the entries from `from` on, up to those of the epoch `last`, as they are at one moment. Stops when the callback returns
 * not 0, and returns that. -EBADMSG.
 */
typedef int (*touched_fn)(void *arg, struct touched_place place);
WARN_UNUSED int touched_each(struct tree *tree, uint32_t family, struct touched_place from, uint64_t last, touched_fn each, void *arg);
/* The same for all epochs of a line. */
WARN_UNUSED int touched_each_of_line(struct tree *tree, uint32_t family, const struct line *line, touched_fn each, void *arg);

/* Deletes about `limit` entries of the epochs; 1 when there are more, 0 when that was all. */
WARN_UNUSED int touched_delete_some(struct tree *tree, uint32_t family, const struct interval *epochs, size_t limit);
WARN_UNUSED int touched_drop_family(struct tree *tree, uint32_t family);
/* As all_versions_compact. */
WARN_UNUSED int touched_compact(struct tree *tree, bool (*stop)(void *arg), void *arg);

#endif
