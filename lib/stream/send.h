/*
 * Sending: a snapshot, or what differs from an older one of the same dataset, as a stream (lib/format/stream.h).
 *
 * What is sent is the same, frame by frame, whenever it is sent: so a stream that was cut goes on where its receiver has stopped. With a base the
 * cost follows what changed (touched index). Content is given as it is stored; of what a file has of chunks in part, that part. Memory is
 * bounded, whatever the size of the tree.
 *
 * Threads: any; the two snapshots must not be destroyed meanwhile, which an open view sees to.
 */
#ifndef CORPUSFS_STREAM_SEND_H
#define CORPUSFS_STREAM_SEND_H

#include "lib/store/store.h"
#include "lib/stream/position.h"

struct send_options {
	const char *dataset, *snapshot;
	const char *from;    /* the base, a snapshot of the same dataset; NULL: all of it */
	uint64_t step, offset; /* where it goes on; 0: from the beginning */
	int fd;
	bool (*stopped)(void *arg); /* asked often; also tells of progress */
	void *arg;
};

struct send_result {
	uint64_t frames, bytes; /* bytes: of content, as they are read */
};

/* -ENOENT, -EINVAL, -ECANCELED, -EPIPE; -EIO: damaged, with the path. `result` counts while it is sent. */
WARN_UNUSED int send_run(struct store *store, const struct send_options *options, struct send_result *result, struct error *err);

/* What a receiver wants to have sent. Both names are freed by the caller; *ret_from NULL: there is no base. -EINVAL, -ENOENT. */
WARN_UNUSED int send_find(struct store *store, const char *token, struct stream_position *ret_position, char **ret_dataset, char **ret_snapshot,
			  char **ret_from, struct error *err);

#endif
