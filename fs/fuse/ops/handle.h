/* Open files. Internal to fs/fuse/ops. */
#ifndef CORPUSFS_FUSE_OPS_HANDLE_H
#define CORPUSFS_FUSE_OPS_HANDLE_H

#include "fs/fuse/ops/request.h"
#include "lib/tree/content/file.h"

/*
 * An open file. Where OPEN is not asked (read-only mounts) requests come without one, and each makes its own for its
 * time.
 */
struct handle {
	struct opened opened; /* first: handle_close() */
	struct inode *inode;
	struct view *view;
	uint64_t node;
	bool writable;
	_Atomic uint64_t generation;   /* of the group, when the view was last known to live */
	_Atomic uint64_t capabilities; /* of the mount, when the file was last known to have none */
};

struct handle *handle_of(const struct mount *mount, const struct fuse_file_info *fi); /* NULL */
struct handle *handle_new(struct target *target, struct inode *inode); /* takes over the inode and the target's view */
/* The handle is the kernel's from the reply on, until a release. -ENFILE: it is freed. */
WARN_UNUSED int handle_publish(struct mount *mount, struct handle *handle, struct fuse_file_info *fi);
/* Released, or the open was interrupted: there will be no release then. */
void handle_withdraw(struct mount *mount, struct handle *handle);
/* What the daemon before this one opened for the request, whose answer was lost: it is opened anew. */
void handle_withdraw_lost(struct mount *mount);

/* The request's open file, or one made for the request, to be given back with borrowed_close. */
struct borrowed {
	struct mount *mount;
	struct handle *handle;
	bool own;
};
#define AUTO_BORROWED CLEANUP(borrowed_close) struct borrowed

void borrowed_close(struct borrowed *borrowed);
/* -ESTALE: its dataset was rolled back. The result may be closed in any case. */
WARN_UNUSED int handle_borrow(fuse_req_t req, fuse_ino_t id, const struct fuse_file_info *fi, struct borrowed *ret_borrowed);

#endif
