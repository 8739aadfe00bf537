/*
 * What a tree before this one had accepted and not committed is buffered again, from the journal that it left (inodes/journal.h). Before anybody
 * else uses the tree, and before orphans are reaped: what is still open of them has content, too.
 */
#ifndef CORPUSFS_TREE_CONTENT_REPLAY_H
#define CORPUSFS_TREE_CONTENT_REPLAY_H

#include "lib/tree/content/tree.h"

size_t tree_journal_bytes(uint64_t write_buffer_bytes); /* how much memory a journal needs; it may be sparse */

struct replayed {
	uint64_t records, bytes; /* that were buffered again */
	uint64_t dropped;        /* records of what is not there any more */
};

/*
 * `find` gives the view of a number, which is given back by `put`; -ESTALE: it was rolled back or destroyed. -EBADMSG: what the journal says
 * cannot be; others as reading an inode. After a failure nothing of it is forgotten.
 */
struct replay_views {
	int (*find)(void *arg, uint32_t number, struct view **ret_view);
	void (*put)(void *arg, struct view *view);
	void *arg;
};
WARN_UNUSED int tree_replay(struct tree *tree, const struct replay_views *views, struct replayed *ret_replayed);

#endif
