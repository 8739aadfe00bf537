/*
 * What a tree before this one had accepted and not committed is buffered again, from the journal that it left (inodes/journal.h). Before anybody
 * else uses the tree, and before orphans are reaped: what is still open of them has content, too.
 */
#ifndef CORPUSFS_TREE_CONTENT_REPLAY_H
#define CORPUSFS_TREE_CONTENT_REPLAY_H

#include "lib/tree/content/tree.h"

size_t tree_journal_bytes(uint64_t write_buffer_bytes); /* how much memory a journal needs; it may be sparse */

#define REPLAY_LOST_MAX 64

struct replayed {
	uint64_t records, bytes; /* that were buffered again */
	uint64_t dropped;        /* records of what is not there any more */
	size_t lost_count;       /* files of which records were given up */
	/* The first of them: what the file was accepted to be from the first such record on is lost. */
	struct replay_lost {
		uint32_t view;
		uint64_t ino, records;
		int error;
	} lost[REPLAY_LOST_MAX];
};

/*
 * `find` gives the view of a number, which is given back by `put`; -ESTALE: it was rolled back or destroyed.
 *
 * A file that is damaged (-EIO, -EBADMSG, also after some tries) does not keep the others: its records are given up from the one that fails on,
 * which every fsync of it reports as long as it is in memory, and the caller is to tell. Any other failure is returned, and nothing is
 * forgotten then.
 */
struct replay_views {
	int (*find)(void *arg, uint32_t number, struct view **ret_view);
	void (*put)(void *arg, struct view *view);
	void *arg;
};
WARN_UNUSED int tree_replay(struct tree *tree, const struct replay_views *views, struct replayed *ret_replayed);

#endif
