/*
 * A POSIX ACL as Linux has it (lib/tree/files/acl.h) in the text form in which tar and star carry it: "user::rw-,user:1000:r--,...", with
 * numbers, which mean the same wherever it is read. Pure; any thread.
 */
#ifndef CORPUSFS_TRANSFER_ACL_FORMAT_H
#define CORPUSFS_TRANSFER_ACL_FORMAT_H

#include <stdbool.h>

#include "lib/base/buf.h"

/* The text, added to `text`. -EINVAL: it is no ACL, or says nothing. */
WARN_UNUSED int acl_format(const void *acl, size_t len, struct buf *text);

/*
 * The mode for a place that cannot hold this access ACL. The group's bits of a mode that goes with an ACL are the mask, which may be
 * more than the owning group has: without the ACL they would give it more.
 */
uint32_t acl_mode_without(const void *acl, size_t len, uint32_t mode);

#endif
