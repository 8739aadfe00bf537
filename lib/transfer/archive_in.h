/*
 * Reading archives: tar, its compressions, and zip, as streams of members.
 *
 *   archive_in_new -> (archive_in_next, archive_in_data...)... -> archive_in_free
 *
 * What a member holds is right when its data has been read to the end:
 *   - A compressed tar is read twice. archive_in_new reads it whole and checks all checksums that the container has, so no member of a
 *     damaged one is ever seen.
 *   - A zip has a checksum for each member; archive_in_data checks it.
 *   - A plain tar has none for content, only one for each header.
 * A compressed tar from a pipe is kept in a file without a name in the meantime, and so is a zip, whose directory stands at its end.
 *
 * One thread at a time. Errors: -EBADMSG damaged or not an archive, -errno of the descriptor, -ECANCELED.
 */
#ifndef CORPUSFS_TRANSFER_ARCHIVE_IN_H
#define CORPUSFS_TRANSFER_ARCHIVE_IN_H

#include "lib/transfer/archive.h"
#include "lib/transfer/stream_in.h"

struct archive_in;

struct archive_in_options {
	int fd;
	struct stream_keep keep; /* where a stream is kept that must be read twice */
	const char *keep_name;   /* what messages call that place */
	stream_stop_fn stopped;  /* of archive_in_new: also how far the check is */
	void *arg;
};

/* Members that come from elsewhere, as those of an archive do: the calls mean the same as theirs. */
struct archive_source {
	int (*next)(void *arg, struct archive_found *ret_found);
	int (*data)(void *arg, const void **ret_data, size_t *ret_len, uint64_t *ret_offset);
	const char *(*problem)(void *arg); /* of the last -EBADMSG */
	uint64_t (*total)(void *arg);      /* bytes of content of all members, 0: not known (yet). NULL: never known. Any thread */
	bool is_single; /* no name comes twice */
	void *arg;      /* the caller's */
};
struct archive_in *archive_in_over(const struct archive_source *source);

/* -EBADMSG: not an archive, or damaged. */
WARN_UNUSED int archive_in_new(const struct archive_in_options *options, struct archive_in **ret_in, struct error *err);
void archive_in_free(struct archive_in *in); /* NULL is fine */
/* 1 and a member, good until the next call; 0 at the end. */
WARN_UNUSED int archive_in_next(struct archive_in *in, struct archive_found *ret_found);
/* The member's next stretch of data, ascending; 1, 0 at its end. What is not asked for is passed over. */
WARN_UNUSED int archive_in_data(struct archive_in *in, const void **ret_data, size_t *ret_len, uint64_t *ret_offset);
/* The caller found the data wrong: -EBADMSG with this text. */
WARN_UNUSED int archive_in_is_wrong(struct archive_in *in, const char *text);
const char *archive_in_problem(const struct archive_in *in); /* of the last error */
/* At the end: whether the archive itself said that it is the end, so that nothing is cut off. */
bool archive_in_has_end(const struct archive_in *in);
bool archive_in_has_more(const struct archive_in *in); /* and whether something follows it, which is not read */

/* Whether the big file (big_names.h) of this plain path is the only one of its name, as far as can be known. May read all headers. */
bool archive_in_is_single(struct archive_in *in, const char *plain_path);

uint64_t archive_in_position(const struct archive_in *in); /* bytes of the descriptor */
uint64_t archive_in_size(const struct archive_in *in);     /* 0: not known */
uint64_t archive_in_total(const struct archive_in *in);    /* bytes of content of all members; 0: not known (yet) */

#endif
