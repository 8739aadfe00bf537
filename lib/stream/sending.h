/*
 * What the parts of a sender share. Internal to lib/stream.
 *
 *   sending.c        what all of them need
 *   send_changes.c   which inodes differ
 *   send_names.c     what labels stand for in the base, and what has lost its name; new names
 *   send_content.c   the content of one file
 */
#ifndef CORPUSFS_STREAM_SENDING_H
#define CORPUSFS_STREAM_SENDING_H

#include "lib/base/spill.h"
#include "lib/stream/frames_out.h"
#include "lib/stream/send.h"
#include "lib/tree/records/scan.h"

#define SENDING_MEMORY (16U << 20) /* of each map */

struct sending {
	struct store *store;
	const struct send_options *options;
	struct send_result *result;
	struct frames_out frames;
	bool has_base;
	struct scan a, b; /* the base and the snapshot */
	uint64_t step;

	/* Of send_changes: inodes whose records differ. */
	struct spill *dirs, *files; /* of either tree */
	struct spill *way;          /* directories of A at or above them */
	uint64_t to_bind;           /* files of both trees */
	/* Of send_names. */
	struct spill *bound;  /* labels that the receiver knows, of A */
	uint64_t files_bound;
	struct spill *linked; /* new files with several names that were sent */

	struct buf packed, xattrs, plain; /* room */
	struct error *err;
};

bool sending_stopped(const struct sending *sending);

/* Counts a step; the frame is written unless the receiver has it. */
WARN_UNUSED int sending_entry(struct sending *sending, const struct stream_entry *entry);
/* The attributes of an inode as they are in a frame; they point into the sending and the inode. */
WARN_UNUSED int sending_attributes(struct sending *sending, const struct scan_inode *inode, struct stream_attributes *ret_attributes);

/* 1: the tree has the inode under a name; 0: not. */
WARN_UNUSED int sending_has(const struct scan *scan, uint64_t ino);

/* --- send_changes.c --- */
WARN_UNUSED int sending_find_changes(struct sending *sending);

/* --- send_names.c --- */
WARN_UNUSED int sending_old_names(struct sending *sending);
WARN_UNUSED int sending_new_names(struct sending *sending);

/* --- send_content.c --- */
/* The content of a regular file of B: all, or with `old` (its inode of A) what differs. Follows the step that opened it. */
WARN_UNUSED int sending_content(struct sending *sending, const struct scan_inode *inode, const struct scan_inode *old);

#endif
