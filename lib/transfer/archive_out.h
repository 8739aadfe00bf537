/*
 * Writing archives: tar, its compressions and zip, as streams of members.
 *
 *   archive_out_new -> archive_out_member, archive_out_data ... -> archive_out_done -> archive_out_free
 *
 * One thread at a time. Errors: -errno of the descriptor.
 */
#ifndef CORPUSFS_TRANSFER_ARCHIVE_OUT_H
#define CORPUSFS_TRANSFER_ARCHIVE_OUT_H

#include "lib/transfer/archive.h"

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
