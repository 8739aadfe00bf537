/*
 * Archives: tar, zip and their compressions, read and written as streams of members. The only door to libarchive.
 *
 *   archive_in_new -> archive_in_next, archive_in_data ... -> archive_in_free
 *   archive_out_new -> archive_out_member, archive_out_data ... -> archive_out_done -> archive_out_free
 *
 * One thread at a time. Names are bytes, taken as UTF-8 where a format has a say, whatever the process's
 * locale is. Errors: -EBADMSG damaged or not an archive, -errno of the descriptor.
 */
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

/* --- reading --- */

struct archive_in;

/* `stopped` is asked while the descriptor has nothing to read. -EBADMSG: not an archive. */
WARN_UNUSED int archive_in_new(int fd, bool (*stopped)(void *arg), void *arg, struct archive_in **ret_in, struct error *err);
void archive_in_free(struct archive_in *in); /* NULL is fine */
/* 1 and a member, valid until the next call; 0 at the end; -EBADMSG. */
WARN_UNUSED int archive_in_next(struct archive_in *in, struct archive_member *ret_member);
/* The member's next stretch of data, ascending; 1, 0 at its end, -EBADMSG. */
WARN_UNUSED int archive_in_data(struct archive_in *in, const void **ret_data, size_t *ret_len, uint64_t *ret_offset);
void archive_in_xattrs(struct archive_in *in, void (*each)(void *arg, const char *name, const void *value, size_t len), void *arg);
const char *archive_in_problem(struct archive_in *in); /* of the last -EBADMSG */
uint64_t archive_in_bytes(struct archive_in *in);      /* taken from the descriptor */

/* --- writing --- */

struct archive_out;

/* format: "tar", "tar.zst", "tar.gz", "zip"; -EINVAL for others. */
WARN_UNUSED int archive_out_new(int fd, const char *format, struct archive_out **ret_out, struct error *err);
void archive_out_free(struct archive_out *out); /* NULL is fine */
struct archive_stretch {
	uint64_t offset, len;
};
struct archive_pair {
	const char *name;
	const void *value;
	size_t len;
};
struct archive_extra {
	const struct archive_pair *xattrs;
	size_t xattr_count;
	const struct archive_stretch *data; /* of a file with holes; count 0: it has none */
	size_t data_count;
};
/* -EOPNOTSUPP: the format has no such members. Content follows as archive_out_data, all `size` bytes, holes as zeros. */
WARN_UNUSED int archive_out_member(struct archive_out *out, const struct archive_member *member, const struct archive_extra *extra);
WARN_UNUSED int archive_out_data(struct archive_out *out, const void *data, size_t len);
WARN_UNUSED int archive_out_done(struct archive_out *out); /* everything is given to the descriptor */
const char *archive_out_problem(struct archive_out *out);

#endif
