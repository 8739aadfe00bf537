/*
 * Inodes in memory. Internal to lib/tree.
 *
 * Every operation on an inode goes through its one struct inode, found or loaded by inode_get(). `record` is what is committed;
 * `size` is what users see: larger (or smaller) than record.size while content is buffered. Content is in three layers, the upper
 * hiding the lower: `active` (accepted by write), `frozen` (being committed; never changes), and the committed extents or inline data.
 *
 *   write -> active --commit_begin--> frozen --commit_finish--> extents + record     (a failed commit puts frozen back under active)
 *
 * Unused, clean inodes stay in an LRU of bounded length. So do those that were removed: the kernel may go on asking about them, without our
 * knowing that it has them open (view_getattr_removed).
 */
#ifndef CORPUSFS_TREE_RECORDS_INODE_H
#define CORPUSFS_TREE_RECORDS_INODE_H

#include <stdatomic.h>
#include <uthash.h>

#include "lib/tree/content/dirty.h"
#include "lib/tree/records/hold.h"
#include "lib/tree/records/tree.h"
#include "lib/tree/records/version.h"

struct family;

struct inode {
	struct view *view;
	uint64_t ino;
	UT_hash_handle by_ino;       /* in view->inodes; view->cache_lock */
	struct inode *lru_prev, *lru_next; /* view->tree->lru, when refs == 0; tree->lru_lock */
	unsigned refs;               /* view->cache_lock */
	bool is_hashed;              /* in view->inodes; view->cache_lock */
	int load;                    /* inode.c: 0 being loaded; 1 loaded; else why it could not be; view->cache_lock */
	unsigned opens;              /* open files; lock. Orphans wait for 0 */

	struct mutex lock;           /* guards all below */
	pthread_cond_t drained;      /* frozen became empty */
	struct inode_record record;  /* committed; record.data points to inline_data */
	uint64_t record_epoch;       /* epoch of the committed version; 0 for an inode not yet written */
	struct buf inline_data;      /* small file's committed content, or symlink target */
	uint64_t size;               /* with buffered content */
	struct dirty active, frozen;
	struct extent_cache *extents; /* extent_cache.c; NULL or a part of the committed extents; freed by extent_cache_drop */
	bool committing;             /* frozen belongs to a committer */
	bool times_dirty;            /* record's times are newer than on disk */
	bool gone;                   /* no name and no open file is left: content is removed */
	int commit_error;            /* of the last commit; told to fsync, cleared by a commit that goes well */

	/* The committer's lock guards these (committer.c). */
	uint64_t dirty_since_ms, written_ms; /* clock_ms of the first and last write not yet committed */
	uint64_t retry_ms;           /* not before, after a failed commit */
	uint64_t note_number;        /* order of arrival on the list */
	uint64_t noted_bytes;        /* active.bytes when last noted */
	struct inode *dirty_prev, *dirty_next; /* committer's list of dirty inodes */
	bool on_dirty_list;
	bool claimed;                /* one committer at a time */
};

struct tree {
	struct kv *kv;
	struct chunks *chunks;
	struct pool *pool;
	struct tree_options options;
	char *space_path;

	struct mutex lru_lock;
	struct inode *lru;           /* oldest first */
	uint64_t lru_count;
	_Atomic uint64_t evictions;  /* inodes that left the LRU for lack of room; grows with the cache_lock of their view held */

	struct mutex family_lock;
	struct family *families;     /* uthash by id */

	struct committer *committer; /* committer.c */
	_Atomic unsigned open_views;
	uint64_t cached_extents;     /* of all inodes; atomic; extent_cache.c */
	struct space *space;         /* space.c */
};

struct view {
	struct tree *tree;
	uint32_t dataset, family_id, number;
	struct family *family;
	int level;
	bool read_only;
	atomic_bool retired;         /* see freeze_retire */
	struct hold hold;            /* entered by whoever buffers a write */

	struct mutex names;          /* guards the namespace: entries, link counts, directories' records */
	struct rwlock epoch_lock;    /* see view.h; guards line, epoch, shared, level. Never taken twice by one thread: writers come first */
	struct line line, shared;
	uint64_t epoch;

	struct mutex cache_lock;     /* guards inodes and their refs */
	pthread_cond_t loaded;       /* with cache_lock: an inode was loaded, or could not be */
	struct inode *inodes;        /* uthash by ino */
};

/* Whether the view can be changed: 0, -EROFS or -ESTALE (retired). Whoever holds the epoch lock may rely on it until it is given back. */
WARN_UNUSED int view_check_change(const struct view *view);

/* Finds or loads; the reference is given back with inode_put. -ESTALE when the view has no such inode. The caller must not hold the
 * epoch lock. */
WARN_UNUSED int inode_get(struct view *view, uint64_t ino, struct inode **ret_inode);
void inode_put(struct inode *inode);
/* Finds only; -ENOENT when it is not in memory. What was changed in memory and has left it since tree->evictions was read is on disk. */
WARN_UNUSED int inode_find(struct view *view, uint64_t ino, struct inode **ret_inode);

/* Takes a new inode into the cache, referenced; its record is not on disk yet. */
struct inode *inode_add(struct view *view, uint64_t ino, const struct inode_record *record);

