/*
 * What a tree before this one had accepted and not committed is buffered again, from the journal that it left (inodes/journal.h). Before anybody
 * else uses the tree, and before orphans are reaped: what is still open of them has content, too.
 *
 * What is buffered again is in memory twice, and the journal may hold more than there is memory for: so it is committed as soon as it is a part of
 * the buffer, and the journal's memory given back. But what a later record undoes (JOURNAL_DISCARD) was undone in what is committed, too, by which that
 * record goes: a file is not committed as long as there is one to come.
 */
#ifndef CORPUSFS_TREE_CONTENT_REPLAY_H
#define CORPUSFS_TREE_CONTENT_REPLAY_H

#include "lib/base/array.h"
#include "lib/tree/content/tree.h"

size_t tree_journal_bytes(uint64_t write_buffer_bytes); /* how much memory a journal needs; it may be sparse */

#define REPLAY_PATIENCE_MS 30000 /* for so long, in all, a disk that gives errors is asked again */

/* What the file was accepted to be from the first record on that was given up is lost. */
struct replay_lost {
	uint32_t view;
	uint64_t ino, records;
	int error;
};

struct replayed {
	uint64_t records, bytes; /* that were buffered again */
	uint64_t dropped;        /* records of what is not there any more */
	ARRAY(struct replay_lost) lost; /* files of which records were given up */
};
void replayed_clear(struct replayed *replayed);

/*
 * `find` gives the view of a number, which is given back by `put`; -ESTALE: it was rolled back or destroyed.
 *
 * Where a file cannot be read (-EIO), its disk may be back soon: it is asked again, and `waits` (or NULL) is told before each pause how long that
 * has taken in all. False: nobody is to wait any more, also not for other files.
 *
 * A file that stays unreadable or is damaged (-EBADMSG) does not keep the others: its records are given up from the one that fails on, which the
 * caller is to tell. Any other failure is returned, also that of a database that takes no change any more, and nothing more is forgotten then.
 */
typedef bool (*replay_waits_fn)(void *arg, const struct replay_lost *file, uint64_t waited_ms);
struct replay_views {
	int (*find)(void *arg, uint32_t number, struct view **ret_view);
	void (*put)(void *arg, struct view *view);
	void *arg;
	replay_waits_fn waits;
	void *waits_arg;
};
WARN_UNUSED int tree_replay(struct tree *tree, const struct replay_views *views, struct replayed *ret_replayed);
/* When what was open is open again: from now on each fsync of these files fails, as long as they are in memory. */
void tree_mark_lost(const struct replay_views *views, const struct replayed *replayed);

#endif
