/*
 * POSIX ACLs as the kernel hands them over in "system.posix_acl_access" and "system.posix_acl_default": u32 version 2, then entries of
 * u16 tag, u16 permissions, u32 id, all little-endian. Pure functions over such bytes; any thread. -EINVAL for what is not a valid ACL.
 */
#ifndef CORPUSFS_TREE_FILES_ACL_H
#define CORPUSFS_TREE_FILES_ACL_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/base/buf.h"

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

/* Checks as the kernel does; no entries at all is valid and stands for "no ACL". */
WARN_UNUSED int acl_check(const void *acl, size_t len, size_t *ret_entries);

/* The mode with the permission bits that this access ACL stands for, and whether the mode alone says as much as the ACL. */
WARN_UNUSED int acl_to_mode(const void *acl, size_t len, uint32_t mode, uint32_t *ret_mode, bool *ret_equivalent);

/* Brings an access ACL in line with a mode that was set by chmod. */
WARN_UNUSED int acl_chmod(struct buf *acl, uint32_t mode);

/*
 * What an inode made with `mode` in a directory with this default ACL gets: its mode (no umask is applied) and its access ACL, left empty
 * when the mode says as much. A new directory also gets the default ACL as it is.
 */
WARN_UNUSED int acl_inherit(const void *default_acl, size_t len, uint32_t mode, uint32_t *ret_mode, struct buf *ret_access);

#endif
