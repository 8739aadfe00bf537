/* Archives: what the reader (archive_in.h) and the writer (archive_out.h) share. Names are bytes, whatever the process's locale is. */
#ifndef CORPUSFS_TRANSFER_ARCHIVE_H
#define CORPUSFS_TRANSFER_ARCHIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "lib/base/error.h"

struct archive_member {
	const char *path;     /* as it stands in the archive; NULL: cannot be told */
	const char *hardlink; /* path of a member before, or NULL */
	const char *target;   /* of a symlink, or NULL */
	uint32_t mode, uid, gid;
	uint64_t rdev;
	uint64_t size;
	bool has_size, has_mtime, has_atime, has_holes;
	struct timespec atime, mtime;
};

struct archive_xattr {
	const char *name;
	const void *value;
	size_t len;
};

/* A member as the reader found it. All is good until the next one is asked for. */
struct archive_found {
	struct archive_member member;
	const char *problem; /* why it cannot be taken; NULL: it can */
	const char *warning; /* what could not be read of it; the rest is good. NULL: nothing */
	const struct archive_xattr *xattrs;
	size_t xattr_count;
	const char *acl_access, *acl_default; /* POSIX ACLs as text, or NULL */
	bool has_nfs4_acl;
	const char *const *unknown; /* names of what is told of it and is not read */
	size_t unknown_count;
};

#endif
