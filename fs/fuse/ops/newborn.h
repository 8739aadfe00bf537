/* What a new inode gets from its directory and the caller: group, set-gid, umask or default ACL. */
#ifndef CORPUSFS_FUSE_OPS_NEWBORN_H
#define CORPUSFS_FUSE_OPS_NEWBORN_H

#include <fuse_lowlevel.h>

#include "fs/fuse/ops/request.h"
#include "lib/base/buf.h"

struct newborn {
	struct create create;
	struct buf access_acl, default_acl;
	struct xattr_init xattrs[2];
};
#define AUTO_NEWBORN CLEANUP(newborn_clear) struct newborn
WARN_UNUSED int newborn_init(fuse_req_t req, const struct target *dir, mode_t mode, struct newborn *ret_newborn);
void newborn_clear(struct newborn *newborn);

#endif
