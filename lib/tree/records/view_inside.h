/* The inside of a tree and of its views. Internal to lib/tree. */
#ifndef CORPUSFS_TREE_RECORDS_VIEW_INSIDE_H
#define CORPUSFS_TREE_RECORDS_VIEW_INSIDE_H

#include <stdatomic.h>

#include "lib/base/locks.h"
#include "lib/tree/records/hold.h"
#include "lib/tree/records/view.h"

struct family;
struct inode;
struct journal;

struct readers {
	_Atomic unsigned turn, inside[2]; /* inside: of the turns with even and odd numbers */
	_Atomic uint64_t moves;
	struct rwlock moving;        /* held exclusively by who moves extents */
};

struct tree {
	struct kv *kv;
	struct chunks *chunks;
	struct pool *pool;
	struct tree_options options;
	char *space_path;

	struct mutex lru_lock;
	struct inode *lru;           /* oldest first */
	uint64_t lru_count, lru_bytes;
	_Atomic uint64_t inodes;     /* that can be found, in use or not */
	_Atomic uint64_t evictions;  /* inodes that left the LRU for lack of room; grows with the cache_lock of their view held */

	struct mutex family_lock;
	struct family *families;     /* uthash by id */

	struct journal *journal;     /* inodes/journal.h; NULL: what is buffered goes with the process */
	_Atomic uint64_t replayed;   /* the record of the journal that was replayed last; UINT64_MAX: no replay goes on */
	struct pending *pending;     /* pending.c */
	struct committer *committer; /* committer.c */
	_Atomic unsigned open_views;
	_Atomic uint64_t dropped;    /* dropped.c */
	struct readers readers;      /* readers.c */
	uint64_t cached_extents;     /* of all inodes; atomic; extent_cache.c */
	struct space *space;         /* space.c */
};

/* What is done now stands in the journal already; only who replays commits. */
static inline bool tree_is_replaying(const struct tree *tree)
{
	return atomic_load(&tree->replayed) != UINT64_MAX;
}

/* See quota.h. */
struct quota {
	_Atomic uint64_t limit;      /* 0: none */
	struct mutex lock;           /* guards what follows */
	pthread_cond_t changed;      /* with the lock: is_counting fell, or freed grew */
	bool is_counted, is_counting;
	int64_t used;                /* as committed; before it is counted, what has changed since the view was opened */
	uint64_t promised;
	unsigned unnamed, closing;   /* files without a name that still count; those of them that nobody has open */
	_Atomic uint64_t freed;      /* how often room was given back */
};

struct view {
	struct tree *tree;
	uint32_t dataset, family_id, number;
	struct family *family;
	int level;
	bool read_only;
	atomic_bool retired;         /* see freeze_retire */
	atomic_bool locked;          /* see view_set_locked */
	_Atomic uint64_t end_ms;     /* see view_set_end */
	struct quota quota;
	struct hold hold;            /* entered by whoever buffers a write */

	uint64_t failures;           /* its groups that could not be committed, ever; the lock of tree->pending */
	struct commit_failure failure; /* the last of its files that failed, until that one is committed; the same lock */

	struct mutex names;          /* guards the namespace: entries, link counts, directories' records */
	struct rwlock epoch_lock;    /* see view.h; guards line, epoch, shared, level. Never taken twice by one thread: writers come first */
	struct line line, shared;
	uint64_t epoch;

	struct mutex cache_lock;     /* guards inodes and their refs */
	pthread_cond_t loaded;       /* with cache_lock: an inode was loaded, or could not be */
	struct inode *inodes;        /* uthash by ino */
};

/* view_open and view_close (content/tree.h) without what concerns buffered content. */
WARN_UNUSED int view_new(struct tree *tree, const struct view_options *options, struct view **ret_view);
void view_free(struct view *view);

/* Whether the view can be changed: 0, -EROFS (a snapshot, locked, or its end has come) or -ESTALE (retired). Of all but the end, whoever holds the
 * epoch lock may rely on it until it is given back. */
WARN_UNUSED int view_check_change(const struct view *view);
/* The same for what was accepted before: the end does not matter. */
WARN_UNUSED int view_check_accepted(const struct view *view);

#endif
