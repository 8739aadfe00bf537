/*
 * The directories that no view holds: the list of datasets at the root of a store's mount (root.c), and ".snapshots"
 * (snapshots.c).
 *
 * Changing them takes the store's change lock, and a snapshot waits for the kernel, so these changes run as slow jobs
 * and answer later. The functions that take a request answer it.
 */
#ifndef CORPUSFS_FUSE_OPS_VIRTUAL_H
#define CORPUSFS_FUSE_OPS_VIRTUAL_H

#include <fuse_lowlevel.h>

#include "fs/fuse/session/request.h"

typedef int (*virtual_list_fn)(void *arg, const char *name, uint64_t number, uint32_t view);

void root_stat(const struct mount *mount, struct stat *ret_stat);
WARN_UNUSED int root_lookup(const struct target *root, const char *name, struct fuse_entry_param *ret_entry);
WARN_UNUSED int root_list(const struct target *root, virtual_list_fn each, void *arg);
void root_mkdir(fuse_req_t req, const char *name, mode_t mode);
void root_rmdir(fuse_req_t req, const char *name);
void root_rename(fuse_req_t req, const char *name, const char *new_name, unsigned flags);

/* The virtual directory's attributes are those of its directory; `dir` may be of either kind. */
WARN_UNUSED int snapshots_entry(const struct target *dir, struct fuse_entry_param *ret_entry);
WARN_UNUSED int snapshots_lookup(const struct target *dir, const char *name, struct fuse_entry_param *ret_entry);
WARN_UNUSED int snapshots_list(const struct target *dir, virtual_list_fn each, void *arg);
void snapshots_mkdir(fuse_req_t req, const struct target *dir, const char *name);
void snapshots_rmdir(fuse_req_t req, const struct target *dir, const char *name);
void snapshots_rename(fuse_req_t req, const struct target *dir, const char *name, const char *new_name, unsigned flags);

/* When the view of a snapshot was taken; `fallback` if it is none (any more). */
struct timespec snapshots_taken(struct store *store, struct view *view, struct timespec fallback);
/* ".." of a snapshot's root: the ".snapshots" of its dataset's root. */
WARN_UNUSED int snapshots_above(const struct target *snapshot_root, struct fuse_entry_param *ret_entry);

#endif
