/*
 * What waits to be committed, in one list for all views of a tree, oldest first; and the budget of memory for it. Internal to lib/tree.
 *
 *   clean --pending_note--> listed --pending_claim_...--> claimed --pending_end_claim after success--> clean
 *                             ^-------------------------------| pending_note after a failure, or written meanwhile
 *
 * Writers account their bytes before they buffer them (pending_admit), and who commits or drops them gives them back (pending_release).
 * The functions of the budget and of the list take the lock themselves; those of claims are called with it (committer.c).
 */
#ifndef CORPUSFS_TREE_CONTENT_PENDING_H
#define CORPUSFS_TREE_CONTENT_PENDING_H

#include "lib/tree/inodes/inode.h"

#define COMMIT_GROUP_INODES 4096
#define COMMIT_GROUP_BYTES (64ULL << 20)

/* A group at work; lives on the stack of the thread that commits it. */
struct claim {
	uint64_t first_note; /* the least note_number of its inodes */
	struct view *view;
	uint64_t bytes, inodes;
	struct claim *prev, *next;
};

struct pending {
	struct block_pool *blocks;
	uint64_t budget, big, crowd;
	unsigned idle_ms, commit_ms;

	struct mutex lock;     /* guards all below */
	pthread_cond_t work;   /* there is something to do for the background threads */
	pthread_cond_t room;   /* there may be room in the budget */
	pthread_cond_t done;   /* a group was given up, or a sync has ended */
	struct inode *dirty;   /* by note_number */
	uint64_t dirty_inodes, dirty_bytes;
	uint64_t written_ms;   /* when anything was noted last */
	unsigned waiting;      /* writers */
	uint64_t next_note;
	struct claim *claims;
	uint64_t failures;     /* groups that failed, ever; each view has its own number, too */
	uint64_t failing;      /* inodes whose last commit failed; they are tried again */
	int failing_error;     /* of one of them */
	struct commit_failure failure; /* the last of them, until that one is committed; each view has its own, too */
};

struct pending *pending_new(const struct tree_options *options);
void pending_free(struct pending *pending); /* NULL is fine */

/* --- the budget --- */

/* -ENOSPC when the disk has no room for `len` more bytes beside those already buffered. For committer_check_space(), which asks twice. */
WARN_UNUSED int pending_check_space(struct tree *tree, size_t len);
/*
 * Waits for room in the write buffer, then accounts `len`; and gives it back. -ENOSPC, -EIO: it is full of content that cannot be committed. That
 * the commit of one file fails concerns nobody else as long as others make room.
 */
WARN_UNUSED int pending_admit(struct tree *tree, size_t len);
void pending_release(struct tree *tree, size_t len);
/*
 * Before more of an inode is buffered. Its error, when its last commit failed and it keeps more than its share of the buffer and the journal: as
 * long as it fails nothing of that is given back, and it is to leave room for others. Not for -ENOSPC, which is no fault of one file. Caller holds
 * inode->lock.
 */
WARN_UNUSED int pending_check_share(const struct inode *inode);
/* A record of the journal for `len` bytes, for which it waits; errors as pending_admit. */
WARN_UNUSED int pending_take_record(struct tree *tree, size_t len, struct journal_record **ret_record);
/* Accounts bytes without waiting. */
void pending_charge(struct tree *tree, size_t len);
uint64_t pending_budget(const struct tree *tree);
struct block_pool *pending_blocks(struct tree *tree);

/* --- the list --- */

/* While the journal is replayed: the inode may not be committed before this record. */
void pending_hold_back(struct inode *inode, uint64_t number);
/* Notes that the inode has content or times to commit. Caller holds inode->lock. Takes a reference while it is on the list. */
void pending_note(struct inode *inode);
/* What is buffered and being committed: of one view, or of all when it is NULL. */
void pending_usage(struct tree *tree, const struct view *view, uint64_t *ret_bytes, uint64_t *ret_inodes);
/* How many inodes could not be committed and are tried again, and why one of them could not. */
void pending_failing(struct tree *tree, uint64_t *ret_inodes, int *ret_error);
/* The last of them: of the view, or of all when it is NULL. Its ino is 0 when there is none, or that one was committed since. */
struct commit_failure pending_failure(struct tree *tree, const struct view *view);
/* Whether nothing of any of the views waits to be committed or is being committed, at one instant. Waits for nobody. */
bool pending_is_clean(struct tree *tree, struct view *const *views, size_t count);

/* --- claims; the caller holds the lock --- */

struct wanted {
	struct view *view;   /* NULL: any, but all of one */
	uint64_t until;      /* noted before */
	bool due;            /* only those whose time has come */
};

/* Claims inodes of one view, at most as many as go into a group; returns how many. */
size_t pending_claim_group(struct pending *pending, const struct wanted *wanted, struct claim *claim, struct inode **inodes);
/* Whether it is on the list, and not held back. */
bool pending_may_claim(const struct inode *inode);
/* Claims one that may be. */
void pending_claim_inode(struct pending *pending, struct claim *claim, struct inode *inode);
void pending_end_claim(struct pending *pending, struct claim *claim);
/* Whether something that was noted before waits, or is being committed by somebody else, whenever he began. */
bool pending_others_at_work(const struct pending *pending, const struct wanted *wanted);

#endif
