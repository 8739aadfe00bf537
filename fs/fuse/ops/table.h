/* The table of operations that a session is started with. Its requests' userdata is a struct mount. */
#ifndef CORPUSFS_FUSE_OPS_TABLE_H
#define CORPUSFS_FUSE_OPS_TABLE_H

#include <fuse_lowlevel.h>

extern const struct fuse_lowlevel_ops mount_ops;

#endif
