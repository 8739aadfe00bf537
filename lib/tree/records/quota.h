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
void quota_end(struct view *view, uint64_t bytes);
WARN_UNUSED int quota_check(struct view *view, uint64_t bytes); /* -EDQUOT */
void quota_change(struct view *view, int64_t bytes);

/* Both 0 where there is no quota. Counts if need be. */
WARN_UNUSED int quota_usage(struct view *view, uint64_t *ret_limit, uint64_t *ret_used);

#endif
