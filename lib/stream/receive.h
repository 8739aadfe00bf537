/*
 * Receiving: a stream (lib/format/stream.h) becomes a snapshot of a dataset, which is a replica from then on (lib/store/replica.h).
 *
 * It is built where nobody sees it (lib/store/receiving.h). When all of it is there, its identity is computed and compared, and in one instant it
 * appears. A stream that is no valid one, or that this caller may not apply, leaves nothing. One that ends too early, or breaks down, leaves what
 * came in before, which goes on with a stream that the token asks for, and is dropped by one that begins anew.
 *
 * Whose stream it is: root's receiver takes everything. Another user's takes what this user could have made himself: files of his own, no device
 * nodes, and of extended attributes user.* and ACLs. What is more is refused, with all of the stream.
 *
 * Threads: any; one receiver for a dataset at a time (-EBUSY).
 */
#ifndef CORPUSFS_STREAM_RECEIVE_H
#define CORPUSFS_STREAM_RECEIVE_H

#include <sys/types.h>

#include "lib/store/store.h"
#include "lib/stream/position.h"

struct receive_options {
	const char *dataset;
	int fd;
	uid_t uid; /* whose rights it has */
	gid_t gid;
	const gid_t *groups;
	size_t group_count;
	bool (*stopped)(void *arg); /* asked often; also tells of progress */
	void *arg;
};

struct receive_result {
	char snapshot[NAME_LEN_MAX + 1];
	char identity[2 * STREAM_ID_LEN + 1];
	char base[NAME_LEN_MAX + 1]; /* "" without one */
	uint64_t frames, bytes;      /* bytes: of content */
	bool has_more;               /* something follows the end of the stream, was there by then, and was not read */
	uint64_t acls;               /* files and directories that came with one */
	char token[STREAM_TOKEN_MAX]; /* after a failure: where it can go on; "": it begins anew */
};

/*
 * Reads one stream, not a byte more. 0: it is there. -ENOMSG: there was none; -ENODATA: it ended too early; -EBADMSG, -EPROTONOSUPPORT, -EPERM,
 * -EEXIST, -EUCLEAN (a fork), -EROFS (no replica), -EILSEQ (the identity is another one), -ENOSPC. `result` is filled after a failure, too.
 */
WARN_UNUSED int receive_run(struct store *store, const struct receive_options *options, struct receive_result *result, struct error *err);

/* Where the unfinished stream of a dataset can go on. -ENOENT: there is none. */
WARN_UNUSED int receive_position(struct store *store, const char *dataset, struct stream_position *ret_position);

/* Drops what there is of an unfinished stream: 1; 0: nothing was there. */
WARN_UNUSED int receive_drop(struct store *store, const char *dataset, struct error *err);

#endif
