/*
 * Writing archives: tar, its compressions and zip, as streams of members.
 *
 *   archive_out_new -> (archive_out_member, archive_out_data | archive_out_hole ...)... -> archive_out_done -> archive_out_free
 *
 * One thread at a time. Errors: -errno of the descriptor, -ECANCELED, -EIO: more or less content than the member's size.
 */
#ifndef CORPUSFS_TRANSFER_ARCHIVE_OUT_H
#define CORPUSFS_TRANSFER_ARCHIVE_OUT_H

#include "lib/transfer/archive.h"

struct archive_out;

struct archive_stretch {
	uint64_t offset, len;
};
struct archive_extra {
	const struct archive_xattr *xattrs;
	size_t xattr_count;
	bool has_holes;
	const struct archive_stretch *data; /* where a file with holes has data */
	size_t data_count;
};

/*
 * format: "tar", "tar.zst", "tar.gz" or "zip"; -EINVAL for others. The descriptor stays the caller's. `stopped` is asked whether to give
 * up while a pipe takes nothing.
 */
WARN_UNUSED int archive_out_new(int fd, const char *format, bool (*stopped)(void *arg), void *arg, struct archive_out **ret_out);
void archive_out_free(struct archive_out *out); /* NULL is fine */

/*
 * -EOPNOTSUPP: the format has no such members. The content of a file follows, all `size` bytes of it in their order: its data, and the
 * length of each hole.
 */
WARN_UNUSED int archive_out_member(struct archive_out *out, const struct archive_member *member, const struct archive_extra *extra);
WARN_UNUSED int archive_out_data(struct archive_out *out, const void *data, size_t len);
WARN_UNUSED int archive_out_hole(struct archive_out *out, uint64_t len);
WARN_UNUSED int archive_out_done(struct archive_out *out); /* everything is given to the descriptor */

/* What of the last member the format could not keep, although it has it otherwise; NULL: nothing. */
const char *archive_out_lost(const struct archive_out *out);
const char *archive_out_note(const struct archive_out *out); /* what a reader may see otherwise of the whole; NULL: nothing */
bool archive_out_keeps_acls(const struct archive_out *out);

#endif
