/*
 * Views: what can be read, and for heads written. One struct tree per store holds what its views share; one struct view is the open form
 * of a head or a snapshot.
 *
 * Visibility (I1) in one paragraph: every record is stored under a key that ends in the inverted epoch it was written in. A view has a
 * line, a set of epochs. What it sees under a key is the newest version whose epoch is in its line; an empty value is a tombstone and
 * means absent. A head writes with its one open epoch (I2), which is in its line and in nobody else's, so nobody else sees it. A
 * snapshot is a copy of the head's line, after which the head gets a new open epoch (I3).
 *
 * Changing the epoch (freeze.h): all buffered content is committed and every change of the view is held back. The records are written that
 * say what comes next. Then the view goes on with the new line and epoch.
 *
 * Locks: view.names guards the namespace, inode.lock one inode. Every change holds view.epoch_lock shared from reading the old version until
 * its batch is written; whoever freezes the view holds it exclusively. lib/base/lock_order.h has their order.
 *
 * Threads: any, except view_close, which is the last call.
 */
#ifndef CORPUSFS_TREE_RECORDS_VIEW_H
#define CORPUSFS_TREE_RECORDS_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/error.h"
#include "lib/chunk/chunks.h"
#include "lib/format/key.h"
#include "lib/format/record.h"
#include "lib/kv/kv.h"

struct tree;
struct view;

struct tree_options {
	const char *space_path;       /* a path in the store: its free space is watched */
	uint64_t reserve_bytes;       /* -ENOSPC is given while less than this is free; 0 = choose by the size of the disk */
	uint64_t write_buffer_bytes;  /* hard budget for content not yet committed, all views together */
	uint64_t inode_cache_entries; /* inodes kept in memory beyond those in use */
	uint64_t extent_cache_entries; /* extents of all inodes kept in memory; 0: a million */
	unsigned idle_ms;             /* commit a file that was not written for so long; default 200 */
	unsigned commit_ms;           /* and any file after so long; default 5000 */
	/* Memory that outlives the process: zeros, or what a tree before has left there (content/replay.h). NULL: none. */
	void *journal;
	size_t journal_bytes;
	/* Of a read that met a damaged chunk, of which nobody was told for ten minutes: which file has it, and where; CHUNK_NONE: the content of a
	 * small file. May be NULL. Called by the reader's thread, without locks of lib/tree. */
	void (*damaged)(void *arg, struct view *view, uint64_t ino, uint64_t offset, uint64_t chunk);
	void *damaged_arg;
};

struct view_options {
	uint32_t dataset, family, view;
	uint64_t epoch;          /* open epoch; 0 makes the view read-only */
	int level;               /* zstd level for new chunks */
	uint64_t quota;          /* bytes; 0: none; see quota.h */
	bool locked;             /* see view_set_locked */
	const struct line *line; /* copied; includes the open epoch */
	/* Epochs that any other view of the family sees. A version of such an epoch is never removed when it is overwritten (I6). Copied. */
	const struct line *shared;
};

/* A file whose buffered content could not be committed: it stays buffered, and is tried again. */
struct commit_failure {
	uint32_t view; /* its number */
	uint64_t ino;  /* 0: there is none */
	int error;     /* of the last try */
};

/* Makes the root directory of a new dataset as part of the batch that creates it. No view is needed: family's and root's first records. */
void view_make_root(struct kv_batch *batch, uint32_t family, uint64_t epoch, uint32_t mode, uint32_t uid, uint32_t gid);

/* The other views of the family changed (a snapshot came or went, a clone was made): see view_options.shared. Takes the epoch lock. */
void view_set_shared(struct view *view, const struct line *shared);
void view_set_level(struct view *view, int level);
/* A head that is locked answers every change with -EROFS. Who locks it has it frozen by freeze_begin_held, so that nothing is buffered. */
void view_set_locked(struct view *view, bool is_locked);
bool view_is_locked(const struct view *view);
/*
 * Until when the head takes changes, of clock_boot_ms; 0: without an end. From then on each is answered with -EROFS, at once; what was accepted before is
 * committed as ever, also what the kernel has yet to write back of mapped files (WRITE_PAGES), until the head is locked.
 */
void view_set_end(struct view *view, uint64_t end_ms);
bool view_refuses(const struct view *view); /* changes: it is locked, or that time has come */

uint32_t view_number(const struct view *view);
uint32_t view_family(const struct view *view);
uint32_t view_dataset(const struct view *view);
bool view_read_only(const struct view *view);
struct line view_line(struct view *view); /* a copy */
struct tree *view_tree(struct view *view);

/* Inodes that are made from now on have this number or a higher one, those that are there have lower ones. */
WARN_UNUSED int view_first_new_ino(struct view *view, uint64_t *ret_ino);

/* A number above those of all inodes that the family has, or had. */
WARN_UNUSED int family_ino_end(struct tree *tree, uint32_t family, uint64_t *ret_end);

/* Gives out the next epoch of a family. It is written at once, so it lies in the log before whatever the caller writes next; `batch` gets
 * nothing (family.c says why). */
WARN_UNUSED int family_next_epoch(struct tree *tree, uint32_t family, struct kv_batch *batch, uint64_t *ret_epoch);

#endif
