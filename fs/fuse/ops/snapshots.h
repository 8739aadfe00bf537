/*
 * The virtual directory ".snapshots" in the root of a head: a directory that no view holds. snapshots.c says what it is to copying programs.
 *
 * Changing it takes the store's change lock, and a snapshot waits for the kernel, so these changes run as jobs of the worker, which answer
 * the request later.
 */
#ifndef CORPUSFS_FUSE_OPS_SNAPSHOTS_H
#define CORPUSFS_FUSE_OPS_SNAPSHOTS_H

#include <fuse_lowlevel.h>

#include "fs/fuse/ops/request.h"

/* The virtual directory's attributes are those of its directory; `dir` may be of either kind. */
WARN_UNUSED int snapshots_entry(const struct target *dir, struct fuse_entry_param *ret_entry);
WARN_UNUSED int snapshots_lookup(const struct target *dir, const char *name, struct fuse_entry_param *ret_entry);
WARN_UNUSED int snapshots_list(const struct target *dir, virtual_list_fn each, void *arg);
void snapshots_mkdir(fuse_req_t req, const struct target *dir, const char *name, mode_t mode); /* as the caller asked for it */
void snapshots_rmdir(fuse_req_t req, const struct target *dir, const char *name);
void snapshots_rename(fuse_req_t req, const struct target *dir, const char *name, const char *new_name, unsigned flags);

/* A directory is opened: remembers who lists a snapshot that is empty. */
void snapshots_note_listing(fuse_req_t req, const struct target *target);

/* ".." of a snapshot's root: the ".snapshots" of its dataset's root. */
WARN_UNUSED int snapshots_above(const struct target *snapshot_root, struct fuse_entry_param *ret_entry);

#endif