/* Adds the inode's record to the batch, and its touched key with its first change in this epoch (I7). Caller holds inode->lock and the
 * epoch lock; after the batch was written it calls inode_written(). Buffered content's size is not in it: record.size is committed. */
void inode_record_put(struct inode *inode, struct kv_batch *batch);
void inode_written(struct inode *inode);

/* Removes all records of an inode nobody can reach; in bounded batches when large. Caller holds no lock. */
WARN_UNUSED int inode_remove_content(struct view *view, uint64_t ino);

/* Waits until no committer holds frozen content. Caller holds inode->lock. */
void inode_wait_drained(struct inode *inode);

/* --- truncate.c: changes of committed content without new data. Caller holds inode->lock and the epoch lock shared; batch adds up. --- */
/*
 * Waits until drained (callers wait before they take the epoch lock: then it does not wait here), drops buffered bytes beyond `size`,
 * adds the removal of extents beyond it to the batch, sets size and record.size. Very long files are shortened in several written
 * steps first, from the end. The caller puts the record into the batch. With content still buffered a growing record.size is left to its commit.
 */
WARN_UNUSED int inode_truncate(struct inode *inode, struct kv_batch *batch, uint64_t size);

/* --- committer.c --- */
WARN_UNUSED int committer_start(struct tree *tree);
void committer_stop(struct tree *tree);
/* Notes that the inode has content or times to commit. Caller holds inode->lock. Takes a reference while it is on the list. */
void committer_note(struct inode *inode);
/* Commits the inode (all of view when inode is NULL, all views when both are NULL) and waits. Caller holds no lock. */
WARN_UNUSED int committer_run(struct tree *tree, struct view *view, struct inode *inode);
/* What is buffered and being committed: of one view, or of all when it is NULL. */
void committer_usage(struct tree *tree, const struct view *view, uint64_t *ret_bytes, uint64_t *ret_inodes);
/* Whether nothing of any of the views waits to be committed or is being committed, at one instant. Waits for nobody. */
bool committer_is_clean(struct tree *tree, struct view *const *views, size_t count);
/* kv_sync, shared by those who ask at the same time. */
WARN_UNUSED int committer_sync(struct tree *tree);
/* Waits for room in the write buffer, then accounts `len`; and gives it back. -ENOSPC, -EIO when it is full and commits fail. */
WARN_UNUSED int committer_admit(struct tree *tree, size_t len);
void committer_release(struct tree *tree, size_t len);

/* --- space.c --- */
WARN_UNUSED int space_new(const char *path, uint64_t reserve, struct space **ret_space);
void space_free(struct space *space);
WARN_UNUSED int space_check(struct space *space, uint64_t bytes); /* -ENOSPC; looks at the disk at most every 100 ms or 16 MiB */
uint64_t space_available(struct space *space);

/*
 * --- extent.c --- committed content. The caller holds inode->lock (reading a read-only view needs none) and view->epoch_lock shared.
 *
 * Extents of one view and inode never overlap, and none is longer than EXTENT_LEN_MAX.
 */
struct extent_list {
	struct extent *items;
	size_t count, cap;
};
void extent_list_clear(struct extent_list *list);
void extent_list_add(struct extent_list *list, const struct extent *extent);
#define EXTENTS_ALL SIZE_MAX
/* Adds those that overlap [first, end), ascending, at most `limit`. */
WARN_UNUSED int extents_load(struct view *view, uint64_t ino, uint64_t first, uint64_t end, size_t limit, struct extent_list *list);
/* The last one that starts before `offset`; -ENOENT. */
WARN_UNUSED int extents_before(struct view *view, uint64_t ino, uint64_t offset, struct extent *ret_extent);

/*
 * Changes of one inode's extents in one batch, by ascending ranges: what an old extent keeps beyond a replaced range is carried along,
 * since the batch itself cannot be read. Adjusts record.allocated as it goes.
 */
struct extent_edit {
	struct inode *inode;
	struct kv_batch *batch;
	bool empty;            /* the inode has no extents: nothing to look up */
	bool has_carry;
	struct extent carry;   /* the rest of the last old extent, not yet put */
	uint64_t seen;         /* old extents that start below were dealt with */
};
struct extent_edit extent_edit_begin(struct inode *inode, struct kv_batch *batch);
/* Nothing is mapped in [first, end) any more, then the given extents (sorted, inside) are. */
WARN_UNUSED int extent_edit_replace(struct extent_edit *edit, uint64_t first, uint64_t end, const struct extent *extents, size_t count);
void extent_edit_end(struct extent_edit *edit);
/* One such change. */
WARN_UNUSED int extents_replace(struct inode *inode, struct kv_batch *batch, uint64_t first, uint64_t end, const struct extent *extents,
				size_t count);

/* --- extent_cache.c --- under inode->lock alone. --- */
/* Adds the extents that overlap [first, end) to the list, from memory where it can. Takes the epoch lock itself. */
WARN_UNUSED int extent_cache_load(struct inode *inode, uint64_t first, uint64_t end, struct extent_list *list);
/* Whether a gap in the content is a hole: the extents that are there add up to record.allocated (I9). -EIO when they do not. */
WARN_UNUSED int extent_cache_check_hole(struct inode *inode);
void extent_cache_drop(struct inode *inode); /* after every change of extents, and before the inode is freed */

#endif
