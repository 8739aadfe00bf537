/*
 * The list of datasets at the root of a store's mount: a directory that no view holds.
 *
 * Changing it takes the store's change lock, so these changes run as jobs of the worker, which answer the request later.
 */
#ifndef CORPUSFS_FUSE_OPS_ROOT_H
#define CORPUSFS_FUSE_OPS_ROOT_H

#include <fuse_lowlevel.h>

#include "fs/fuse/ops/request.h"

void root_stat(const struct mount *mount, struct stat *ret_stat);
WARN_UNUSED int root_lookup(const struct target *root, const char *name, struct fuse_entry_param *ret_entry);
WARN_UNUSED int root_list(const struct target *root, virtual_list_fn each, void *arg);
void root_mkdir(fuse_req_t req, const char *name, mode_t mode);
void root_rmdir(fuse_req_t req, const char *name);
void root_rename(fuse_req_t req, const char *name, const char *new_name, unsigned flags);

#endif
