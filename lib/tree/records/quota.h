/*
 * How much a dataset's head holds, and may hold. Counted are the bytes of regular files that are mapped: what `du` shows, so holes cost
 * nothing, a file with several names counts once, and data that other datasets or snapshots share counts in full. Names and attributes do not
 * count, and neither does what only snapshots hold.
 *
 *   quota_ready     before anything that may make files larger, without locks: counts once, when there is a quota and the view is new
 *   quota_promise   before content is buffered: so much larger will the view be when it is committed
 *   quota_end       that was committed, or dropped
 *   quota_check     within a transaction that makes files larger at once, before its batch is written
 *   quota_change    after it was written, while the epoch lock is still held
 *   quota_wait      after -EDQUOT, without locks: what was removed a moment ago may count still
 *
 * The count is kept in memory only. When the view is opened anew, also after a crash, it is counted anew, in one walk. Any thread.
 */
#ifndef CORPUSFS_TREE_RECORDS_QUOTA_H
#define CORPUSFS_TREE_RECORDS_QUOTA_H

#include "lib/tree/records/view.h"

/* 0: none. What is buffered already counts from its commit on. */
void quota_set(struct view *view, uint64_t limit);
bool quota_is_set(struct view *view);

WARN_UNUSED int quota_ready(struct view *view);
WARN_UNUSED int quota_promise(struct view *view, uint64_t bytes); /* -EDQUOT */
void quota_promise_again(struct view *view, uint64_t bytes);      /* it was promised by a process before this one, so it is not asked whether it fits */
void quota_end(struct view *view, uint64_t bytes);
WARN_UNUSED int quota_check(struct view *view, uint64_t bytes); /* -EDQUOT */
void quota_change(struct view *view, int64_t bytes);

/*
 * A file that was removed counts until it is closed, as it takes room so long; and the kernel tells of a close a moment after close(2) has
 * returned. So a file that has no name any more is noted, and noted again when nobody has it open, until its records are gone. Whoever
 * has no room waits for them: true: some has come back since quota_patience, or since it was last asked; try again. It ends after a while.
 */
struct quota_patience {
	uint64_t freed, begun; /* what had come back, and when waiting began, in ms; 0: it has not */
};
struct quota_patience quota_patience(struct view *view); /* taken before the first try, so that nothing that comes back meanwhile is missed */
void quota_unnamed(struct view *view, int count);
void quota_closing(struct view *view, int count);
bool quota_wait(struct view *view, struct quota_patience *patience);

/* Both 0 where there is no quota. Counts if need be. */
WARN_UNUSED int quota_usage(struct view *view, uint64_t *ret_limit, uint64_t *ret_used);

#endif
