/*
 * A zstd stream for others to read (zstd, tar --zstd): one frame, with a checksum of the content at its end, so that a reader notices any
 * byte that changed. One thread at a time; compression may use threads of its own.
 *
 *   zstd_stream_new -> zstd_stream_step ... -> zstd_stream_step with `end` until it is done -> zstd_stream_free
 */
#ifndef CORPUSFS_CHUNK_ZSTD_STREAM_H
#define CORPUSFS_CHUNK_ZSTD_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"

struct zstd_stream;

struct zstd_stream *zstd_stream_new(int level, unsigned threads); /* NULL: no memory */
void zstd_stream_free(struct zstd_stream *stream); /* NULL is fine */

struct zstd_step {
	const uint8_t *data; /* moves on with what was taken */
	size_t len;
	bool end; /* nothing comes after the data */
	uint8_t *out;
	size_t out_cap, out_len; /* out_len: how much was put there */
};
/* 1: all was taken and, at the end, all was given out; 0: call again with room; -EIO. */
WARN_UNUSED int zstd_stream_step(struct zstd_stream *stream, struct zstd_step *step);

/* The whole of what others compressed, of whatever frames: adds at most `limit` bytes. -EBADMSG: it is no zstd, or cut; -EFBIG. */
WARN_UNUSED int zstd_unpack_whole(const void *data, size_t len, size_t limit, struct buf *out);

#endif
