/*
 * The tree of a store and its views, opened and closed.
 *
 *   tree_new -> view_open, any number of times -> ... -> view_close -> tree_free
 *
 * Threads: any, except view_close and tree_free, which are the last calls on what they close.
 */
#ifndef CORPUSFS_TREE_CONTENT_TREE_H
#define CORPUSFS_TREE_CONTENT_TREE_H

#include "lib/tree/records/view.h"

/* Starts the committer threads. The tree uses kv, chunks and pool; the caller closes them after tree_free. */
WARN_UNUSED int tree_new(struct kv *kv, struct chunks *chunks, struct pool *pool, const struct tree_options *options, struct tree **ret_tree);
void tree_free(struct tree *tree); /* all views must be closed */

/* Commits the content of all views and makes everything durable: when it returns 0, all that was written before is on disk. */
WARN_UNUSED int tree_sync(struct tree *tree);

/*
 * The file that could not be committed last: of the view, or of all when it is NULL. Right after a commit or a freeze has failed it is one of those to
 * blame; its ino is 0 when none is.
 */
struct commit_failure tree_commit_failure(struct tree *tree, const struct view *view);

/* To be called every few seconds: the system gets memory that was not needed lately. */
void tree_give_back(struct tree *tree);

struct tree_usage {
	uint64_t dirty_bytes;   /* buffered content not yet committed */
	uint64_t dirty_inodes;
	uint64_t failing_inodes; /* of them: could not be committed, and are tried again */
	int failing_error;       /* of one of them */
	uint64_t cached_inodes;
	/* Of memory, and how much it may be: inodes with their extents; content that is buffered, with blocks that wait to be used again. */
	uint64_t inode_bytes, inode_budget, buffer_bytes, buffer_budget;
	uint64_t free_bytes;    /* of the disk, less the reserve and what is buffered: so much can still be written */
};
void tree_usage(struct tree *tree, struct tree_usage *ret_usage);

WARN_UNUSED int view_open(struct tree *tree, const struct view_options *options, struct view **ret_view);
/* Commits; no inode may be in use. NULL is fine. The view is closed in any case: an error says that what could not be committed is lost. A
 * retired view loses nothing. */
int view_close(struct view *view);
WARN_UNUSED int view_sync(struct view *view); /* commits its content and syncs the WAL */

/* Bytes of content of this view not yet committed. */
uint64_t view_dirty_bytes(struct view *view);

#endif
