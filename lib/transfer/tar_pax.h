/*
 * The records of a pax header ("LENGTH KEY=VALUE\n"), as POSIX, GNU tar, star and libarchive write them. Pure; any thread.
 *
 *   pax_parse (more than once: later records win; an empty value takes an earlier one back) -> pax_clear
 *
 * All of it is foreign. -EBADMSG: a record is malformed, so that what follows means nothing, or there are more attributes than a file of Linux
 * can have. As in tar, keys that are not known are passed over, and so are times and owners that are none; both are told.
 */
#ifndef CORPUSFS_TRANSFER_TAR_PAX_H
#define CORPUSFS_TRANSFER_TAR_PAX_H

#include <stdbool.h>
#include <time.h>

#include "lib/base/array.h"
#include "lib/base/buf.h"

/* Bytes [offset, offset + len) of a sparse file, which the archive has; the rest are holes. */
struct stretch {
	uint64_t offset, len;
};

struct stretches {
	ARRAY_FIELDS(struct stretch);
};

#define PAX_XATTRS_MAX 10000U /* of one member; their names alone would not fit into the list of a file's attributes */
#define PAX_UNKNOWN_MAX 32U   /* keys of one member that are told */

struct pax_xattr {
	char *name;
	uint32_t sum; /* of the name */
	struct buf value;
};

struct pax_text {
	bool is_set;
	struct buf value; /* a NUL follows, and is not counted */
};

struct pax_number {
	bool is_set;
	uint64_t value;
};

struct pax_time {
	bool is_set;
	struct timespec value;
};

struct pax {
	struct pax_text path, target, acl_access, acl_default, acl_nfs4;
	struct pax_number size, uid, gid, major, minor;
	struct pax_time mtime, atime;
	ARRAY(struct pax_xattr) xattrs;

	/* A sparse file, in one of GNU tar's three ways: two list the stretches here, version 1 in front of the data. */
	struct pax_text sparse_name;
	struct pax_number sparse_size, sparse_version;
	struct pax_number sparse_offset; /* of a stretch whose length comes next */
	bool has_stretches;
	struct stretches stretches;

	ARRAY(char *) unknown; /* keys */

	const char *refusal; /* why the member cannot be taken; NULL: it can */
	const char *problem; /* of -EBADMSG */
	const char *warning; /* a record that was passed over because its value is none; NULL: there was no such */
};

WARN_UNUSED int pax_parse(struct pax *pax, const void *records, size_t len);
void pax_clear(struct pax *pax);
/* Adds those records to `out` that pax_parse does something with. -EBADMSG as above. */
WARN_UNUSED int pax_keep_known(const void *records, size_t len, struct buf *out);

/* A decimal number of seconds, also a negative one, with up to nine digits after the point; more are cut off towards the past. */
WARN_UNUSED int pax_time_parse(const char *text, size_t len, struct timespec *ret_time);

#endif
