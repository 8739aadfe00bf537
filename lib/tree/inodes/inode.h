/*
 * Inodes in memory. Internal to lib/tree.
 *
 * Every operation on an inode goes through its one struct inode, found or loaded by inode_get(). `record` is what is committed;
 * `size` is what users see: larger (or smaller) than record.size while content is buffered. Content is in three layers, the upper
 * hiding the lower: `active` (accepted by write), `frozen` (being committed; never changes), and the committed extents or inline data.
 *
 *   write -> active --commit_begin--> frozen --commit_finish--> extents + record     (a failed commit puts frozen back under active)
 *
 * Unused, clean inodes stay in an LRU of bounded length and size. So do those that were removed: the kernel may go on asking about them, without our
 * knowing that it has them open (view_getattr_removed).
 */
#ifndef CORPUSFS_TREE_INODES_INODE_H
#define CORPUSFS_TREE_INODES_INODE_H

#include <uthash.h>

#include "lib/tree/inodes/dirty.h"
#include "lib/tree/records/attr.h"
#include "lib/tree/records/version.h"
#include "lib/tree/records/view_inside.h"

struct inode {
	struct view *view;
	uint64_t ino;
	UT_hash_handle by_ino;       /* in view->inodes; view->cache_lock */
	struct inode *lru_prev, *lru_next; /* view->tree->lru, when refs == 0; tree->lru_lock */
	size_t lru_bytes;            /* what it takes while it is there; as before */
	unsigned refs;               /* view->cache_lock */
	bool is_hashed;              /* in view->inodes; view->cache_lock */
	int load;                    /* inode.c: 0 being loaded; 1 loaded; else why it could not be; view->cache_lock */
	unsigned opens;              /* open files; lock. Orphans wait for 0 */

	struct mutex lock;           /* guards all below */
	pthread_cond_t drained;      /* frozen became empty, or holes were counted */
	struct inode_record record;  /* committed; record.target points to inline_data */
	uint64_t record_epoch;       /* epoch of the committed version; 0 for an inode not yet written */
	struct buf inline_data;      /* of a symlink its target; of a small file its committed content, if has_inline_data */
	bool damage_told;            /* of its inline content, which cannot be read */
	bool has_inline_data;        /* inode_load_inline; whatever is in `active` of a file with inline content came after it */
	uint64_t size;               /* with buffered content */
	struct dirty active, frozen;
	uint64_t promised;           /* to the quota, for what is active; 0 where the view has none */
	struct extent_cache *extents; /* extent_cache.c; NULL or a part of the committed extents; freed by extent_cache_drop */
	enum { HOLES_UNKNOWN, HOLES_CONFIRMED, HOLES_WRONG } holes; /* see content/holes.h */
	bool counting_holes;
	bool committing;             /* frozen belongs to a committer */
	bool times_dirty;            /* record's times are newer than on disk */
	bool gone;                   /* no name and no open file is left: content is removed */
	bool is_unnamed;             /* it has no name and is open, and the quota knows that (quota_unnamed) */
	bool lost;                   /* something that it had accepted is gone (replay.h); told to every fsync */
	int commit_error;            /* of the last commit; told to fsync, cleared by a commit that goes well, or when nothing is left to commit */

	/* The committer's lock guards these (committer.c). */
	uint64_t dirty_since_ms, written_ms; /* clock_ms of the first and last write not yet committed */
	uint64_t retry_ms;           /* not before, after a failed commit */
	unsigned retry_pause_ms;     /* the time from the failure to that; 0: the last commit did not fail */
	uint64_t note_number;        /* order of arrival on the list */
	uint64_t noted_bytes;        /* active.bytes when last noted */
	struct inode *dirty_prev, *dirty_next; /* committer's list of dirty inodes */
	bool on_dirty_list;
	uint64_t commit_after;       /* only when this record of the journal was replayed, which undoes some of what is buffered */
	bool claimed;                /* one committer at a time */
};

/* Finds or loads; the reference is given back with inode_put. -ESTALE when the view has no such inode. The caller must not hold the
 * epoch lock. */
WARN_UNUSED int inode_get(struct view *view, uint64_t ino, struct inode **ret_inode);
void inode_put(struct inode *inode);
/* Whether an inode that inode_get() could not read is damaged for good: not unreadable just now, for want of descriptors or of a disk. */
bool inode_is_damaged(struct view *view, uint64_t ino);
/* Finds only; -ENOENT when it is not in memory. What was changed in memory and has left it since tree->evictions was read is on disk. */
WARN_UNUSED int inode_find(struct view *view, uint64_t ino, struct inode **ret_inode);

/* Takes a new inode into the cache, referenced; its record is not on disk yet. */
struct inode *inode_add(struct view *view, uint64_t ino, const struct inode_record *record);

/* Adds the inode's record to the batch, and its touched key with its first change in this epoch (I7). Caller holds inode->lock and the
 * epoch lock; after the batch was written it calls inode_written(). Buffered content's size is not in it: record.size is committed. */
void inode_record_put(struct inode *inode, struct kv_batch *batch);
void inode_written(struct inode *inode);

/* The inline content, if the record says that there is any, is in inline_data afterwards. Caller holds inode->lock. -EIO */
WARN_UNUSED int inode_load_inline(struct inode *inode);

/* Fills in a record of the journal (NULL: nothing is done) and adds it to what is active. Times are set already. Caller holds inode->lock. */
void inode_count_record(struct inode *inode, struct journal_record *record, enum journal_kind kind, uint64_t offset, uint64_t len);

/* Waits until no committer holds frozen content. Caller holds inode->lock, and no lock that comes later. */
void inode_wait_drained(struct inode *inode);

uint64_t inode_ino(const struct inode *inode);
struct view *inode_view(const struct inode *inode);
void inode_attr(struct inode *inode, struct attr *ret_attr);
/* The same of a locked inode; the caller does not hold the epoch lock. */
void inode_fill_attr(struct inode *inode, struct attr *ret_attr);

/* What all inodes take, and how much those may take that are not in use, with the extents of all. */
uint64_t inodes_bytes(struct tree *tree);
uint64_t inodes_budget(const struct tree *tree);

/* Forgets all inodes of the view; none is in use. */
void inode_cache_empty(struct view *view);

#endif
