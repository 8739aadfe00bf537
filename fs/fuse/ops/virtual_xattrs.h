/*
 * Extended attributes that nobody stores: user.corpusfs.identity on the root directory of a dataset or snapshot, user.corpusfs.sha256 on
 * regular files; 64 hexadecimal digits. They answer getxattr, are not listed, and can be neither set nor removed, so that cp -a and
 * rsync -X do not carry them along. What takes long is computed on the group's own thread for it, and ends when the caller is interrupted.
 */
#ifndef CORPUSFS_FUSE_OPS_VIRTUAL_XATTRS_H
#define CORPUSFS_FUSE_OPS_VIRTUAL_XATTRS_H

#include <fuse_lowlevel.h>

#include "fs/fuse/ops/request.h"

bool virtual_xattr_is(const char *name);

/* Answers the request; -ENODATA where the attribute is not. */
void virtual_xattr_get(fuse_req_t req, const struct target *target, const char *name, size_t size);

#endif
